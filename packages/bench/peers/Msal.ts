/** `@azure/msal-node`: silent acquisition from its cache, which refreshes with the cached refresh token. */
import { type AuthenticationResult, type Configuration, PublicClientApplication } from "@azure/msal-node"
import { type Held, type Open, type Server, wallClock } from "../src/Peer.js"

/** It accepts only https as an authority, but any token endpoint in its metadata. */
const authority = "https://localhost/"
const scopes = ["offline_access"]

const configuration = (server: Server): Configuration => ({
  auth: {
    clientId: server.clientId,
    authority,
    knownAuthorities: ["localhost"],
    authorityMetadata: JSON.stringify({
      issuer: server.issuer,
      authorization_endpoint: `${server.issuer}/auth`,
      token_endpoint: server.tokenEndpoint,
      jwks_uri: `${server.issuer}/jwks`
    })
  },
  system: { protocolMode: "OIDC" }
})

/** Its refresh token is only in the serialized cache. */
const refreshTokenOf = (application: PublicClientApplication): string => {
  const cache = JSON.parse(application.getTokenCache().serialize()) as {
    RefreshToken?: Record<string, { secret: string }>
  }
  return Object.values(cache.RefreshToken ?? {}).at(-1)?.secret ?? ""
}

export const open: Open = async (server, first) => {
  const application = new PublicClientApplication(configuration(server))
  const login = await application.acquireTokenByRefreshToken({
    refreshToken: first.refreshToken,
    scopes,
    forceCache: true
  })
  let last = given(login)
  const account = last.account
  if (account === null) throw new Error("There is no account in its cache.")
  const get = async (forceRefresh: boolean) => {
    last = given(await application.acquireTokenSilent({ account, scopes, forceRefresh }))
    return last.accessToken
  }
  return {
    get: () => get(false),
    refresh: () => get(true),
    held: (): Held => ({
      accessToken: last.accessToken,
      refreshToken: refreshTokenOf(application),
      expiresAt: last.expiresOn?.getTime() ?? wallClock()
    })
  }
}

const given = (result: AuthenticationResult | null): AuthenticationResult => {
  if (result === null) throw new Error("It has no token and no error.")
  return result
}
