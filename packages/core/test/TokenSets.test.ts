import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import {
  Entry,
  RefreshLease,
  TokenConfig,
  TokenManager,
  TokenRefresher,
  TokenSets,
  TokenStorage
} from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { grant, minute, settle, start, token } from "./support/Bench.js"
import * as Edition from "./support/Edition.js"

describe("key", () => {
  it("is the same for the same set, however it is written, and for no other", () => {
    const same = TokenSets.key({ scopes: ["b", "a", "a"], resource: ["https://y", "https://x"] })
    expect(TokenSets.key({ scopes: ["a", "b"], resource: ["https://x", "https://y"] })).toBe(same)
    const others: ReadonlyArray<TokenSets.Parameters> = [
      {},
      { scopes: ["a"] },
      { scopes: ["a b"] },
      { resource: ["a"] },
      { audience: "a" },
      { scopes: ["a", "b"] },
      { scopes: ["a", "b"], resource: ["https://x"] },
      { scopes: ["a", "b"], resource: ["https://x", "https://y"], audience: "z" }
    ]
    expect(new Set([...others.map(TokenSets.key), same]).size).toBe(others.length + 1)
  })
})

/** One grant in memory; each set's refresher answers with the set in the token's name. */
const setUp = Effect.gen(function* () {
  yield* TestClock.setTime(start)
  const storage = yield* TokenStorage.makeMemory(Option.some(Entry.first(grant(1, 10 * minute))))
  let redeemed = 0
  const services = yield* Layer.build(
    Layer.mergeAll(
      Layer.succeed(TokenStorage.TokenStorage, storage),
      RefreshLease.layerProcess,
      TokenConfig.layer({ instance: "test" }),
      ScriptedRefresher.layer(() => ({
        after: 200,
        answer: (call) => {
          redeemed++
          const answered = ScriptedRefresher.answer({
            accessToken: `at-${redeemed}`,
            refreshToken: `rt-${redeemed + 1}`,
            expiresIn: 10 * minute
          })
          return "answer" in answered ? answered.answer(call) : grant(0, 0)
        }
      }))
    )
  )
  const inner = Context.get(services, TokenRefresher.TokenRefresher)
  const make = TokenSets.make({
    account: "one",
    refresher: (parameters) =>
      Effect.succeed(
        TokenRefresher.TokenRefresher.of({
          needsRefreshToken: inner.needsRefreshToken,
          rotation: inner.rotation,
          refresh: (previous) =>
            Effect.map(
              inner.refresh(previous),
              (c) =>
                ({
                  ...c,
                  accessToken: Redacted.make(`${parameters.resource?.[0]}:${Redacted.value(c.accessToken)}`)
                }) as typeof c
            )
        })
      )
  })
  return {
    storage,
    sets: yield* Effect.provide(make, services),
    again: Effect.provide(make, services),
    manager: yield* Effect.provide(TokenManager.make({ account: "one" }), services),
    calls: Context.get(services, ScriptedRefresher.RefreshCalls)
  }
})

const refreshTokens = (
  previous: ReadonlyArray<Option.Option<{ readonly refreshToken: Option.Option<Redacted.Redacted> }>>
) => previous.map((p) => Redacted.value(Option.getOrThrow(Option.flatMap(p, (c) => c.refreshToken))))

const overTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    for (let i = 0; i < 60; i++) {
      yield* settle
      yield* TestClock.adjust(50)
    }
    return yield* Fiber.join(fiber)
  })

describe("the sets of one grant", () => {
  it.scoped("are kept for a time that is one", () =>
    Effect.gen(function* () {
      const idleTimeToLive = "soon" as "1 second"
      const made = TokenSets.make({ idleTimeToLive, refresher: () => Effect.die(new Error("It was made.")) })
      const services = Layer.mergeAll(
        TokenStorage.layerMemory,
        RefreshLease.layerProcess,
        TokenConfig.layer()
      )
      const error = yield* Effect.flip(Effect.provide(made, services))
      expect(Edition.invalidSetting(error)).toMatchObject({ path: ["idleTimeToLive"] })
    })
  )

  it.scoped("redeem one at a time, coalesce each its own callers, and never swap tokens", () =>
    Effect.gen(function* () {
      const { calls, sets } = yield* setUp
      const resources = ["a", "b", "c"]
      const tokens = yield* overTime(
        Effect.forEach(
          Array.from({ length: 300 }, (_, i) => resources[i % 3]!),
          (r) => Effect.map(token(sets.getAccessToken({ resource: [r] })), (t) => [r, t] as const),
          { concurrency: "unbounded" }
        )
      )
      expect(tokens.every(([r, t]) => t.startsWith(`${r}:`))).toBe(true)
      expect(new Set(tokens.map(([, t]) => t)).size).toBe(3)
      expect(yield* calls.count).toBe(3)
      expect(yield* calls.mostAtOnce).toBe(1)
      expect(refreshTokens(yield* calls.all)).toEqual(["rt-1", "rt-2", "rt-3"])
    })
  )

  it.scoped("share the grant with its own manager, whose token they leave alone", () =>
    Effect.gen(function* () {
      const { calls, manager, sets, storage } = yield* setUp
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* overTime(token(sets.getAccessToken({ resource: ["a"] })))).toBe("a:at-1")
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* overTime(token(manager.refresh))).toBe("at-2")
      expect(refreshTokens(yield* calls.all)).toEqual(["rt-1", "rt-2"])
      expect(yield* token(sets.getAccessToken({ resource: ["a"] }))).toBe("a:at-1")
      const { entry } = Option.getOrThrow(yield* storage.load)
      expect(Redacted.value(Option.getOrThrow(entry.credentials.refreshToken))).toBe("rt-3")
      expect(entry).toMatchObject({ generation: 3, intent: Option.none() })
    })
  )

  it.scoped("find their tokens again in storage", () =>
    Effect.gen(function* () {
      const { again, calls, sets } = yield* setUp
      yield* overTime(sets.getAccessToken({ resource: ["a"] }))
      const later = yield* again
      expect(yield* token(later.getAccessToken({ resource: ["a"] }))).toBe("a:at-1")
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("leave no expired tokens behind, however many sets there were", () =>
    Effect.gen(function* () {
      const { sets, storage } = yield* setUp
      const kept = () =>
        Effect.map(storage.load, (loaded) => {
          const { credentials } = Option.getOrThrow(loaded).entry
          const found = Object.values(Redacted.value(credentials.extras)["latchkey:sets"] ?? {})
          return found.map((set: { readonly accessToken: string }) => set.accessToken.split(":")[0])
        })
      const ask = (resource: string) => overTime(sets.getAccessToken({ resource: [resource] }))
      yield* ask("a")
      yield* TestClock.adjust(9 * minute)
      yield* ask("b")
      expect(yield* kept()).toEqual(["a", "b"])
      yield* TestClock.adjust(minute)
      yield* ask("c")
      expect(yield* kept()).toEqual(["b", "c"])
    })
  )

  it.scoped("do not survive another login: its refresh token brings their tokens anew", () =>
    Effect.gen(function* () {
      const { calls, manager, sets } = yield* setUp
      yield* overTime(sets.getAccessToken({ resource: ["a"] }))
      yield* manager.save(grant(50, 10 * minute))
      yield* settle
      expect(yield* overTime(token(sets.getAccessToken({ resource: ["a"] })))).toBe("a:at-2")
      expect(refreshTokens(yield* calls.all)).toEqual(["rt-1", "rt-50"])
    })
  )

  it.scoped("tell each its own state", () =>
    Effect.gen(function* () {
      const { sets } = yield* setUp
      const a = yield* sets.get({ resource: ["a"] })
      expect((yield* a.status).authenticated).toBe(false)
      const first = yield* overTime(a.getAccessToken)
      expect((yield* a.status).authenticated).toBe(true)
      expect(yield* overTime(token(a.reject(first)))).toBe("a:at-2")
    })
  )
})
