/** Limits how long another process may take to answer, even if nothing can be interrupted. */
import { Fibers, TimeLimit } from "@latchkey/core/internal-api"
import * as Effect from "effect/Effect"

/**
 * Runs `call` for at most this many milliseconds of real time. A late call is abandoned in the background,
 * and an interruption of the caller does not reach it: a request to a server happens completely or not at
 * all.
 *
 * A race would be enough for a caller that can be interrupted. In a caller that cannot, a race waits for the
 * loser. No fiber sleeps meanwhile, because nearly all of them would be interrupted.
 */
export const bounded = <A, E, E2>(
  call: Effect.Effect<A, E>,
  millis: number,
  late: () => E2
): Effect.Effect<A, E | E2> =>
  Effect.flatMap(Fibers.running(), (running) =>
    Effect.async<A, E | E2>((resume) => {
      const work = Fibers.fork(running, Effect.interruptible(call))
      const giveUp = Effect.sync(() => {
        resume(Effect.fail(late()))
        Fibers.interrupt(work)
      })
      const stop = TimeLimit.startSystemTimer(millis, giveUp)
      work.addObserver((exit) => {
        stop()
        resume(exit)
      })
    })
  )
