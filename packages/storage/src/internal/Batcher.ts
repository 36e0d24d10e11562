/** Combines concurrent requests: one query for a hundred accounts instead of a hundred. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FiberId from "effect/FiberId"
import { pause } from "./KernelLock.js"

interface Asked<K, A, E> {
  readonly key: K
  readonly answer: Deferred.Deferred<A, E>
}

export interface Options<K, A, E> {
  /** The most keys in one query. */
  readonly most: number
  /** Returns the results, in the order of the keys. */
  readonly ask: (keys: ReadonlyArray<K>) => Effect.Effect<ReadonlyArray<A>, E>
  /** Whether a query may have failed because of one key. If so, each key is queried separately. */
  readonly isOfOne: (error: E) => boolean
}

/** For how long, in milliseconds, a query gathers requests while another one is on its way. */
const longestGathering = 50

/**
 * Creates an effect for each key. Its query starts after the effect is run. Interrupting one caller does not
 * interrupt the query, which others may wait for too.
 */
export const make = <K, A, E>(options: Options<K, A, E>): ((key: K) => Effect.Effect<A, E>) => {
  let waiting: Array<Asked<K, A, E>> = []
  let onTheWay: Deferred.Deferred<void> | undefined
  // Requests of the same turn of the event loop are combined. A single one is sent right after it. While a query is
  // on its way, the next one gathers requests: the busier a server is, the more of them share a query.
  const gather = Effect.andThen(
    Effect.yieldNow(),
    Effect.suspend(() =>
      onTheWay === undefined
        ? Effect.void
        : Effect.raceFirst(Deferred.await(onTheWay), pause(longestGathering))
    )
  )
  const next = Effect.andThen(
    gather,
    Effect.suspend(() => {
      const all = waiting
      waiting = []
      const mine = (onTheWay = Deferred.unsafeMake<void>(FiberId.none))
      const done = Effect.sync(() => {
        if (onTheWay === mine) onTheWay = undefined
        Deferred.unsafeDone(mine, Effect.void)
      })
      const questions: Array<ReadonlyArray<Asked<K, A, E>>> = []
      for (let i = 0; i < all.length; i += options.most) questions.push(all.slice(i, i + options.most))
      // Otherwise each key would wait for its own time-out.
      let down: Cause.Cause<E> | undefined
      const answered = Effect.forEach(
        questions,
        (asked) =>
          down === undefined
            ? Effect.map(answer(options, asked), (cause) => (down = cause))
            : Effect.sync(() => tell(asked, Effect.failCause(down!))),
        { discard: true }
      )
      return Effect.ensuring(answered, done)
    })
  )
  return (key) =>
    Effect.suspend(() => {
      const asked = { key, answer: Deferred.unsafeMake<A, E>(FiberId.none) }
      const isFirst = waiting.push(asked) === 1
      return Effect.andThen(isFirst ? Effect.forkDaemon(next) : Effect.void, Deferred.await(asked.answer))
    })
}

const tell = <K, A, E>(asked: ReadonlyArray<Asked<K, A, E>>, answer: Effect.Effect<A, E>): void =>
  asked.forEach((one) => Deferred.unsafeDone(one.answer, answer))

/** Why the query failed, if it did. */
const answer = <K, A, E>(
  options: Options<K, A, E>,
  asked: ReadonlyArray<Asked<K, A, E>>
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
