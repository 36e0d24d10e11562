/**
 * A response that has begun to arrive when the time is up: it may hold the only copy of the next refresh
 * token.
 */
import { describe, expect, it } from "@effect/vitest"
import {
  type Credentials,
  Entry,
  RefreshLease,
  RotationPolicy,
  TokenConfig,
  TokenManager,
  TokenRefresher,
  TokenStorage
} from "@latchkey/core"
import { Effect, Fiber, Layer, Option, TestClock } from "effect"
import * as TimeLimit from "../src/TimeLimit.js"
import { grant, minute, settle, start, stored, token } from "./support/Bench.js"

/** Two managers of one grant, whose token has expired; an answer takes `after`, and begins after `begins`, if at all. */
const world = (options: {
  readonly after: number
  readonly begins?: number
  readonly rotation?: RotationPolicy.RotationPolicy
}) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const posts: Array<TimeLimit.Arrival | undefined> = []
    const refresh = (previous: Credentials.Credentials) =>
      Effect.gen(function* () {
        const arrival = yield* TimeLimit.ReadOn
        posts.push(arrival)
        const n = posts.length
        if (options.begins !== undefined) {
          yield* Effect.sleep(options.begins)
          if (arrival !== undefined) arrival.begun = true
        }
        yield* Effect.sleep(options.after - (options.begins ?? 0))
        expect(previous).toBeDefined()
        return grant(n + 1, 60 * minute, yield* Effect.clockWith((clock) => clock.currentTimeMillis))
      })
    const services = Layer.mergeAll(
      Layer.succeed(
        TokenStorage.TokenStorage,
        yield* TokenStorage.makeMemory(Option.some(Entry.first(grant(1, 0))))
      ),
      Layer.succeed(RefreshLease.RefreshLease, yield* RefreshLease.makeProcess),
      TokenRefresher.layer({ rotation: options.rotation ?? RotationPolicy.rotating(), refresh }),
      TokenConfig.layer({ instance: "test" })
    )
    const context = yield* Layer.build(services)
    const make = Effect.provide(TokenManager.make({ account: "grant" }), context)
    const storage = yield* Effect.provide(TokenStorage.TokenStorage, context)
    return { a: yield* make, b: yield* make, posts, storage }
  })

const seconds = (n: number) => Effect.repeatN(TestClock.adjust(1000), n - 1)

describe("an answer that is still arriving when the time is up", () => {
  it.scoped("is read on under the lease, and its callers do not wait for it", () =>
    Effect.gen(function* () {
      const { a, b, posts, storage } = yield* world({ begins: 20_000, after: 40_000 })
      const asking = yield* Effect.fork(Effect.flip(a.getAccessToken))
      yield* settle
      const peer = yield* Effect.fork(token(b.getAccessToken))
      yield* settle
      yield* seconds(30)
      const error = yield* Fiber.join(asking)
      expect(error).toMatchObject({
        reason: "MaybeSent",
        message: expect.stringContaining("No answer within 30s")
      })
      // Who asks from now on is answered at once, and nothing is sent again.
      yield* seconds(5)
      for (const ask of [a.getAccessToken, a.refresh]) {
        expect(yield* Effect.flip(ask)).toMatchObject({ reason: "MaybeSent" })
      }
      yield* seconds(5)
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      yield* seconds(1)
      expect(yield* Fiber.join(peer)).toBe("at-2")
      expect(posts.length).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-2", intent: false })
    })
  )

  it.scoped("is given up with the lease, which is released", () =>
    Effect.gen(function* () {
      const { a, posts, storage } = yield* world({ begins: 20_000, after: 500_000 })
      const asking = yield* Effect.fork(Effect.flip(a.getAccessToken))
      yield* settle
      yield* seconds(61)
      yield* Fiber.join(asking)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-1", intent: true })
      yield* seconds(5)
      yield* Effect.fork(Effect.either(a.getAccessToken))
      yield* settle
      expect(posts.length).toBe(2)
      yield* seconds(70)
    })
  )

  it.scoped.each([
    ["that has not begun to arrive", { after: 500_000 }],
    [
      "of a server that lets it be repeated",
      { begins: 20_000, after: 500_000, rotation: RotationPolicy.rotating("10 minutes") }
    ],
    [
      "of a server that does not rotate",
      { begins: 20_000, after: 500_000, rotation: RotationPolicy.reusable }
    ]
  ] as const)("%s is given up at its time", ([, options]) =>
    Effect.gen(function* () {
      const { a, posts } = yield* world(options)
      const asking = yield* Effect.fork(Effect.flip(a.getAccessToken))
      yield* settle
      yield* seconds(30)
      expect(yield* Fiber.join(asking)).toMatchObject({ reason: "MaybeSent" })
      yield* seconds(2)
      const again = yield* Effect.fork(Effect.flip(a.getAccessToken))
      yield* settle
      expect(posts.length).toBe(2)
      yield* seconds(31)
      yield* Fiber.join(again)
    })
  )
})
