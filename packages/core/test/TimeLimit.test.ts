import { afterEach, describe, expect, it, vi } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, TestClock } from "effect"
import { once } from "node:events"
import { connect, createServer, type AddressInfo, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import * as TimeLimit from "../src/TimeLimit.js"

const late = Effect.fail("late")

describe.each([
  ["by a timer", it.live],
  ["by the clock of a test", it.effect]
] as const)("a time-out %s", (_, run) => {
  const passes = run === it.effect ? (millis: number) => TestClock.adjust(millis) : () => Effect.void

  run("is not told of when the effect ends in time", () =>
    Effect.gen(function* () {
      expect(yield* TimeLimit.within(Effect.succeed(1), { millis: 10_000, late })).toBe(1)
      expect(yield* Effect.flip(TimeLimit.within(Effect.fail("own"), { millis: 10_000, late }))).toBe("own")
    })
  )

  run("interrupts what takes longer, and waits for its end", () =>
    Effect.gen(function* () {
      let ended = false
      const slow = Effect.ensuring(
        Effect.never,
        Effect.sync(() => (ended = true))
      )
      const fiber = yield* Effect.fork(Effect.flip(TimeLimit.within(slow, { millis: 5, late })))
      yield* passes(5)
      expect(yield* Fiber.join(fiber)).toBe("late")
      expect(ended).toBe(true)
    })
  )

  run("takes what an effect brings that ends otherwise all the same", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<number>()
      const limited = TimeLimit.within(Deferred.await(gate), { millis: 5, late })
      const fiber = yield* Effect.fork(Effect.uninterruptible(limited))
      yield* passes(5)
      yield* Deferred.succeed(gate, 2)
      expect(yield* Fiber.join(fiber)).toBe(2)
    })
  )

  run("holds for what cannot be interrupted, where nobody waits for that", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<number>()
      const ended = yield* Deferred.make<Exit.Exit<number>>()
      const slow = Effect.onExit(Effect.uninterruptible(Deferred.await(gate)), (exit) =>
        Deferred.succeed(ended, exit)
      )
      const limited = TimeLimit.within(slow, { millis: 5, late, waits: false })
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
      const slow = Effect.andThen(Deferred.succeed(began, undefined), Effect.never).pipe(
        Effect.ensuring(Effect.sync(() => (ended = true)))
      )
      const fiber = yield* Effect.fork(TimeLimit.within(slow, { millis: 60_000, late }))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      expect(Exit.isInterrupted(yield* Fiber.await(fiber))).toBe(true)
      expect(ended).toBe(true)
    })
  )
})

it.live("a limit beyond the timers of JavaScript is never reached, and not at once", () =>
  Effect.gen(function* () {
    const answer = Effect.as(Effect.sleep(5), "answered")
    expect(yield* TimeLimit.within(answer, { millis: 2 ** 31, late })).toBe("answered")
  })
)

/** Lets the fibers that were forked begin. */
const started = Effect.repeatN(Effect.yieldNow(), 20)

/** Keeps the event loop from turning, as a long computation or a stopped process does. */
const block = (millis: number) => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

describe("a timer that fires late", () => {
  afterEach(() => vi.unstubAllGlobals())

  /** A connection, and the other end of it. */
  const connection = Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer()
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      const client = connect((server.address() as AddressInfo).port, "127.0.0.1")
      const [[peer]] = (await Promise.all([once(server, "connection"), once(client, "connect")])) as [
        [Socket],
        unknown
      ]
      return { server, client, peer }
    }),
    ({ client, peer, server }) =>
      Effect.sync(() => {
        client.destroy()
        peer.destroy()
        server.close()
      })
  )

  it.scopedLive.each([
    ["with setImmediate", undefined],
    ["without it, as in a browser", null]
  ])("lets what has arrived be read first, %s", ([, without]) =>
    Effect.gen(function* () {
      if (without === null) vi.stubGlobal("setImmediate", undefined)
      const { client, peer } = yield* connection
      const reading = Effect.promise(() => once(client, "data").then(([data]) => String(data)))
      const fiber = yield* Effect.fork(TimeLimit.within(reading, { millis: 20, late }))
      yield* started
      // It is in the socket by the time that the timer is due, and nobody looks.
      peer.write("answer")
      block(200)
      expect(yield* Fiber.join(fiber)).toBe("answer")
    })
  )

  it.live("gives back the time that was missed, and then gives up", () =>
    Effect.gen(function* () {
      const answer = Effect.promise(() => sleep(60).then(() => "answered"))
      const late150 = { millis: 20, late }
      const saved = yield* Effect.fork(TimeLimit.within(answer, late150))
      const lost = yield* Effect.fork(Effect.flip(TimeLimit.within(Effect.never, late150)))
      yield* started
      block(500)
      expect(yield* Fiber.join(saved)).toBe("answered")
      expect(yield* Fiber.join(lost)).toBe("late")
    })
  )
})

describe("time that is asked for when it is up", () => {
  it.effect("is given, once", () =>
    Effect.gen(function* () {
      const asked: Array<number> = []
      const more = Effect.sync(() => (asked.push(1), 10))
      const slow = Effect.as(Effect.sleep(12), "answered")
      const fiber = yield* Effect.fork(TimeLimit.within(slow, { millis: 5, more, late }))
      const never = yield* Effect.fork(Effect.flip(TimeLimit.within(Effect.never, { millis: 5, more, late })))
      yield* TestClock.adjust(5)
      yield* TestClock.adjust(7)
      expect(yield* Fiber.join(fiber)).toBe("answered")
      yield* TestClock.adjust(3)
      expect(yield* Fiber.join(never)).toBe("late")
      expect(asked.length).toBe(2)
    })
  )
})
