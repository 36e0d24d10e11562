/** A bound on how long another process may take to answer, which holds even where nothing can be interrupted. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Fibers } from "@latchkey/core/internal-api"
import { pause } from "./KernelLock.js"

/**
 * Runs `call`, at most so many milliseconds of real time. What is late is given up in the background, and an
 * interruption of the caller does not reach it: what was sent to a server has happened or not, all of it.
 *
 * A race would do for a caller that can be interrupted; in one that cannot, the loser is waited for.
 */
export const bounded = <A, E, E2>(
  call: Effect.Effect<A, E>,
  millis: number,
  late: () => E2
): Effect.Effect<A, E | E2> =>
  Effect.flatMap(Fibers.running(), (running) =>
    Effect.async<A, E | E2>((resume) => {
      const work = Fibers.fork(running, Effect.interruptible(call))
      const timer = Fibers.fork(running, Effect.interruptible(pause(millis)))
      work.addObserver((exit) => {
        Fibers.interrupt(timer)
        resume(exit)
      })
      timer.addObserver((exit) => {
        if (Exit.isInterrupted(exit)) return
        resume(Effect.fail(late()))
        Fibers.interrupt(work)
      })
    })
  )
