/** Combines concurrent requests: one query for a hundred accounts instead of a hundred. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FiberId from "effect/FiberId"

interface Asked<A, E> {
  readonly key: string
  readonly answer: Deferred.Deferred<A, E>
}

export interface Options<A, E> {
  /** The most keys in one query. */
  readonly most: number
  /** Returns the results, in the order of the keys. */
  readonly ask: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<A>, E>
  /** Whether a query may have failed because of one key. If so, each key is queried separately. */
  readonly isOfOne: (error: E) => boolean
}

/**
 * Creates an effect for each key. Its query starts after the effect is run. Interrupting one caller does not
 * interrupt the query, which others may wait for too.
 */
export const make = <A, E>(options: Options<A, E>): ((key: string) => Effect.Effect<A, E>) => {
  let waiting: Array<Asked<A, E>> = []
  // Requests of the same turn of the event loop are combined. A single one is sent right after it.
  const next = Effect.andThen(
    Effect.yieldNow(),
    Effect.suspend(() => {
      const all = waiting
      waiting = []
      const questions: Array<ReadonlyArray<Asked<A, E>>> = []
      for (let i = 0; i < all.length; i += options.most) questions.push(all.slice(i, i + options.most))
      // Otherwise each key would wait for its own time-out.
      let down: Cause.Cause<E> | undefined
      return Effect.forEach(
        questions,
        (asked) =>
          down === undefined
            ? Effect.map(answer(options, asked), (cause) => (down = cause))
            : Effect.sync(() => tell(asked, Effect.failCause(down!))),
        { discard: true }
      )
    })
  )
  return (key) =>
    Effect.suspend(() => {
      const asked = { key, answer: Deferred.unsafeMake<A, E>(FiberId.none) }
      const isFirst = waiting.push(asked) === 1
      return Effect.andThen(isFirst ? Effect.forkDaemon(next) : Effect.void, Deferred.await(asked.answer))
    })
}

const tell = <A, E>(asked: ReadonlyArray<Asked<A, E>>, answer: Effect.Effect<A, E>): void =>
  asked.forEach((one) => Deferred.unsafeDone(one.answer, answer))

/** Why the query failed, if it did. */
const answer = <A, E>(
  options: Options<A, E>,
  asked: ReadonlyArray<Asked<A, E>>
): Effect.Effect<Cause.Cause<E> | undefined> =>
  Effect.matchCauseEffect(options.ask(asked.map(({ key }) => key)), {
    onSuccess: (answers) =>
      Effect.sync(() => {
        asked.forEach((one, i) => tell([one], Effect.succeed(answers[i] as A)))
        return undefined
      }),
    onFailure: (cause) => {
      const isOfOne = Option.exists(Cause.failureOption(cause), options.isOfOne)
      if (isOfOne && asked.length > 1) {
        return Effect.as(
          Effect.forEach(asked, (one) => answer(options, [one]), { discard: true }),
          undefined
        )
      }
      return Effect.sync(() => {
        tell(asked, Effect.failCause(cause))
        return isOfOne ? undefined : cause
      })
    }
  })
