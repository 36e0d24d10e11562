/**
 * Time for simulations: it stands still while anything can happen, and then moves to the next sleeper.
 *
 * Wall time and the time of sleepers are separate, as in reality: setting a clock, forward or back, wakes no
 * sleeper.
 */
import { Clock, Duration, Effect, Exit, Runtime } from "effect"

/** For how many milliseconds of real time nothing may happen before that is a hang. */
const patience = 2000

/** Where a time begins that only runs; any number. */
const start = 1_000_000_000

interface Sleeper {
  readonly until: number
  readonly wake: () => void
}

export class VirtualTime implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  /** The time that only runs, in milliseconds. */
  elapsed = 0
  /** By how much the wall clock was set ahead. */
  error = 0
  private sleepers: Array<Sleeper> = []

  /** `wall` may be any number, as a broken clock's may. */
  constructor(private wall: number) {}

  unsafeCurrentTimeMillis(): number {
    return this.wall + this.elapsed
  }
  unsafeCurrentTimeNanos(): bigint {
    // The time that only runs: nobody sets it.
    return BigInt(Math.floor(start + this.elapsed)) * 1_000_000n
  }
  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      const sleeper = { until: this.elapsed + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.sleepers.push(sleeper)
      return Effect.sync(() => (this.sleepers = this.sleepers.filter((s) => s !== sleeper)))
    })
  }

  /** Sets the wall clock this much ahead, or back. */
  jump(millis: number): void {
    this.wall += millis
    this.error += millis
  }

  /** Wakes the one who is due next; whether there was one. */
  private wakeNext(): boolean {
    const next = this.sleepers.reduce<Sleeper | undefined>(
      (first, s) => (first === undefined || s.until < first.until ? s : first),
      undefined
    )
    if (next === undefined || next.until === Infinity) return false
    this.sleepers = this.sleepers.filter((s) => s !== next)
    this.elapsed = Math.max(this.elapsed, next.until)
    next.wake()
    return true
  }

  /** Runs an effect in this time to its end. It dies where nothing is left that could go on. */
  run<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.flatMap(Effect.runtime<R>(), (runtime) =>
      Effect.flatten(
        Effect.promise(async () => {
          let exit: Exit.Exit<A, E> | undefined
          const fiber = Runtime.runFork(runtime)(Effect.withClock(effect, this))
          fiber.addObserver((end) => (exit = end))
          for (let idle = 0; idle < patience;) {
            // All promises, and so all fibers, have gone as far as they can by then.
            await new Promise((resolve) => setImmediate(resolve))
            if (exit !== undefined) return exit
            if (this.wakeNext()) idle = 0
            else {
              // Unless one waits for what is computed on another thread, as a digest is.
              idle++
              await new Promise((resolve) => setTimeout(resolve, 1))
            }
          }
          return Exit.die(new Error("Nothing is under way and nobody sleeps: a hang."))
        })
      )
    )
  }
}
