/** Streams from callbacks, pages and pulls: how each edition of Effect makes and reads them. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Pull from "effect/Pull"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** The functions through which a callback emits into a stream. */
export interface Emit<A, E> {
  readonly single: (value: A) => void
  readonly fail: (error: E) => void
}

/**
 * Emits what callbacks produce while the scope of the registration is open. A slow reader gets all values, or
 * only the newest.
 */
export const fromCallbacks = <A, E = never>(
  keeps: "all" | "newest",
  register: (emit: Emit<A, E>) => Effect.Effect<unknown, E, Scope.Scope>
): Stream.Stream<A, E> =>
  Stream.callback<A, E>(
    (queue) =>
      register({
        single: (value) => void Queue.offerUnsafe(queue, value),
        fail: (error) => void Queue.failCauseUnsafe(queue, Cause.fail(error))
      }),
    keeps === "all" ? { bufferSize: Infinity } : { bufferSize: 1, strategy: "sliding" }
  )

/** Emits page after page. Each is read once the previous one is used up. */
export const pages: <S, A, E, R>(
  first: S,
  read: (state: S) => Effect.Effect<readonly [ReadonlyArray<A>, Option.Option<S>], E, R>
) => Stream.Stream<A, E, R> = Stream.paginate

/** Emits one value after another, until the effect fails with `None`. */
export const repeatOption = <A, E, R>(
  next: Effect.Effect<A, Option.Option<E>, R>
): Stream.Stream<A, E, R> => {
  const pull: Pull.Pull<readonly [A], E, void, R> = Effect.matchEffect(next, {
    onFailure: (end): Effect.Effect<never, E | Cause.Done<void>> =>
      Option.isNone(end) ? Cause.done() : Effect.fail(end.value),
    onSuccess: (value) => Effect.succeed([value] as const)
  })
  return Stream.fromPull(Effect.succeed(pull))
}

/** Returns an effect that pulls the next values of a stream. At the end it fails with `None`. */
export const pullOf = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<Effect.Effect<Iterable<A>, Option.Option<E>, R>, never, R | Scope.Scope> =>
  Effect.map(Stream.toPull(stream), (pull) =>
    Effect.mapError(pull, (error) => (Cause.isDone(error) ? Option.none() : Option.some(error as E)))
  )
