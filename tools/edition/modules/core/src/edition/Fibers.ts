/** Fibers from plain code: how each edition of Effect starts and stops them. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** What an effect runs with. */
export type Running<R = never> = Context.Context<R>

export const running = <R = never>(): Effect.Effect<Running<R>, never, R> => Effect.context<R>()

/** Starts an effect with a fiber of its own that can be interrupted. */
export const fork = <A, E, R>(running: Running<R>, effect: Effect.Effect<A, E, R>): Fiber.Fiber<A, E> =>
  Effect.runForkWith(running)(effect)

export const runPromiseExit = Effect.runPromiseExitWith

/** Interrupts a fiber without waiting for its end. */
export const interrupt = <A, E>(fiber: Fiber.Fiber<A, E>): void => fiber.interruptUnsafe()

/** The clock of programs that provide none: the system's, with JavaScript's timers. */
export const systemClock: Clock.Clock = Context.get(Context.empty(), Clock.Clock)

export const clockOf = (running: Running): Clock.Clock => Context.get(running, Clock.Clock)

/** The nanoseconds of a clock that nobody sets back. */
export const monotonicNanos = (clock: Clock.Clock): bigint => clock.monotonicTimeNanosUnsafe()

/** A clock that shows `now`, in epoch milliseconds. */
export const makeClock = (now: () => number, sleep: Clock.Clock["sleep"]): Clock.Clock => {
  const nanos = () => BigInt(Math.floor(now())) * 1_000_000n
  return {
    currentTimeMillisUnsafe: now,
    currentTimeNanosUnsafe: nanos,
    monotonicTimeNanosUnsafe: nanos,
    currentTimeMillis: Effect.sync(now),
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanos: Effect.sync(nanos),
    sleep
  }
}
