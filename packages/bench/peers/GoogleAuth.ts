/** `google-auth-library`: `OAuth2Client`, whose `tokens` event delivers a rotated refresh token. */
import { OAuth2Client } from "google-auth-library"
import { type Held, heldAfter, type Open } from "../src/Peer.js"

export const open: Open = (server, first) => {
  let held = first
  const client = new OAuth2Client({
    clientId: server.clientId,
    endpoints: { oauth2TokenUrl: server.tokenEndpoint },
    eagerRefreshThresholdMillis: 0
  })
  const use = ({ accessToken, expiresAt, refreshToken }: Held): void => {
    held = { accessToken, expiresAt, refreshToken }
    client.setCredentials({
      access_token: accessToken,
      refresh_token: refreshToken,
      expiry_date: expiresAt
    })
  }
  client.on("tokens", (tokens) => {
    const after = heldAfter({
      access_token: tokens.access_token ?? undefined,
      refresh_token: tokens.refresh_token ?? undefined,
      expires_in: 0
    })
    held = { ...after, expiresAt: tokens.expiry_date ?? 0 }
  })
  use(held)
  return {
    get: async () => (await client.getAccessToken()).token,
    refresh: async () => {
      // It keeps using its old refresh token, so the application sets the new one.
      use(held)
      return (await client.refreshAccessToken()).credentials.access_token
    },
    held: () => held
  }
}
