/** Grants that a server ends if nobody uses them: kept alive by a renewer, with a token that needs no renewal. */
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  Entry,
  RefreshLease,
  Renewer,
  TokenConfig,
  TokenManagers,
  TokenStorages
} from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { Duration, Effect, Either, Layer, Option, TestClock } from "effect"
import { answering, type Reply } from "./Memory.js"

const start = 1_700_000_000_000
const day = 86_400_000

/** A server that ends a grant which is not used for a week. Its tokens live for `lifetime` seconds, if it says. */
const serverOf = (lifetime: number | undefined) => {
  const uses: Array<number> = []
  const today = { at: start }
  let last = start
  const { layer } = answering((): Reply => {
    if (today.at - last > 7 * day) return { status: 400, body: { error: "invalid_grant" } }
    last = today.at
    uses.push((today.at - start) / day)
    return {
      body: {
        access_token: `at-${uses.length}`,
        refresh_token: `rt-${uses.length}`,
        token_type: "Bearer",
        expires_in: lifetime
      }
    }
  })
  return { uses, today, layer }
}

/** A program with a renewer that runs once a day. */
const kept = (keepAlive: Duration.DurationInput | undefined, lifetime: number | undefined, days: number) =>
  Effect.gen(function* () {
    const server = serverOf(lifetime)
    const grant = Credentials.make({
      accessToken: "at",
      refreshToken: "rt",
      obtainedAt: start,
      refreshAt: keepAlive === undefined ? undefined : start + Duration.toMillis(keepAlive),
      expiresAt: lifetime === undefined ? undefined : start + lifetime * 1000
    })
    const storages = yield* TokenStorages.makeMemory([["ada", Entry.first(grant)]])
    const refresher = RefreshToken.layer({
      server: { tokenEndpoint: "https://id.example.com/token" },
      client: { clientId: "c" },
      keepAlive
    })
    const program = Renewer.layer().pipe(
      Layer.provide(TokenManagers.layerShared()),
      Layer.provide([
        Layer.succeed(TokenStorages.TokenStorages, storages),
        RefreshLease.layerProcess,
        TokenConfig.layer({}),
        Layer.provide(refresher, server.layer)
      ])
    )
    const pause = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
    for (let i = 1; i <= days; i++) {
      server.today.at = start + i * day
      yield* TestClock.setTime(server.today.at)
      const isDue = Effect.map(storages.due({ before: server.today.at, limit: 1 }), (due) => due.length > 0)
      yield* Effect.scoped(
        Effect.andThen(Layer.build(program), pause.pipe(Effect.repeat({ while: () => isDue })))
      )
    }
    const { entry } = Option.getOrThrow(yield* Either.getOrThrow(storages.of("ada")).load)
    return { uses: server.uses, isDead: Option.isSome(entry.dead) }
  })

describe("a grant that ends after a week without use", () => {
  it.scoped("is used every five days, with a token that never expires", () =>
    Effect.gen(function* () {
      const { isDead, uses } = yield* kept("5 days", undefined, 30)
      expect(isDead).toBe(false)
      expect(uses).toEqual([5, 10, 15, 20, 25, 30])
    })
  )

  it.scoped("is used every five days, with a token that lives for two months", () =>
    Effect.gen(function* () {
      const { isDead, uses } = yield* kept("5 days", (60 * day) / 1000, 30)
      expect(isDead).toBe(false)
      expect(uses).toEqual([5, 10, 15, 20, 25, 30])
    })
  )

  it.scoped("is used by nobody without the setting", () =>
    Effect.map(kept(undefined, undefined, 30), ({ uses }) => expect(uses).toEqual([]))
  )

  it.effect.each([0, "23 hours", Infinity, "-6 days"] as const)("%s is no such time", (keepAlive) =>
    Effect.gen(function* () {
      const made = RefreshToken.make({
        server: { tokenEndpoint: "https://id.example.com/token" },
        client: { clientId: "c" },
        keepAlive
      })
      expect(yield* Effect.flip(Effect.provide(made, serverOf(1).layer))).toMatchObject({
        _tag: "OAuthConfigError",
        setting: "keepAlive"
      })
    })
  )
})
