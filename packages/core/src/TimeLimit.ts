/** Time limits that read what has arrived before they give up. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRefs from "effect/FiberRefs"
import * as Runtime from "effect/Runtime"

export interface Options<A, E> {
  /** How long the effect may take, in milliseconds. */
  readonly millis: number
  /** Runs when the time is up: for how many more milliseconds the effect may go on. Default: none. */
  readonly more?: Effect.Effect<number>
  /** Takes the place of an effect that was interrupted because the time was up. */
  readonly late: Effect.Effect<A, E>
  /**
   * Whether an effect that is interrupted is waited for, and its outcome taken if it succeeds or fails after all.
   * Default: true. If not, the limit holds even for an effect that cannot be interrupted.
   */
  readonly waits?: boolean
}

/** The answer to a request, shared between the waiting refresh and the sender of the request. */
export interface Arrival {
  /** For how long, in milliseconds since the request, an answer that has begun to arrive is read. */
  readonly millis: number
  /** The sender sets it once the first part of the answer is there. */
  begun: boolean
}

/**
 * Given to a sender whose answer is read beyond its own time-out once it has begun to arrive; undefined elsewhere. A
 * refresh at a server that rotates without a replay window gives the life of its lease: the answer holds the only copy of
 * a refresh token.
 */
export class ReadOn extends Context.Reference<ReadOn>()("@latchkey/core/TimeLimit/ReadOn", {
  defaultValue: (): Arrival | undefined => undefined
}) {}

/**
 * Runs an effect in a fiber of its own, for `millis` at most.
 *
 * On the real clock, the effect first gets to read what has arrived: if the process was stopped or its event loop
 * blocked, the timer fires before the answer in the socket is read. The missed time is given back, up to 2 seconds.
 */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { late, millis, more = Effect.succeed(0), waits = true }: Options<A, E>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.runtime<R>(), (runtime) =>
    Effect.async<A, E>((resume) => {
      let isLate = false
      // As a value: Effect logs a fiber that fails, and with it whatever is in the failure.
      const work = Runtime.runFork(runtime)(Effect.exit(effect))
      const expire = Effect.sync(() => {
        isLate = true
        work.unsafeInterruptAsFork(FiberId.none)
        if (!waits) resume(late)
      })
      const furtherTime = Effect.flatMap(more, (further) => (further > 0 ? timeIsUp(further) : Effect.void))
      const stop = startTimer(runtime, millis, Effect.andThen(furtherTime, expire))
      work.addObserver((exit) => {
        stop()
        const outcome = Exit.flatten(exit)
        resume(isLate && Exit.isInterrupted(outcome) ? late : outcome)
      })
      return Effect.suspend(() => {
        stop()
        if (waits) return Effect.asVoid(Fiber.interrupt(work))
        work.unsafeInterruptAsFork(FiberId.none)
        return Effect.void
      })
    })
  )

/** The clock of programs that provide none: the system's, with JavaScript's timers. */
const liveClock: Clock.Clock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** Whether time passes by itself; a test moves its clock by hand. */
export const isLive = (clock: Clock.Clock): boolean => clock === liveClock

/** How many turns of the event loop what has arrived gets at least: an answer is read in a few. */
const leastTurns = 10

/** A timer that fires later than this, in milliseconds, shows that the process did not run meanwhile. */
const notablyLate = 20

/** How much of the missed time is given back, in milliseconds, and how often. */
const mostGivenBack = 2000
const mostTimes = 5

/** JavaScript's timers reach no further, in milliseconds: 24 days. What ends later never ends. */
const longestTimer = 2 ** 31 - 1

/** Runs `then` once `millis` have passed. On the real clock no fiber sleeps meanwhile: most timers are stopped before. */
export const startTimer = (
  runtime: Runtime.Runtime<never>,
  millis: number,
  then: Effect.Effect<void>
): (() => void) => {
  const fork = (effect: Effect.Effect<void>) => Runtime.runFork(runtime)(Effect.interruptible(effect))
  const clock = Context.get(
    FiberRefs.getOrDefault(runtime.fiberRefs, DefaultServices.currentServices),
    Clock.Clock
  )
  let fiber: Fiber.RuntimeFiber<void> | undefined
  const stop = () => fiber?.unsafeInterruptAsFork(FiberId.none)
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
  startTimer(Runtime.defaultRuntime, millis, then)

/** Runs an effect every `millis`, until it says that it was the last time, or is stopped. */
export const startRepeating = (
  runtime: Runtime.Runtime<never>,
  millis: number,
  isToGoOn: Effect.Effect<boolean>
): (() => void) => {
  let isStopped = false
  const next = Effect.map(isToGoOn, (goesOn) => {
    if (goesOn && !isStopped) stop = startTimer(runtime, millis, next)
  })
  let stop = startTimer(runtime, millis, next)
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

/** In milliseconds; nobody sets it back. */
const monotonic = (): number => Number(liveClock.unsafeCurrentTimeNanos()) / 1e6

/** One turn of the event loop reads what sockets hold: timers, then I/O, then what was scheduled to follow it. */
const turn: Effect.Effect<void> = Effect.suspend(() => {
  const { setImmediate } = globalThis as { readonly setImmediate?: (run: () => void) => unknown }
  return typeof setImmediate === "function"
    ? Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
    : Effect.sleep(0)
})
