/** Fibers from plain code: how each edition of Effect starts and stops them. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

/** The context that an effect runs with. */
export interface Running<R = never> {
  readonly context: Context.Context<R>
  /** Makes an effect interruptible if the fiber was. */
  readonly restore: <A, E, R2>(effect: Effect.Effect<A, E, R2>) => Effect.Effect<A, E, R2>
}

export const running = <R = never>(): Effect.Effect<Running<R>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.map(Effect.context<R>(), (context) => ({ context, restore }))
  )

/** Starts an effect in a fiber of its own. It can be interrupted if the fiber that runs `running` can be. */
export const fork = <A, E, R>(
  { context, restore }: Running<R>,
  effect: Effect.Effect<A, E, R>
): Fiber.Fiber<A, E> => Effect.runForkWith(context)(Effect.uninterruptible(restore(effect)))

export const runPromiseExit = <R>({ context }: Running<R>) => Effect.runPromiseExitWith(context)

/**
 * Completes a deferred, and so resumes the fibers that wait for it, but not before the calling fiber itself
 * waits. The resumed fibers then see what the calling fiber did meanwhile.
 */
export const release = <A, E>(
  deferred: Deferred.Deferred<A, E>,
  exit: Exit.Exit<A, E>
): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    fiber.currentDispatcher.scheduleTask(() => Deferred.doneUnsafe(deferred, exit), 0)
    return Effect.void
  })

/** Interrupts a fiber without waiting for its end. */
export const interrupt = <A, E>(fiber: Fiber.Fiber<A, E>): void => fiber.interruptUnsafe()

/** The clock of programs that provide none: the system's, with JavaScript's timers. */
export const systemClock: Clock.Clock = Context.get(Context.empty(), Clock.Clock)

export const clockOf = ({ context }: Running): Clock.Clock => Context.get(context, Clock.Clock)

/** Reads a clock that is never set back, in nanoseconds. */
export const monotonicNanos = (clock: Clock.Clock): bigint => clock.monotonicTimeNanosUnsafe()

/**
 * Creates a clock that shows `now`, in epoch milliseconds. `nanos` measures the time that passes and is never
 * set back.
 */
export const makeClock = (
  now: () => number,
  sleep: Clock.Clock["sleep"],
  nanos = () => BigInt(Math.floor(now())) * 1_000_000n
): Clock.Clock => ({
  currentTimeMillisUnsafe: now,
  currentTimeNanosUnsafe: nanos,
  monotonicTimeNanosUnsafe: nanos,
  currentTimeMillis: Effect.sync(now),
  currentTimeNanos: Effect.sync(nanos),
  monotonicTimeNanos: Effect.sync(nanos),
  sleep
})
