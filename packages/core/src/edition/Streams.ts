/** Streams from callbacks, pages and pulls: how each edition of Effect makes and reads them. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
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
  Stream.asyncPush<A, E>(
    (emit) => register({ single: (value) => void emit.single(value), fail: (error) => emit.fail(error) }),
    keeps === "all" ? { bufferSize: "unbounded" } : { bufferSize: 1, strategy: "sliding" }
  )

/** Emits page after page. Each is read once the previous one is used up. */
export const pages = <S, A, E, R>(
  first: S,
  read: (state: S) => Effect.Effect<readonly [ReadonlyArray<A>, Option.Option<S>], E, R>
): Stream.Stream<A, E, R> =>
  Stream.paginateChunkEffect(first, (state) =>
    Effect.map(read(state), ([page, next]) => [Chunk.fromIterable(page), next] as const)
  )

/** Emits one value after another, until the effect fails with `None`. */
export const repeatOption = Stream.repeatEffectOption

/** Returns an effect that pulls the next values of a stream. At the end it fails with `None`. */
export const pullOf = <A, E, R>(
  stream: Stream.Stream<A, E, R>
): Effect.Effect<Effect.Effect<Iterable<A>, Option.Option<E>, R>, never, R | Scope.Scope> =>
  Stream.toPull(stream)
