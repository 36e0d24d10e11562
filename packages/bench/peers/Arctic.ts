/** `arctic`, whose user keeps the tokens: with a hand-written cache. */
import { OAuth2Client } from "arctic"
import { type Open, sharing } from "../src/Peer.js"

export const open: Open = (server, first) => {
  const client = new OAuth2Client(server.clientId, null, null)
  return sharing(first, async ({ refreshToken }) => {
    const tokens = await client.refreshAccessToken(server.tokenEndpoint, refreshToken, [])
    return {
      accessToken: tokens.accessToken(),
      refreshToken: tokens.refreshToken(),
      expiresAt: tokens.accessTokenExpiresAt().getTime()
    }
  })
}
