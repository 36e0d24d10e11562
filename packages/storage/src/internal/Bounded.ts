/** A bound on how long another process may take to answer, which holds even where nothing can be interrupted. */
import { TimeLimit } from "@latchkey/core/internal-api"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"

/**
 * Runs `call`, at most so many milliseconds of real time. What is late is given up in the background, and an
 * interruption of the caller does not reach it: what was sent to a server has happened or not, all of it.
 *
 * A race would do for a caller that can be interrupted; in one that cannot, the loser is waited for. No fiber sleeps
 * meanwhile: nearly all of them would be interrupted.
 */
export const bounded = <A, E, E2>(
  call: Effect.Effect<A, E>,
  millis: number,
  late: () => E2
): Effect.Effect<A, E | E2> =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) =>
    Effect.async<A, E | E2>((resume) => {
      const work = Runtime.runFork(runtime)(Effect.interruptible(call))
      const giveUp = Effect.sync(() => {
        resume(Effect.fail(late()))
        work.unsafeInterruptAsFork(FiberId.none)
      })
      const stop = TimeLimit.startSystemTimer(millis, giveUp)
      work.addObserver((exit) => {
        stop()
        resume(exit)
      })
    })
  )
