/** `@badgateway/oauth2-client`: the fetch wrapper. */
import { OAuth2Client, OAuth2Fetch } from "@badgateway/oauth2-client"
import type { Open } from "../src/Peer.js"

export const open: Open = (server, first) => {
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
