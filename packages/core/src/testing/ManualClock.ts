/**
 * A clock that moves only when you move it, for programs that run outside a test. Inside a test, `TestClock`
 * does the same and more.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fibers from "../edition/Fibers.js"

/**
 * The controls of the clock.
 *
 * @since 0.1.0
 * @category tags
 */
export class ManualClock extends Context.Tag("@latchkey/core/testing/ManualClock")<
  ManualClock,
  {
    /** Advances time. Fibers that sleep wake on the way, in order, each at its own time. */
    readonly advance: (duration: Duration.DurationInput) => Effect.Effect<void>
    /**
     * Sets the time, also back, as an operator or a suspended laptop does. Wakes fibers whose time has come.
     */
    readonly set: (epochMillis: number) => Effect.Effect<void>
  }
>() {}

interface Sleeper {
  readonly until: number
  readonly wake: Deferred.Deferred<void>
}

/** How many turns other fibers get after each waking, so that what they do next happens at that time. */
const turns = 20

/**
 * Sets the clock of everything that this layer is provided to. It starts at `startMillis` (epoch
 * milliseconds, default 0).
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (startMillis = 0): Layer.Layer<ManualClock> =>
  Layer.unwrapEffect(
    Effect.sync(() => {
      let now = startMillis
      let sleepers: ReadonlyArray<Sleeper> = []

      const settle = Effect.repeatN(Effect.yieldNow(), turns)
      const wakeUpTo = (target: number): Effect.Effect<void> =>
        Effect.suspend(() => {
          const due = sleepers.filter((s) => s.until <= target).sort((a, b) => a.until - b.until)[0]
          if (due === undefined) return Effect.void
          sleepers = sleepers.filter((s) => s !== due)
          now = Math.max(now, due.until)
          return Deferred.succeed(due.wake, undefined).pipe(
            Effect.andThen(settle),
            Effect.andThen(wakeUpTo(target))
          )
        })
      const moveTo = (target: number): Effect.Effect<void> =>
        settle.pipe(
          Effect.andThen(wakeUpTo(target)),
          Effect.andThen(Effect.sync(() => (now = target))),
          Effect.andThen(settle)
        )
      const clock = Fibers.makeClock(
        () => now,
        (duration) =>
          Effect.flatMap(Deferred.make<void>(), (wake) => {
            const sleeper: Sleeper = { until: now + Duration.toMillis(duration), wake }
            if (sleeper.until <= now) return Effect.void
            sleepers = [...sleepers, sleeper]
            return Effect.onInterrupt(Deferred.await(wake), () =>
              Effect.sync(() => (sleepers = sleepers.filter((s) => s !== sleeper)))
            )
          })
      )
      return Layer.merge(
        Layer.setClock(clock),
        Layer.succeed(ManualClock, {
          advance: (duration) => Effect.suspend(() => moveTo(now + Duration.toMillis(duration))),
          set: (epochMillis) => moveTo(epochMillis)
        })
      )
    })
  )
