import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Duration from "effect/Duration"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"

/** An effect that runs outside of any fiber, and can be called off. */
export interface Running<A, E> {
  readonly exit: Promise<Exit.Exit<A, E>>
  readonly cancel: () => void
}

/**
 * Runs `effect`, or `late` in its place once `timeout` has passed: then it is interrupted and not waited
 * for, so that the time holds even if it cannot be interrupted.
 *
 * It costs a third of `Effect.timeoutTo`, which is most of what a request through Effect would take longer
 * than one without.
 */
export const run = <A, E, R>(
  runtime: Runtime.Runtime<R>,
  effect: Effect.Effect<A, E, R>,
  timeout: Duration.Duration,
  late: Effect.Effect<A, E>
): Running<A, E> => {
  const fork = Runtime.runFork(runtime)
  const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
  const cancel = () => fibers.forEach((fiber) => fiber.unsafeInterruptAsFork(FiberId.none))
  const exit = new Promise<Exit.Exit<A, E>>((resolve) => {
    const work = fork(effect)
    const timer = fork(Effect.sleep(timeout))
    fibers.push(work, timer)
    work.addObserver((result) => {
      timer.unsafeInterruptAsFork(FiberId.none)
      resolve(result)
    })
    timer.addObserver((result) => {
      if (Exit.isFailure(result)) return
      work.unsafeInterruptAsFork(FiberId.none)
      fork(late).addObserver(resolve)
    })
  })
  return { exit, cancel }
}
