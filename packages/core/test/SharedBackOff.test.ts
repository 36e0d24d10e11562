/**
 * A server that cannot answer now and does not say for how long: everyone who shares the grant backs off
 * together.
 */
import { describe, expect, it } from "@effect/vitest"
import { Entry, RefreshLease, TokenConfig, TokenManager, TokenRefresher, TokenStorage } from "@latchkey/core"
import { BackOff } from "@latchkey/core/internal-api"
import { Duration, Effect, Fiber, Either, Layer, Option, TestClock } from "effect"
import { grant, minute, settle, start, token } from "./support/Bench.js"

/** `size` processes over one store, and a server that answers as `answers` says, post by post. */
const fleet = (
  answers: (post: number) => { readonly status: number; readonly retryAfter?: number } | undefined,
  size = 8,
  needsRefreshToken = true
) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const storage = yield* TokenStorage.makeMemory(Option.some(Entry.first(grant(1, 10 * minute))))
    const posts: Array<number> = []
    const post = Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      posts.push(now - start)
      const refusal = answers(posts.length)
      return refusal === undefined
        ? Effect.succeed(grant(posts.length + 1, 10 * minute, now))
        : new TokenRefresher.RefreshError({
            reason: "Transient",
            message: `The server answered ${refusal.status}: it cannot now.`,
            status: refusal.status,
            ...(refusal.retryAfter !== undefined && { retryAfter: Duration.millis(refusal.retryAfter) })
          })
    })
    const refresher = needsRefreshToken
      ? TokenRefresher.make({ refresh: () => post })
      : TokenRefresher.makeIndependent(() => post)
    const lease = yield* RefreshLease.makeProcess
    const managers = yield* Effect.forEach(
      Array.from({ length: size }, (_, i) => `process ${i}`),
      (instance) =>
        Layer.build(
          Layer.mergeAll(
            Layer.succeed(TokenStorage.TokenStorage, storage),
            Layer.succeed(RefreshLease.RefreshLease, lease),
            Layer.succeed(TokenRefresher.TokenRefresher, refresher),
            TokenConfig.layer({ instance, coolDownBase: "1 second", coolDownMax: "16 seconds" })
          )
        ).pipe(Effect.flatMap((context) => Effect.provide(TokenManager.make({ account: "one" }), context)))
    )
    const all = <A, E>(ask: (manager: TokenManager.Manager) => Effect.Effect<A, E>) =>
      Effect.gen(function* () {
        const asking = yield* Effect.fork(
          Effect.forEach(managers, (manager) => Effect.either(ask(manager)), { concurrency: "unbounded" })
        )
        yield* settle
        for (let i = 0; i < 5; i++) yield* Effect.andThen(TestClock.adjust(100), settle)
        return yield* Fiber.join(asking)
      })
    return { all, posts, managers, storage }
  })

const get = (manager: TokenManager.Manager) => token(manager.getAccessToken)

const cannotNow: ReadonlyArray<readonly [what: string, answer: { status: number; retryAfter?: number }]> = [
  ["429", { status: 429 }],
  ["503", { status: 503 }],
  ["400 slow_down", { status: 400 }],
  ["429 with a Retry-After of zero", { status: 429, retryAfter: 0 }]
]

describe("eight processes and a server that cannot now", () => {
  it.scoped.each(cannotNow)("post once together after %s (F33)", ([, answer]) =>
    Effect.gen(function* () {
      const { all, managers, posts } = yield* fleet(() => answer)
      yield* TestClock.adjust(10 * minute)
      const answers = yield* all(get)
      expect(posts).toEqual([600_000])
      expect(answers.every(Either.isLeft)).toBe(true)
      const until = yield* Effect.forEach(managers, (manager) =>
        Effect.map(Effect.flip(manager.getAccessToken), (error) => "retryAt" in error && error.retryAt)
      )
      // All wait until the same moment.
      expect(new Set(until)).toEqual(new Set([start + 601_000]))
      // Not even where somebody insists, as little as after a Retry-After.
      yield* all((manager) => token(manager.refresh))
      expect(posts.length).toBe(1)
    })
  )

  it.scoped("wait twice as long after each answer of that kind, up to the longest cool-down", () =>
    Effect.gen(function* () {
      const { all, posts } = yield* fleet((post) => (post <= 6 ? { status: 429 } : undefined))
      yield* TestClock.adjust(10 * minute)
      for (let i = 0; i < 110; i++) yield* all(get)
      const pauses = posts.slice(1, 7).map((at, i) => at - posts[i]!)
      // A round of questions takes half a second.
      expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 16_000])
      expect(yield* all(get)).toEqual(Array.from({ length: 8 }, () => Either.right("at-8")))
    })
  )

  it.scoped("begin anew after a refresh that went well", () =>
    Effect.gen(function* () {
      const { all, posts } = yield* fleet((post) => (post === 3 ? undefined : { status: 503 }))
      yield* TestClock.adjust(10 * minute)
      for (let i = 0; i < 8; i++) yield* all(get)
      expect(posts.length).toBe(3)
      yield* TestClock.adjust(10 * minute)
      yield* all(get)
      const after = posts.length
      yield* TestClock.adjust(1000)
      yield* all(get)
      expect(posts.length).toBe(after + 1)
    })
  )

  it.scoped("keep to what the server says where it does", () =>
    Effect.gen(function* () {
      const { all, posts } = yield* fleet(() => ({ status: 429, retryAfter: 30_000 }))
      yield* TestClock.adjust(10 * minute)
      for (let i = 0; i < 50; i++) yield* all(get)
      expect(posts.length).toBe(1)
      yield* TestClock.adjust(10_000)
      yield* all(get)
      expect(posts.length).toBe(2)
    })
  )

  it.scoped("do so where the grant needs no refresh token, too", () =>
    Effect.gen(function* () {
      const { all, posts } = yield* fleet(() => ({ status: 429 }), 8, false)
      yield* TestClock.adjust(10 * minute)
      yield* all(get)
      expect(posts.length).toBe(1)
    })
  )

  it.scoped("serve the token that is still valid meanwhile", () =>
    Effect.gen(function* () {
      const { all, posts } = yield* fleet(() => ({ status: 429 }))
      yield* TestClock.adjust(9 * minute)
      expect(yield* all(get)).toEqual(Array.from({ length: 8 }, () => Either.right("at-1")))
      expect(posts.length).toBe(1)
    })
  )
})

describe("the shared back-off", () => {
  const policy = Either.getOrThrow(TokenConfig.make({ coolDownBase: 1000, coolDownMax: 60_000 }))
  it.each([
    ["nothing noted", undefined, 1000],
    ["the last one a second", [0, 1000], 2000],
    ["the last one near the longest", [0, 50_000], 60_000],
    ["the last one beyond it, as a server asked for", [0, 3_600_000], 60_000],
    ["one from the future, the clock having been set back", [10_000_000, 10_030_000], 1000],
    ["one from this very moment", [5000, 6000], 2000],
    ["one that ends before it begins", [1000, 0], 1000]
  ] as const)("with %s", (_, before, expected) => {
    const wait = Option.map(
      Option.fromNullable(before),
      ([at, until]) => new Entry.ServerWait({ at: start + at, until: start + until })
    )
    expect(BackOff.backOff(wait, start + 5000, policy)).toBe(expected)
  })
})
