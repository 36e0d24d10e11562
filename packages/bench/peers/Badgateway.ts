/** `@badgateway/oauth2-client`: the fetch wrapper. */
import { OAuth2Client, OAuth2Fetch } from "@badgateway/oauth2-client"
import type { Peer } from "../src/Peer.js"

export const badgateway: Peer = {
  name: "@badgateway/oauth2-client",
  full: true,
  open: (server, first) => {
    let held = first
    const client = new OAuth2Client({ clientId: server.clientId, tokenEndpoint: server.tokenEndpoint })
    const wrapper = new OAuth2Fetch({
      client,
      getNewToken: () => null,
      getStoredToken: () => first,
      storeToken: (token) => {
        held = {
          accessToken: token.accessToken,
          refreshToken: token.refreshToken ?? "",
          expiresAt: token.expiresAt ?? 0
        }
      },
      scheduleRefresh: false
    })
    return {
      get: () => wrapper.getAccessToken(),
      refresh: () => wrapper.refreshToken(),
      held: () => held
    }
  }
}
