/** Time limits that read the data that has arrived before they give up. */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Fibers from "./edition/Fibers.js"

export interface Options<A, E> {
  /** How long the effect may take, in milliseconds. */
  readonly millis: number
  /** Runs when the time is up. Returns for how many more milliseconds the effect may go on. Default: none. */
  readonly more?: Effect.Effect<number>
  /** Replaces an effect that was interrupted because the time was up. */
  readonly late: Effect.Effect<A, E>
  /**
   * Whether to wait for an interrupted effect, and to use its outcome if it still succeeds or fails. Default:
   * true. If false, the limit holds even for an effect that cannot be interrupted.
   */
  readonly waits?: boolean
}

/** The response to a request, shared between the waiting refresh and the sender of the request. */
export interface Arrival {
  /** For how long, in milliseconds since the request, a response that has begun to arrive is read. */
  readonly millis: number
  /** The sender sets it once the first part of the response has arrived. */
  begun: boolean
}

/**
 * Set for a sender that should read its response beyond its own time-out once it has begun to arrive;
 * otherwise undefined. A refresh at a server that rotates without a replay window sets the lifetime of its
 * lease, because the response holds the only copy of a refresh token.
 */
export class ReadOn extends Context.Reference<ReadOn>()("@latchkey/core/TimeLimit/ReadOn", {
  defaultValue: (): Arrival | undefined => undefined
}) {}

/**
 * Runs an effect in a fiber of its own, for at most `millis`.
 *
 * On the real clock, the effect first gets to read the data that has arrived: if the process was stopped or
 * its event loop blocked, the timer fires before the response in the socket is read. The missed time is given
 * back, up to 2 seconds.
 */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { late, millis, more = Effect.succeed(0), waits = true }: Options<A, E>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Fibers.running<R>(), (running) =>
    Effect.async<A, E>((resume) => {
      let isLate = false
      // As a value, because Effect logs a fiber that fails, together with its failure.
      let outcome: Exit.Exit<A, E> | undefined
      const work = Fibers.fork(
        running,
        Effect.map(Effect.exit(effect), (exit) => {
          outcome = exit
        })
      )
      const expire = Effect.sync(() => {
        isLate = true
        Fibers.interrupt(work)
        if (!waits) resume(late)
      })
      const furtherTime = Effect.flatMap(more, (further) => (further > 0 ? timeIsUp(further) : Effect.void))
      const stop = startTimer(running, millis, Effect.andThen(furtherTime, expire))
      work.addObserver((exit) => {
        stop()
        if (Exit.isFailure(exit)) outcome ??= Exit.failCause(exit.cause)
        if (outcome !== undefined) resume(isLate && Exit.isInterrupted(outcome) ? late : outcome)
      })
      return Effect.suspend(() => {
        stop()
        if (waits) return Effect.asVoid(Fiber.interrupt(work))
        Fibers.interrupt(work)
        return Effect.void
      })
    })
  )

/** Interrupts an effect that takes longer, and fails. */
export const orFail =
  <F>(duration: Duration.DurationInput, late: () => F) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | F, R> =>
    Effect.flatMap(
      Effect.timeoutOption(effect, duration),
      Option.match({ onNone: () => Effect.fail(late()), onSome: Effect.succeed })
    )

/** Whether time passes by itself. A test moves its clock by hand. */
export const isLive = (clock: Clock.Clock): boolean => clock === Fibers.systemClock

/** The least number of event-loop turns for reading what has arrived. Reading a response takes a few. */
const leastTurns = 10

/** A timer that fires later than this, in milliseconds, shows that the process did not run meanwhile. */
const notablyLate = 20

/** How much of the missed time is given back, in milliseconds, and how often. */
const mostGivenBack = 2000
const mostTimes = 5

/** The longest JavaScript timer, in milliseconds: 24 days. A longer limit never ends. */
const longestTimer = 2 ** 31 - 1

/**
 * Runs `then` after `millis`. On the real clock no fiber sleeps meanwhile, because most timers are cancelled
 * early.
 */
export const startTimer = (
  running: Fibers.Running,
  millis: number,
  then: Effect.Effect<void>
): (() => void) => {
  const fork = (effect: Effect.Effect<void>) => Fibers.fork(running, Effect.interruptible(effect))
  const clock = Fibers.clockOf(running)
  let fiber: Fiber.RuntimeFiber<void> | undefined
  const stop = () => {
    if (fiber !== undefined) Fibers.interrupt(fiber)
  }
  if (!isLive(clock)) {
    fiber = fork(Effect.andThen(clock.sleep(Duration.millis(millis)), then))
    return stop
  }
  if (millis > longestTimer) return stop
  const due = monotonic() + millis
  const timer = setTimeout(() => {
    fiber = fork(Effect.andThen(readWhatArrived(due, mostTimes), then))
  }, millis)
  return () => {
    clearTimeout(timer)
    stop()
  }
}

/** {@link startTimer} by the system's clock, whatever clock the program runs on: other processes live in real time. */
export const startSystemTimer = (millis: number, then: Effect.Effect<void>): (() => void) =>
  startTimer(Fibers.fresh, millis, then)

/** Runs an effect every `millis`, until it returns false or is stopped. */
export const startRepeating = (
  running: Fibers.Running,
  millis: number,
  isToGoOn: Effect.Effect<boolean>
): (() => void) => {
  let isStopped = false
  const next = Effect.map(isToGoOn, (goesOn) => {
    if (goesOn && !isStopped) stop = startTimer(running, millis, next)
  })
  let stop = startTimer(running, millis, next)
  return () => {
    isStopped = true
    stop()
  }
}

const timeIsUp = (millis: number): Effect.Effect<void> =>
  Effect.clockWith((clock) =>
    isLive(clock) ? sleepAndRead(millis, mostTimes) : clock.sleep(Duration.millis(millis))
  )

const sleepAndRead = (millis: number, times: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const due = monotonic() + millis
    return Effect.andThen(Effect.sleep(millis), readWhatArrived(due, times))
  })

/** Reads what has arrived. If the timer fired late, the missed time is given back. */
const readWhatArrived = (due: number, times: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const missed = monotonic() - due
    return Effect.andThen(
      Effect.repeatN(turn, leastTurns - 1),
      missed > notablyLate && times > 0
        ? sleepAndRead(Math.min(missed, mostGivenBack), times - 1)
        : Effect.void
    )
  })

/** In milliseconds. This clock is never set back. */
const monotonic = (): number => Number(Fibers.monotonicNanos(Fibers.systemClock)) / 1e6

/**
 * One turn of the event loop, in which sockets are read: timers, then I/O, then callbacks scheduled later.
 */
export const turn: Effect.Effect<void> = Effect.suspend(() => {
  const { setImmediate } = globalThis as { readonly setImmediate?: (run: () => void) => unknown }
  return typeof setImmediate === "function"
    ? Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
    : Effect.sleep(0)
})
