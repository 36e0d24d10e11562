/**
 * The writes of many accounts on one SQLite connection. Writes that wait for their turn at the same time
 * become one transaction, and wait for the disk once. Each is still acknowledged only when it is committed.
 * Each caller sees the result as if its write were alone: a failed write does not affect others.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"

/** A statement to run in a transaction that is begun and ended elsewhere. */
type Statement<A> = Effect.Effect<A, SqlError>

interface Transactions {
  readonly begin: Effect.Effect<void, SqlError>
  readonly commit: Effect.Effect<void, SqlError>
  readonly rollback: Effect.Effect<void, SqlError>
  /** For one at a time. */
  readonly turn: Effect.Semaphore
}

interface Waiting<A> {
  readonly statement: Statement<A>
  readonly outcome: Deferred.Deferred<A, SqlError>
}

/** The most writes in one transaction, because others wait for its end. */
const mostTogether = 64

/** Runs a statement in a transaction, its own or a shared one. Interrupting a caller does not reach it. */
export const make = <A>(transactions: Transactions): ((statement: Statement<A>) => Statement<A>) => {
  let waiting: Array<Waiting<A>> = []
  const some: Effect.Effect<void> = Effect.suspend(() => {
    const together = waiting.slice(0, mostTogether)
    waiting = waiting.slice(mostTogether)
    return run(transactions, together)
  })
  const all = Effect.repeat(transactions.turn.withPermits(1)(some), { while: () => waiting.length > 0 })
  return (statement) =>
    Effect.suspend(() => {
      const outcome = Deferred.unsafeMake<A, SqlError>(FiberId.none)
      const isFirst = waiting.push({ statement, outcome }) === 1
      const start = isFirst ? Effect.forkDaemon(Effect.uninterruptible(all)) : Effect.void
      return Effect.andThen(start, Deferred.await(outcome))
    })
}

const run = <A>(transactions: Transactions, together: ReadonlyArray<Waiting<A>>): Effect.Effect<void> => {
  if (together.length === 0) return Effect.void
  const tell = (outcome: (i: number) => Statement<A>) =>
    Effect.sync(() => together.forEach((one, i) => Deferred.unsafeDone(one.outcome, outcome(i))))
  const statements = Effect.forEach(together, ({ statement }) => statement)
  return Effect.matchCauseEffect(within(transactions, statements), {
    onFailure: (cause) => tell(() => Effect.failCause(cause)),
    onSuccess: Either.match({
      onRight: (results) => tell((i) => Effect.succeed(results[i] as A)),
      onLeft: (error) =>
        together.length === 1
          ? tell(() => Effect.fail(error))
          : // Nothing was written. Each runs by itself, so that each has its own outcome.
            Effect.forEach(together, (one) => run(transactions, [one]), { discard: true })
    })
  })
}

/**
 * Returns the results, or why a statement failed and nothing was written. Fails if the transaction
 * cannot be begun or ended.
 */
const within = <A>(
  { begin, commit, rollback }: Transactions,
  statements: Statement<A>
): Effect.Effect<Either.Either<A, SqlError>, SqlError> =>
  Effect.andThen(
    begin,
    Effect.matchEffect(statements, {
      onFailure: (error) => Effect.as(Effect.ignore(rollback), Either.left(error)),
      onSuccess: (results) =>
        Effect.as(
          Effect.onError(commit, () => Effect.ignore(rollback)),
          Either.right(results)
        )
    })
  )
