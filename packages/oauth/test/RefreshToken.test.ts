import { describe, expect, it } from "@effect/vitest"
import { Credentials, TokenRefresher } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { Effect, Option, Redacted } from "effect"
import { clients } from "./Clients.js"
import * as Provider from "./Provider.js"

const refreshTokenOf = (credentials: Credentials.Credentials) =>
  Redacted.value(Option.getOrThrow(credentials.refreshToken))

describe.each(clients)("over %s", (_, client) => {
  it.scopedLive("rotates, again and again, against a real server", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start()
      const first = yield* server.grant()
      const refresher = yield* RefreshToken.make({
        server: { issuer: server.issuer },
        client: { clientId: Provider.publicClient.client_id }
      })
      const second = yield* refresher.refresh(Option.some(first))
      const third = yield* refresher.refresh(Option.some(second))

      expect(new Set([first, second, third].map(refreshTokenOf)).size).toBe(3)
      expect(Credentials.sameAccessToken(second, third)).toBe(false)
      expect(third.tokenType).toBe("Bearer")
      expect(third.scopes).toEqual(["openid", "offline_access"])
      expect(Credentials.lifetime(third)).toEqual(Option.some(60_000))
      expect(server.tokenRequests()).toBe(2)
      expect(server.requests.filter((r) => r.line.includes(".well-known")).length).toBe(1)
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("a refresh token used twice is a dead grant", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start()
      const first = yield* server.grant()
      const refresher = yield* TokenRefresher.TokenRefresher.pipe(
        Effect.provide(
          RefreshToken.layer({
            server: { tokenEndpoint: `${server.issuer}/token` },
            client: { clientId: Provider.publicClient.client_id }
          })
        )
      )
      yield* refresher.refresh(Option.some(first))
      const error = yield* Effect.flip(refresher.refresh(Option.some(first)))
      expect(error).toMatchObject({ reason: "GrantDead", oauthError: "invalid_grant", status: 400 })
      expect(error.salvaged).toBeUndefined()
      expect(JSON.stringify(error)).not.toContain(refreshTokenOf(first))
    }).pipe(Effect.provide(client))
  )
})
