/** `openid-client`: its documented refresh, by an application that checks the expiry first. */
import * as client from "openid-client"
import { checking, heldAfter, type Open } from "../src/Peer.js"

export const open: Open = (server, first) => {
  const config = new client.Configuration(
    { issuer: server.issuer, token_endpoint: server.tokenEndpoint },
    server.clientId,
    undefined,
    client.None()
  )
  client.allowInsecureRequests(config)
  return checking(first, async ({ refreshToken }) =>
    heldAfter(await client.refreshTokenGrant(config, refreshToken))
  )
}
