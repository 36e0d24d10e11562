import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, TestClock } from "effect"
import * as Deadline from "../src/Deadline.js"

const late = Effect.fail("late")

describe.each([
  ["by a timer", it.live],
  ["by the clock of a test", it.effect]
] as const)("a time-out %s", (_, run) => {
  const passes = run === it.effect ? (millis: number) => TestClock.adjust(millis) : () => Effect.void

  run("is not told of when the effect ends in time", () =>
    Effect.gen(function* () {
      expect(yield* Deadline.within(Effect.succeed(1), { millis: 10_000, late })).toBe(1)
      expect(yield* Effect.flip(Deadline.within(Effect.fail("own"), { millis: 10_000, late }))).toBe("own")
    })
  )

  run("interrupts what takes longer, and waits for its end", () =>
    Effect.gen(function* () {
      let ended = false
      const slow = Effect.ensuring(
        Effect.never,
        Effect.sync(() => (ended = true))
      )
      const fiber = yield* Effect.fork(Effect.flip(Deadline.within(slow, { millis: 5, late })))
      yield* passes(5)
      expect(yield* Fiber.join(fiber)).toBe("late")
      expect(ended).toBe(true)
    })
  )

  run("takes what an effect brings that ends otherwise all the same", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<number>()
      const limited = Deadline.within(Deferred.await(gate), { millis: 5, late })
      const fiber = yield* Effect.fork(Effect.uninterruptible(limited))
      yield* passes(5)
      yield* Deferred.succeed(gate, 2)
      expect(yield* Fiber.join(fiber)).toBe(2)
    })
  )

  run("holds for what cannot be interrupted, where nobody waits for that", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<number>()
      const ended = yield* Deferred.make<Exit.Exit<number, string>>()
      const slow = Effect.uninterruptible(Deferred.await(gate))
      const onEnd = (exit: Exit.Exit<number, string>) => Deferred.unsafeDone(ended, Effect.succeed(exit))
      const limited = Deadline.within(slow, { millis: 5, late, waits: false, onEnd })
      const fiber = yield* Effect.fork(Effect.flip(limited))
      yield* passes(5)
      expect(yield* Fiber.join(fiber)).toBe("late")
      yield* Deferred.succeed(gate, 3)
      expect(Exit.isInterrupted(yield* Deferred.await(ended))).toBe(true)
    })
  )

  run("is called off with who waits for it", () =>
    Effect.gen(function* () {
      const began = yield* Deferred.make<void>()
      let ended = false
      const slow = Effect.zipRight(Deferred.succeed(began, undefined), Effect.never).pipe(
        Effect.ensuring(Effect.sync(() => (ended = true)))
      )
      const fiber = yield* Effect.fork(Deadline.within(slow, { millis: 60_000, late }))
      yield* Deferred.await(began)
      expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
      expect(ended).toBe(true)
    })
  )
})

it.live("what lies beyond the timers of JavaScript is never, and not at once", () =>
  Effect.gen(function* () {
    let called = 0
    const runtime = yield* Effect.runtime()
    const cancel = Deadline.schedule(runtime, 2 ** 31, () => called++)
    const soon = yield* Deferred.make<void>()
    Deadline.schedule(runtime, 5, () => Deferred.unsafeDone(soon, Effect.void))
    yield* Deferred.await(soon)
    expect(called).toBe(0)
    cancel()
  })
)
