/** `better-auth`: the access token of a linked account, on the server. Its database is in memory. */
import { betterAuth } from "better-auth"
import { memoryAdapter } from "better-auth/adapters/memory"
import { genericOAuth } from "better-auth/plugins"
import type { Open } from "../src/Peer.js"

export const open: Open = (server, first) => {
  const account = {
    id: "account",
    userId: "user",
    providerId: "bench",
    accountId: "alice",
    accessToken: first.accessToken,
    refreshToken: first.refreshToken,
    accessTokenExpiresAt: new Date(first.expiresAt)
  }
  const { api } = betterAuth({
    baseURL: "http://127.0.0.1",
    secret: "a secret that signs nothing here, of 32 characters",
    database: memoryAdapter({ user: [{ id: "user" }], account: [account], session: [], verification: [] }),
    logger: { disabled: true },
    plugins: [
      genericOAuth({
        config: [
          {
            providerId: "bench",
            clientId: server.clientId,
            tokenEndpointAuth: { method: "none" },
            authorizationUrl: `${server.issuer}/auth`,
            tokenUrl: server.tokenEndpoint
          }
        ]
      })
    ]
  })
  const body = { accountId: account.id, userId: account.userId }
  return {
    get: async () => (await api.getAccessToken({ body })).accessToken,
    refresh: () => api.refreshToken({ body }),
    held: () => ({
      accessToken: account.accessToken,
      refreshToken: account.refreshToken,
      expiresAt: account.accessTokenExpiresAt.getTime()
    })
  }
}
