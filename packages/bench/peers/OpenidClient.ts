/** `openid-client`: its documented refresh, by an application that checks the expiry first. */
import * as client from "openid-client"
import { heldAfter, type Peer, wallClock } from "../src/Peer.js"

export const openidClient: Peer = {
  name: "openid-client",
  full: false,
  open: (server, first) => {
    let held = first
    const config = new client.Configuration(
      { issuer: server.issuer, token_endpoint: server.tokenEndpoint },
      server.clientId,
      undefined,
      client.None()
    )
    client.allowInsecureRequests(config)
    const refresh = async () => {
      held = heldAfter(await client.refreshTokenGrant(config, held.refreshToken))
      return held.accessToken
    }
    return {
      get: async () => (held.expiresAt <= wallClock() ? await refresh() : held.accessToken),
      refresh,
      held: () => held
    }
  }
}
