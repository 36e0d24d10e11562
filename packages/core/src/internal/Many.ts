/** Something to be done for each of very many. */
import * as Effect from "effect/Effect"

/**
 * Does it for so many at a time, in their order; one that takes long holds up no other. Unlike `Effect.forEach` it
 * keeps nothing of those that are done: a hundred thousand fibers are much to remember.
 */
export const forEach = <A, E, R>(
  items: Iterable<A>,
  width: number,
  work: (item: A) => Effect.Effect<void, E, R>
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    const left = items[Symbol.iterator]()
    const lane: Effect.Effect<void, E, R> = Effect.suspend(() => {
      const next = left.next()
      return next.done === true ? Effect.void : Effect.zipRight(work(next.value), lane)
    })
    return Effect.all(
      Array.from({ length: width }, () => lane),
      { concurrency: "unbounded", discard: true }
    )
  })
