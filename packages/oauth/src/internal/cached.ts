import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

/**
 * Caches a value for `ttl` milliseconds. Concurrent callers share one fetch. A failure is not cached, and
 * does not remove an earlier value. Interrupting one caller leaves the fetch to the others.
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
      // Ignores a value from before the clock was set back, which would otherwise stay for as long as the
      // clock was set back.
      if (known !== undefined && now >= known.from && now < known.until) return Effect.succeed(known.value)
      return Effect.flatMap(
        flight === undefined ? Effect.uninterruptible(start) : Effect.succeed(flight),
        Deferred.await
      )
    })
  })
