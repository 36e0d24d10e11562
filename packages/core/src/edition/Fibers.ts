/** Fibers from plain code: how each edition of Effect starts and stops them. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRefs from "effect/FiberRefs"
import * as Runtime from "effect/Runtime"

/** The runtime that an effect runs with. */
export type Running<R = never> = Runtime.Runtime<R>

export const running = <R = never>(): Effect.Effect<Running<R>, never, R> => Effect.runtime<R>()

/** A runtime without the services of a program. */
export const fresh: Running = Runtime.defaultRuntime

/** Starts an effect in a fiber of its own. It can be interrupted if the fiber that runs `running` can be. */
export const fork = <A, E, R>(
  running: Running<R>,
  effect: Effect.Effect<A, E, R>
): Fiber.RuntimeFiber<A, E> => Runtime.runFork(running)(effect)

export const runPromiseExit = Runtime.runPromiseExit

/**
 * Completes a deferred, and so resumes the fibers that wait for it, but not before the calling fiber itself
 * waits. The resumed fibers then see what the calling fiber did meanwhile.
 */
export const release = <A, E>(
  deferred: Deferred.Deferred<A, E>,
  exit: Exit.Exit<A, E>
): Effect.Effect<void> => Effect.sync(() => Deferred.unsafeDone(deferred, exit))

/** Interrupts a fiber without waiting for its end. */
export const interrupt = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): void =>
  fiber.unsafeInterruptAsFork(FiberId.none)

/** The clock of programs that provide none: the system's, with JavaScript's timers. */
export const systemClock: Clock.Clock = Context.get(DefaultServices.liveServices, Clock.Clock)

export const clockOf = (running: Running): Clock.Clock =>
  Context.get(FiberRefs.getOrDefault(running.fiberRefs, DefaultServices.currentServices), Clock.Clock)

/** Reads a clock that is never set back, in nanoseconds. */
export const monotonicNanos = (clock: Clock.Clock): bigint => clock.unsafeCurrentTimeNanos()

/**
 * Creates a clock that shows `now`, in epoch milliseconds. `nanos` measures the time that passes and is never
 * set back.
 */
export const makeClock = (
  now: () => number,
  sleep: Clock.Clock["sleep"],
  nanos = () => BigInt(Math.floor(now())) * 1_000_000n
): Clock.Clock => ({
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  unsafeCurrentTimeMillis: now,
  unsafeCurrentTimeNanos: nanos,
  currentTimeMillis: Effect.sync(now),
  currentTimeNanos: Effect.sync(nanos),
  sleep
})
