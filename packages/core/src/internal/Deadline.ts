/** A light time-out. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"

/**
 * Interrupts `effect` once `millis` have passed, waits for its end, and fails with `late`, unless it ends
 * otherwise all the same. It takes half the steps of `Effect.timeoutFail`.
 */
export const within = <A, E>(
  effect: Effect.Effect<A, E>,
  millis: number,
  late: () => E
): Effect.Effect<A, E> =>
  Effect.flatMap(Effect.runtime(), (runtime) =>
    Effect.async<A, E>((resume) => {
      const fork = Runtime.runFork(runtime)
      let isLate = false
      // As a value: a fiber that fails is logged.
      const work = fork(Effect.exit(effect))
      const timer = fork(Effect.sleep(millis))
      timer.addObserver((exit) => {
        if (Exit.isFailure(exit)) return
        isLate = true
        work.unsafeInterruptAsFork(FiberId.none)
      })
      work.addObserver((result) => {
        timer.unsafeInterruptAsFork(FiberId.none)
        const exit = Exit.flatten(result)
        resume(isLate && Exit.isInterrupted(exit) ? Effect.failSync(late) : exit)
      })
      return Effect.zipRight(Fiber.interrupt(timer), Fiber.interrupt(work))
    })
  )
