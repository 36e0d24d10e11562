/**
 * Time-outs and timers in the fewest steps, for those who implement ports: half of what a refresh takes beside
 * its request was once the fibers that slept next to it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { liveClock, runtimeOf } from "./internal/Now.js"

/**
 * What {@link within} is told.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<A, E> {
  /** How long the effect may take, in milliseconds. */
  readonly millis: number
  /** Asked when the time is up: for how much longer, in milliseconds, the effect may go on; 0 unless given. */
  readonly more?: () => number
  /** What takes the place of an effect that was interrupted because the time was up. */
  readonly late: Effect.Effect<A, E>
  /**
   * Whether an effect that is interrupted is waited for, and its outcome taken if it ends otherwise all the same;
   * true. If not, the time holds even for one that cannot be interrupted.
   */
  readonly waits?: boolean
  /** Told of its outcome when it has ended, late or called off too. */
  readonly onEnd?: (exit: Exit.Exit<A, E>) => void
}

/**
 * The answer to a request, shared between the one who waits for it and the one who sends the request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Arrival {
  /** For how long, in milliseconds since the request, an answer that has begun to arrive is read. */
  readonly millis: number
  /** Set by the sender once the first of the answer is there. */
  begun: boolean
}

/**
 * Given to a sender whose answer is to be read beyond its own time-out, once it has begun to arrive; undefined
 * elsewhere. A refresh at a server that rotates without a window gives the life of its lease: the answer holds the only
 * copy of a refresh token.
 *
 * @since 0.1.0
 * @category references
 */
export class ReadOn extends Context.Reference<ReadOn>()("@latchkey/core/Deadline/ReadOn", {
  defaultValue: (): Arrival | undefined => undefined
}) {}

/**
 * Runs an effect in a fiber of its own, with what the caller has, for `millis` at most.
 *
 * By Effect's own clock, what has arrived by then is read before the time is up: where the process was stopped or its
 * event loop blocked, the timer fires before the answer that lies in the socket is looked at. The time that was missed is
 * given back for that, up to 2 seconds.
 *
 * @since 0.1.0
 * @category combinators
 */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: Options<A, E>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    withinBy(runtimeOf(fiber, runtimeFlags) as Runtime.Runtime<R>, effect, options)
  )

/**
 * {@link within}, with what is in a runtime.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withinBy = <A, E, R>(
  runtime: Runtime.Runtime<R>,
  effect: Effect.Effect<A, E, R>,
  { late, millis, more, onEnd, waits = true }: Options<A, E>
): Effect.Effect<A, E> =>
  Effect.async<A, E>((resume) => {
    let isLate = false
    // As a value: a fiber that fails is logged.
    const work = Runtime.runFork(runtime)(Effect.exit(effect))
    const expire = () => {
      isLate = true
      work.unsafeInterruptAsFork(FiberId.none)
      if (!waits) resume(late)
    }
    let cancel = scheduleAfterReading(runtime, millis, () => {
      const further = more?.() ?? 0
      if (further > 0) cancel = scheduleAfterReading(runtime, further, expire)
      else expire()
    })
    work.addObserver((result) => {
      cancel()
      const exit = Exit.flatten(result)
      onEnd?.(exit)
      resume(isLate && Exit.isInterrupted(exit) ? late : exit)
    })
    return Effect.suspend(() => {
      cancel()
      if (waits) return Effect.asVoid(Fiber.interrupt(work))
      work.unsafeInterruptAsFork(FiberId.none)
      return Effect.void
    })
  })

/** Further off than JavaScript's timers reach, 24 days, is never. */
const longestTimer = 2 ** 31 - 1

/**
 * Calls `act` once `millis` have passed by the clock of the runtime, unless what it returns was called before.
 * By Effect's own clock that is a timer of JavaScript's and no fiber.
 *
 * @since 0.1.0
 * @category timers
 */
export const schedule = (runtime: Runtime.Runtime<never>, millis: number, act: () => void): (() => void) => {
  if (clockOf(runtime) === liveClock) {
    if (millis > longestTimer) return () => undefined
    const timer = setTimeout(act, millis)
    return () => clearTimeout(timer)
  }
  const fiber = Runtime.runFork(runtime)(Effect.interruptible(Effect.sleep(millis)))
  fiber.addObserver((exit) => {
    if (Exit.isSuccess(exit)) act()
  })
  return () => fiber.unsafeInterruptAsFork(FiberId.none)
}

/** How many turns of the event loop what has arrived gets at least: an answer is read in a few. */
const leastTurns = 10

/** A timer that is later than this, in milliseconds, says that the process did not run meanwhile. */
const notablyLate = 20

/** How much of the time that was missed is given back, in milliseconds, and how often. */
const mostGivenBack = 2000
const mostTimes = 5

/** {@link schedule}, after what has arrived was read. Time that somebody moves is exact. */
const scheduleAfterReading = (
  runtime: Runtime.Runtime<never>,
  millis: number,
  act: () => void
): (() => void) => {
  if (clockOf(runtime) !== liveClock || millis > longestTimer) return schedule(runtime, millis, act)
  let isCancelled = false
  let timer: ReturnType<typeof setTimeout> | undefined
  const wait = (pause: number, times: number): void => {
    const due = monotonic() + pause
    timer = setTimeout(() => {
      const missed = monotonic() - due
      afterTurns(leastTurns, () => {
        if (isCancelled) return
        if (missed > notablyLate && times > 0) wait(Math.min(missed, mostGivenBack), times - 1)
        else act()
      })
    }, pause)
  }
  wait(millis, mostTimes)
  return () => {
    isCancelled = true
    clearTimeout(timer)
  }
}

/** In milliseconds: nobody sets it back. */
const monotonic = (): number => Number(liveClock.unsafeCurrentTimeNanos()) / 1e6

/** Each turn reads what sockets hold: timers, then I/O, then what was set for right after it. */
const afterTurns = (turns: number, act: () => void): void => {
  if (turns === 0) return act()
  const next = () => afterTurns(turns - 1, act)
  const { setImmediate } = globalThis as { readonly setImmediate?: (run: () => void) => unknown }
  if (typeof setImmediate === "function") setImmediate(next)
  else setTimeout(next, 0)
}

const clockOf = (runtime: Runtime.Runtime<never>): Clock.Clock =>
  Option.match(FiberRefs.get(runtime.fiberRefs, DefaultServices.currentServices), {
    onNone: () => liveClock,
    onSome: (services) => Context.get(services, Clock.Clock)
  })
