import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

/**
 * A value kept for `ttl` milliseconds; who asks while it is fetched waits for that. A failure is not kept, and does not
 * take away a value that was there. Interrupting one who waits leaves the fetch to the others.
 */
export const cached = <A, E>(fetch: Effect.Effect<A, E>, ttl: number): Effect.Effect<Effect.Effect<A, E>> =>
  Effect.sync(() => {
    let known: { readonly value: A; readonly from: number; readonly until: number } | undefined
    let flight: Deferred.Deferred<A, E> | undefined
    const start = Effect.gen(function* () {
      const deferred = yield* Deferred.make<A, E>()
      flight = deferred
      yield* fetch.pipe(
        Effect.tap((value) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            known = { value, from: now, until: now + ttl }
          })
        ),
        Effect.catchAll((error) => (known === undefined ? Effect.fail(error) : Effect.succeed(known.value))),
        Effect.onExit((exit) => {
          flight = undefined
          return Deferred.done(deferred, exit)
        }),
        Effect.forkDaemon
      )
      return deferred
    })
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      // Not from before the clock was set back: that would last for as long as it was set.
      if (known !== undefined && now >= known.from && now < known.until) return Effect.succeed(known.value)
      return Effect.flatMap(
        flight === undefined ? Effect.uninterruptible(start) : Effect.succeed(flight),
        Deferred.await
      )
    })
  })
