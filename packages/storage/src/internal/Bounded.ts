/** Limits how long another process may take to answer, even if nothing can be interrupted. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Fibers } from "@latchkey/core/internal-api"
import { pause } from "./KernelLock.js"

/**
 * Runs `call` for at most this many milliseconds of real time. A late call is abandoned in the background,
 * and an interruption of the caller does not reach it: a request to a server happens completely or not at
 * all.
 *
 * A race would be enough for a caller that can be interrupted. In a caller that cannot, a race waits for the
 * loser.
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
