/** Streams from callbacks, pages and pulls: how each edition of Effect makes and reads them. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Pull from "effect/Pull"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** What a callback gives to a stream. */
export interface Emit<A, E> {
  readonly single: (value: A) => void
  readonly fail: (error: E) => void
}

/** What callbacks give while the scope of the registration is open. A slow reader gets all of it, or only the newest. */
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

/** Page after page, each read once the one before is used up. */
export const pages: <S, A, E, R>(
  first: S,
  read: (state: S) => Effect.Effect<readonly [ReadonlyArray<A>, Option.Option<S>], E, R>
) => Stream.Stream<A, E, R> = Stream.paginate

/** One value after another, until there is none, which is the failure `None`. */
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

/** What reads the next values of a stream; its end is the failure `None`. */
export const pullOf = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<Effect.Effect<Iterable<A>, Option.Option<E>, R>, never, R | Scope.Scope> =>
  Effect.map(Stream.toPull(stream), (pull) =>
    Effect.mapError(pull, (error) => (Cause.isDone(error) ? Option.none() : Option.some(error as E)))
  )
