import { describe, expect, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, TestClock } from "effect"
import * as Limits from "../src/internal/ServerLimits.js"
import { settle } from "./support/Bench.js"

describe("a limit", () => {
  it.scoped("lets in who came first, less who went away, so many at a time", () =>
    Effect.gen(function* () {
      const limit = Limits.atMost(3)
      const gates = yield* Effect.replicateEffect(Deferred.make<void>(), 60)
      const entered: Array<number> = []
      const fibers = yield* Effect.forEach(gates, (gate, i) =>
        Effect.fork(
          limit(
            Effect.andThen(
              Effect.sync(() => void entered.push(i)),
              Deferred.await(gate)
            )
          )
        )
      )
      yield* settle
      expect(entered).toEqual([0, 1, 2])
      const gone = (i: number) => i % 7 === 3
      yield* Effect.forEach(fibers, (fiber, i) => (gone(i) ? Fiber.interrupt(fiber) : Effect.void))
      yield* Effect.forEach(gates, (gate) => Effect.andThen(Deferred.succeed(gate, undefined), settle))
      expect(entered).toEqual(gates.map((_, i) => i).filter((i) => !gone(i)))
    })
  )

  it.scoped("takes back the place of one who is interrupted, and of one who fails", () =>
    Effect.gen(function* () {
      const limit = Limits.atMost(1)
      const stuck = yield* Effect.fork(limit(Effect.never))
      const next = yield* Effect.fork(limit(Effect.fail("no")))
      yield* settle
      yield* Fiber.interrupt(stuck)
      expect(yield* Effect.flip(Fiber.join(next))).toBe("no")
      expect(yield* limit(Effect.succeed("in"))).toBe("in")
    })
  )

  it("takes time in proportion to those who wait", () =>
    Effect.gen(function* () {
      const limit = Limits.atMost(16)
      let most = 0
      let inside = 0
      const work = Effect.andThen(
        Effect.sync(() => void (most = Math.max(most, ++inside))),
        Effect.andThen(
          Effect.yieldNow(),
          Effect.sync(() => void inside--)
        )
      )
      yield* Effect.forEach(Array.from({ length: 4000 }), () => limit(work), {
        concurrency: "unbounded",
        discard: true
      })
      expect(most).toBe(16)
      expect(inside).toBe(0)
    }).pipe(Effect.runPromise))
})

describe("a rate", () => {
  it.scoped("makes up for what it missed a moment ago, and not for more", () =>
    Effect.gen(function* () {
      const limit = Limits.rate(100, 1000)
      const began = yield* Clock.currentTimeMillis
      const starts: Array<number> = []
      const begin = limit(Effect.map(Clock.currentTimeMillis, (now) => void starts.push(now - began)))
      yield* TestClock.adjust("1 minute")
      yield* Effect.fork(
        Effect.forEach(Array.from({ length: 40 }), () => begin, { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      expect(starts).toHaveLength(40)
      expect(starts.filter((at) => at === 60_000)).toHaveLength(11)
      expect(starts.at(-1)).toBe(60_290)
    })
  )

  it.scoped("holds nobody up for longer where the clock was set back", () =>
    Effect.gen(function* () {
      const limit = Limits.rate(1, 2)
      yield* TestClock.adjust("1 hour")
      yield* limit(Effect.void)
      yield* TestClock.setTime(0)
      const fiber = yield* Effect.fork(limit(Effect.void))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
    })
  )
})
