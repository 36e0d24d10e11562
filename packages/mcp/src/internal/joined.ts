import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * Runs an effect once for all concurrent callers with the same key. It runs in the scope, so interrupting a caller, even
 * the first, does not interrupt it.
 */
export interface Joined<A, E> {
  readonly run: (key: string, effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

export const make = <A, E>(): Effect.Effect<Joined<A, E>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const flights = new Map<string, Deferred.Deferred<A, E>>()
    const start = (key: string, effect: Effect.Effect<A, E>) =>
      Effect.gen(function* () {
        const deferred = yield* Deferred.make<A, E>()
        flights.set(key, deferred)
        yield* effect.pipe(
          Effect.interruptible,
          Effect.onExit((exit) => {
            flights.delete(key)
            return Deferred.done(deferred, exit)
          }),
          Effect.forkIn(scope)
        )
        return deferred
      })
    return {
      run: (key, effect) =>
        Effect.flatMap(
          Effect.suspend(() => {
            const flight = flights.get(key)
            return flight === undefined ? Effect.uninterruptible(start(key, effect)) : Effect.succeed(flight)
          }),
          Deferred.await
        )
    }
  })
