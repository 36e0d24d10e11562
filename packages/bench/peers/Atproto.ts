/** `@atproto/oauth-client-node`: a restored session. The metadata of its authorization server are answered here. */
import {
  NodeOAuthClient,
  type NodeSavedSession,
  type NodeSavedState,
  requestLocalLock
} from "@atproto/oauth-client-node"
import { generateKeyPairSync } from "node:crypto"
import type { Open } from "../src/Peer.js"

const issuer = "https://auth.example"
const did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"

const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  pushed_authorization_request_endpoint: `${issuer}/par`,
  require_pushed_authorization_requests: true,
  client_id_metadata_document_supported: true,
  authorization_response_iss_parameter_supported: true,
  response_types_supported: ["code"],
  grant_types_supported: ["authorization_code", "refresh_token"],
  scopes_supported: ["atproto"],
  token_endpoint_auth_methods_supported: ["none"],
  dpop_signing_alg_values_supported: ["ES256"]
}

const store = <A>(saved: A | undefined) => ({
  get: () => Promise.resolve(saved),
  set: (_: string, value: A) => Promise.resolve(void (saved = value)),
  del: () => Promise.resolve(void (saved = undefined))
})

export const open: Open = async (_, held) => {
  const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" })
  const session = {
    dpopJwk: { ...key, alg: "ES256", kid: "bench" },
    authMethod: { method: "none" },
    tokenSet: {
      iss: issuer,
      sub: did,
      aud: "https://pds.example",
      scope: "atproto",
      token_type: "DPoP",
      access_token: held.accessToken,
      refresh_token: held.refreshToken,
      expires_at: new Date(held.expiresAt).toISOString()
    }
  } as NodeSavedSession
  const client = new NodeOAuthClient({
    clientMetadata: {
      client_id: "https://app.example/client-metadata.json",
      redirect_uris: ["https://app.example/callback"],
      scope: "atproto",
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      dpop_bound_access_tokens: true
    },
    stateStore: store<NodeSavedState>(undefined),
    sessionStore: store(session),
    requestLock: requestLocalLock,
    fetch: () => Promise.resolve(Response.json(metadata))
  })
  const restored = await client.restore(did)
  const get = () => restored.getTokenInfo()
  return { get, refresh: get, held: () => held }
}
