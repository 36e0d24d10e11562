/** `simple-oauth2`: an access token that checks whether it has expired, and is refreshed. */
import { AuthorizationCode } from "simple-oauth2"
import type { Open } from "../src/Peer.js"

export const open: Open = (server, first) => {
  const { origin, pathname } = new URL(server.tokenEndpoint)
  const client = new AuthorizationCode({
    client: { id: server.clientId, secret: "" },
    auth: { tokenHost: origin, tokenPath: pathname },
    options: { authorizationMethod: "body" }
  })
  let token = client.createToken({
    access_token: first.accessToken,
    refresh_token: first.refreshToken,
    expires_at: new Date(first.expiresAt)
  })
  const refresh = async () => {
    token = await token.refresh()
    return token.token.access_token
  }
  return {
    get: async () => (token.expired() ? await refresh() : token.token.access_token),
    refresh,
    held: () => ({
      accessToken: String(token.token.access_token),
      refreshToken: String(token.token.refresh_token),
      expiresAt: new Date(token.token.expires_at as string | number | Date).getTime()
    })
  }
}
