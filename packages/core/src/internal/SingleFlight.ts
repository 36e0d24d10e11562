/** One run at a time of an effect that many want: the first starts it, the others join it. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"

/** A run under way, and those who wait for it. */
export class Run<A, E> {
  /** Whether anybody joined it: who only starts a run does not wait for it. */
  waited = false
  private end: Effect.Effect<A, E> | undefined = undefined
  private waiting: Set<(end: Effect.Effect<A, E>) => void> | undefined = undefined

  /** What came of it. Made for crowds: a `Deferred` takes longer to make, and to leave as one of many. */
  get outcome(): Effect.Effect<A, E> {
    return Effect.async<A, E>((resume) => {
      if (this.end !== undefined) return resume(this.end)
      const waiting = (this.waiting ??= new Set())
      waiting.add(resume)
      return Effect.sync(() => void waiting.delete(resume))
    })
  }

  /** Answers those who wait and those who come later. A run that goes on may be settled before its end. */
  settle(end: Effect.Effect<A, E>): void {
    this.end = end
    const { waiting } = this
    this.waiting = undefined
    waiting?.forEach((resume) => resume(end))
  }
}

/** What is to be run one at a time. It holds nothing: its owner keeps the run under way, and no more at rest. */
export abstract class SingleFlight<A, E, Why> {
  protected abstract current: Run<A, E> | undefined
  protected abstract readonly flights: Flights
  protected abstract readonly isClosed: boolean
  protected abstract run(why: Why): Effect.Effect<A, E>
  protected abstract readonly onClosed: Effect.Effect<never, E>
  /** Called after each run, when the next one may begin. */
  protected abstract settled(exit: Exit.Exit<A, E>): void

  get isUnderWay(): boolean {
    return this.current !== undefined
  }

  /** Whether somebody waits for the run under way. */
  get isWaitedFor(): boolean {
    return this.current?.waited === true
  }

  /** Starts a run unless one is under way; does not wait. */
  start(why: Why): Effect.Effect<void> {
    return Effect.clockWith((clock) => Effect.sync(() => void (this.isClosed || this.launch(why, clock))))
  }

  /** Waits for the run under way, or for a new one. Interrupting the waiter does not touch the run. */
  join(why: Why): Effect.Effect<A, E> {
    return Effect.clockWith((clock) => {
      if (this.isClosed) return this.onClosed
      const run = this.launch(why, clock)
      run.waited = true
      return run.outcome
    })
  }

  /** Waits for the run under way, or for a new one, without its being noticed. */
  follow(why: Why): Effect.Effect<A, E> {
    return Effect.clockWith((clock) => (this.isClosed ? this.onClosed : this.launch(why, clock).outcome))
  }

  private launch(why: Why, clock: Clock.Clock): Run<A, E> {
    if (this.current !== undefined) return this.current
    // The run may end before `fork` returns: it is current before it starts.
    const run = new Run<A, E>()
    this.current = run
    const end = (exit: Exit.Exit<A, E>) => {
      this.current = undefined
      const interrupted = Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)
      run.settle(interrupted ? this.onClosed : exit)
      this.settled(exit)
    }
    this.flights.fork(this.run(why), end, clock)
    return run
  }
}

/** The runs under way of one scope: fibers of the scope, not of any caller. */
export interface Flights {
  /** Whether the scope is closing, and whether it waits for nothing any more. */
  readonly isClosing: boolean
  readonly isClosed: boolean
  /** Starts a run, by the clock of who wants it. */
  readonly fork: <A, E>(
    run: Effect.Effect<A, E>,
    onEnd: (exit: Exit.Exit<A, E>) => void,
    clock?: Clock.Clock
  ) => void
  /** Waits for the runs under way, `patience` milliseconds at most, then interrupts them. */
  readonly drain: Effect.Effect<void>
}

/** Closing the scope ends the runs as `drain` does; who joins a run that was interrupted, or comes after, gets `onClosed`. */
export const makeFlights = (patience: number): Effect.Effect<Flights, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fork = Runtime.runFork(yield* Effect.runtime())
    const ownClock = yield* Effect.clock
    const running = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
    let phase: "Open" | "Closing" | "Closed" = "Open"
    const drain = Effect.suspend(() => {
      const fibers = [...running]
      return fibers.length === 0
        ? Effect.void
        : Fiber.awaitAll(fibers).pipe(
            Effect.interruptible,
            Effect.timeoutOption(patience),
            Effect.zipRight(Fiber.interruptAll(fibers))
          )
    })
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        phase = "Closing"
        return Effect.ensuring(
          drain,
          Effect.suspend(() => {
            phase = "Closed"
            return drain
          })
        )
      })
    )
    return {
      get isClosing() {
        return phase !== "Open"
      },
      get isClosed() {
        return phase === "Closed"
      },
      drain,
      fork: (run, onEnd, clock = ownClock) => {
        const fiber = fork(clock === ownClock ? run : Effect.withClock(run, clock))
        running.add(fiber)
        fiber.addObserver((exit) => {
          running.delete(fiber)
          onEnd(exit)
        })
      }
    }
  })
