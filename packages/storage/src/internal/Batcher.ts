/** What many ask for at the same time, asked for together: one query for a hundred accounts, not a hundred. */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import { pause } from "./KernelLock.js"

interface Asked<K, A, E> {
  readonly key: K
  readonly answer: Deferred.Deferred<A, E>
}

export interface Options<K, A, E> {
  /** How many go into one question at most. */
  readonly most: number
  /** The answers, in the order of the keys. */
  readonly ask: (keys: ReadonlyArray<K>) => Effect.Effect<ReadonlyArray<A>, E>
  /** Whether a question that failed so may be the fault of one key: then each is asked for alone. */
  readonly isOfOne: (error: E) => boolean
}

/** For how long, in milliseconds, a question gathers while another one is on its way. */
const longestGathering = 50

/**
 * An effect for each key. What it answers was asked for after it was run; interrupting one who waits does not
 * reach the question, which others may wait for too.
 */
export const make = <K, A, E>(options: Options<K, A, E>): ((key: K) => Effect.Effect<A, E>) => {
  let waiting: Array<Asked<K, A, E>> = []
  let onTheWay: Deferred.Deferred<void> | undefined
  // Those who run in the same turn come together; one alone goes at once after it. The busier a server is, the more come
  // together.
  const gather = Effect.zipRight(
    Effect.yieldNow(),
    Effect.suspend(() =>
      onTheWay === undefined
        ? Effect.void
        : Effect.raceFirst(Deferred.await(onTheWay), pause(longestGathering))
    )
  )
  const next = Effect.zipRight(
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
      // Each of them would wait for its time to be over.
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
      return Effect.zipRight(isFirst ? Effect.forkDaemon(next) : Effect.void, Deferred.await(asked.answer))
    })
}

const tell = <K, A, E>(asked: ReadonlyArray<Asked<K, A, E>>, answer: Effect.Effect<A, E>): void =>
  asked.forEach((one) => Deferred.unsafeDone(one.answer, answer))

/** Why nobody answered, where it was so. */
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
      const isOfOne = cause._tag === "Fail" && options.isOfOne(cause.error)
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
