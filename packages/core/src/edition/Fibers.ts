/** Fibers from plain code: how each edition of Effect starts and stops them. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRefs from "effect/FiberRefs"
import * as Runtime from "effect/Runtime"

/** What an effect runs with. */
export type Running<R = never> = Runtime.Runtime<R>

export const running = <R = never>(): Effect.Effect<Running<R>, never, R> => Effect.runtime<R>()

/** Starts an effect with a fiber of its own that can be interrupted. */
export const fork = <A, E, R>(
  running: Running<R>,
  effect: Effect.Effect<A, E, R>
): Fiber.RuntimeFiber<A, E> => Runtime.runFork(running)(Effect.interruptible(effect))

export const runPromiseExit = Runtime.runPromiseExit

/** Interrupts a fiber without waiting for its end. */
export const interrupt = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): void =>
  fiber.unsafeInterruptAsFork(FiberId.none)

/** The clock of programs that provide none: the system's, with JavaScript's timers. */
export const systemClock: Clock.Clock = Context.get(DefaultServices.liveServices, Clock.Clock)

export const clockOf = (running: Running): Clock.Clock =>
  Context.get(FiberRefs.getOrDefault(running.fiberRefs, DefaultServices.currentServices), Clock.Clock)

/** The nanoseconds of a clock that nobody sets back. */
export const monotonicNanos = (clock: Clock.Clock): bigint => clock.unsafeCurrentTimeNanos()

/** A clock that shows `now`, in epoch milliseconds. */
export const makeClock = (now: () => number, sleep: Clock.Clock["sleep"]): Clock.Clock => {
  const nanos = () => BigInt(Math.floor(now())) * 1_000_000n
  return {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: now,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(now),
    currentTimeNanos: Effect.sync(nanos),
    sleep
  }
}
