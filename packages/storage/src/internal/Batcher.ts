/** What many ask for at the same time, asked for together: one query for a hundred accounts, not a hundred. */
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
  /** How many go into one question at most. */
  readonly most: number
  /** The answers, in the order of the keys. */
  readonly ask: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<A>, E>
  /** Whether a question that failed so may be the fault of one key: then each is asked for alone. */
  readonly isOfOne: (error: E) => boolean
}

/**
 * An effect for each key. What it answers was asked for after it was run; interrupting one who waits does not
 * reach the question, which others may wait for too.
 */
export const make = <A, E>(options: Options<A, E>): ((key: string) => Effect.Effect<A, E>) => {
  let waiting: Array<Asked<A, E>> = []
  // Those who run in the same turn come together; one alone goes at once after it.
  const next = Effect.andThen(
    Effect.yieldNow(),
    Effect.suspend(() => {
      const all = waiting
      waiting = []
      const questions: Array<ReadonlyArray<Asked<A, E>>> = []
      for (let i = 0; i < all.length; i += options.most) questions.push(all.slice(i, i + options.most))
      // Each of them would wait for its time to be over.
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

/** Why nobody answered, where it was so. */
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
