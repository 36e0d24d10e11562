/**
 * `@modelcontextprotocol/client`: `auth` with a provider that keeps the tokens and what was discovered. Its
 * transports call it after a 401, which stands here for an expired token.
 */
import { auth, type OAuthClientProvider, type OAuthTokens } from "@modelcontextprotocol/client"
import { checking, heldAfter, type Open } from "../src/Peer.js"

export const open: Open = (server, first) =>
  checking(first, async (held) => {
    let tokens: OAuthTokens = {
      access_token: held.accessToken,
      refresh_token: held.refreshToken,
      token_type: "Bearer"
    }
    const result = await auth(
      providerOf(
        server,
        () => tokens,
        (saved) => (tokens = saved)
      ),
      { serverUrl: server.issuer }
    )
    if (result !== "AUTHORIZED") throw new Error("The user would have to log in again.")
    return heldAfter(tokens)
  })

const providerOf = (
  server: Parameters<Open>[0],
  tokens: () => OAuthTokens,
  saveTokens: (tokens: OAuthTokens) => void
): OAuthClientProvider => ({
  redirectUrl: "http://127.0.0.1/callback",
  clientMetadata: { redirect_uris: ["http://127.0.0.1/callback"], token_endpoint_auth_method: "none" },
  clientInformation: () => ({ client_id: server.clientId, issuer: server.issuer }),
  // The server knows no resources.
  validateResourceURL: () => Promise.resolve(undefined),
  tokens,
  saveTokens,
  redirectToAuthorization: () => undefined,
  saveCodeVerifier: () => undefined,
  codeVerifier: () => "",
  discoveryState: () => ({
    authorizationServerUrl: server.issuer,
    resourceMetadata: { resource: server.issuer },
    authorizationServerMetadata: {
      issuer: server.issuer,
      authorization_endpoint: `${server.issuer}/auth`,
      token_endpoint: server.tokenEndpoint,
      response_types_supported: ["code"],
      token_endpoint_auth_methods_supported: ["none"]
    }
  })
})
