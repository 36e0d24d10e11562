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
 * Runs an effect in a fiber of its own, with what the caller has, for `millis` at most.
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
  { late, millis, onEnd, waits = true }: Options<A, E>
): Effect.Effect<A, E> =>
  Effect.async<A, E>((resume) => {
    let isLate = false
    // As a value: a fiber that fails is logged.
    const work = Runtime.runFork(runtime)(Effect.exit(effect))
    const cancel = schedule(runtime, millis, () => {
      isLate = true
      work.unsafeInterruptAsFork(FiberId.none)
      if (!waits) resume(late)
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

const clockOf = (runtime: Runtime.Runtime<never>): Clock.Clock =>
  Option.match(FiberRefs.get(runtime.fiberRefs, DefaultServices.currentServices), {
    onNone: () => liveClock,
    onSome: (services) => Context.get(services, Clock.Clock)
  })
