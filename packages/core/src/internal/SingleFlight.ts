/** One run at a time of an effect that many want: the first starts it, the others join it. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"

export interface SingleFlight<A, E, Why> {
  /** Starts a run unless one is under way; does not wait. */
  readonly start: (why: Why) => Effect.Effect<void>
  /** Waits for the run under way, or for a new one. Interrupting the waiter does not touch the run. */
  readonly join: (why: Why) => Effect.Effect<A, E>
}

interface Run<A, E> {
  readonly done: Deferred.Deferred<A, E>
  fiber: Fiber.RuntimeFiber<A, E> | undefined
}

/**
 * The run is a fiber of the scope, not of any caller; of its first caller it has the clock. Closing the scope waits for it, `patience`
 * milliseconds at most, then interrupts it; who joins a run that was interrupted, or comes after, gets
 * `onClosed`.
 */
export const make = <A, E, Why>(options: {
  readonly run: (why: Why) => Effect.Effect<A, E>
  readonly onClosed: Effect.Effect<never, E>
  readonly patience: number
}): Effect.Effect<SingleFlight<A, E, Why>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime()
    let closed = false
    let current: Run<A, E> | undefined

    const launch = (why: Why, clock: Clock.Clock): Run<A, E> => {
      if (current !== undefined) return current
      // The run may end before `runFork` returns: it is current before it starts.
      const run: Run<A, E> = { done: Deferred.unsafeMake(FiberId.none), fiber: undefined }
      current = run
      const settle = (exit: Exit.Exit<A, E>): void => {
        if (current === run) current = undefined
        const interrupted = Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)
        Deferred.unsafeDone(run.done, interrupted ? options.onClosed : exit)
      }
      run.fiber = Runtime.runFork(runtime)(
        options.run(why).pipe(
          Effect.withClock(clock),
          Effect.onExit((exit) => Effect.sync(() => settle(exit)))
        )
      )
      return run
    }

    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        closed = true
        const fiber = current?.fiber
        return fiber === undefined
          ? Effect.void
          : Fiber.await(fiber).pipe(
              Effect.interruptible,
              Effect.timeoutOption(options.patience),
              Effect.zipRight(Fiber.interrupt(fiber))
            )
      })
    )
    return {
      start: (why) => Effect.clockWith((clock) => Effect.sync(() => void (closed || launch(why, clock)))),
      join: (why) =>
        Effect.clockWith((clock) => (closed ? options.onClosed : Deferred.await(launch(why, clock).done)))
    }
  })
