/**
 * What every storage and every lease must do, as values that any test runner can run.
 *
 * Each `…Laws.laws(options)` returns a list of {@link Law}s. Use the lists that match the abilities of the
 * backend:
 *
 * - `StorageLaws`: every `TokenStorage`.
 * - `HistoryLaws`: the same, model-checked over random histories with concurrent commits.
 * - `LeaseLaws`: every `RefreshLease`.
 * - `FencingLaws`: a storage that knows the leases granted for it.
 * - `AccountLaws`: every `TokenStorages`: what is due, the list of all accounts, their number.
 * - `RecordLaws`: a storage that keeps an entry as one JSON text that others can damage.
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { StorageLaws } from "@latchkey/storage/testing"
 *
 * const make = Effect.gen(function* () {
 *   const name = yield* freshName // an unused store for each law
 *   return { first: yield* open(name), second: yield* open(name) } // two handles, as in two processes
 * })
 * for (const law of StorageLaws.laws({ make })) it.live(law.name, () => law.effect)
 * ```
 *
 * `make` runs once for each law (and history), in a scope that closes at its end, so that it can clean up.
 * `second` must share nothing with `first` except the store itself: use another connection or another file
 * handle. Only a store that lives in one process by nature may return the same value twice.
 *
 * Laws run under the live clock, whatever clock the runner sets, because a backend's time may be elsewhere. A
 * broken law fails with {@link LawBroken}. Other failures are the backend's own.
 *
 * @since 0.1.0
 */
import type { CommitRefused } from "@latchkey/core/TokenStorage"
import { type StorageError } from "@latchkey/core/TokenStorage"
import * as Entry from "@latchkey/core/Entry"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import { Fibers } from "@latchkey/core/internal-api"

/**
 * One law: a name for the runner, and the check.
 *
 * @since 0.1.0
 * @category models
 */
export interface Law {
  readonly name: string
  readonly effect: Effect.Effect<void, unknown>
}

/**
 * What the backend did instead.
 *
 * @since 0.1.0
 * @category errors
 */
export class LawBroken extends Data.TaggedError("LawBroken")<{ readonly message: string }> {}

/**
 * Creates a law over a fresh backend.
 *
 * @since 0.1.0
 * @category constructors
 */
export const law =
  <B, E>(make: Effect.Effect<B, E, Scope.Scope>) =>
  <E2>(name: string, check: (backend: B) => Effect.Effect<void, E2, Scope.Scope>): Law => ({
    name,
    effect: live(Effect.scoped(Effect.flatMap(make, check)))
  })

/**
 * Runs under the real clock.
 *
 * @since 0.1.0
 * @category utils
 */
export const live: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.withClock(
  Fibers.systemClock
)

/**
 * Fails unless it holds.
 *
 * @since 0.1.0
 * @category checks
 */
export const check = (holds: boolean, otherwise: string): Effect.Effect<void, LawBroken> =>
  holds ? Effect.void : Effect.fail(new LawBroken({ message: otherwise }))

/**
 * Formats an entry as a text that is the same for equal entries, whatever the order of their keys. For test
 * entries only: it shows their tokens.
 *
 * @since 0.1.0
 * @category checks
 */
export const render = (entry: Entry.Entry): string => JSON.stringify(sorted(Entry.toJson(entry)))

/**
 * Fails unless both entries are equal, including all fields and extras.
 *
 * @since 0.1.0
 * @category checks
 */
export const checkSame = (
  what: string,
  actual: Entry.Entry,
  expected: Entry.Entry
): Effect.Effect<void, LawBroken> =>
  check(render(actual) === render(expected), `${what}: expected ${render(expected)}, found ${render(actual)}`)

/**
 * Fails unless the commit was refused for one of the reasons.
 *
 * @since 0.1.0
 * @category checks
 */
export const checkRefused = (
  what: string,
  commit: Effect.Effect<unknown, StorageError | CommitRefused>,
  reasons: ReadonlyArray<CommitRefused["reason"]>
): Effect.Effect<void, LawBroken | StorageError> =>
  Effect.flatMap(Effect.either(commit), (outcome): Effect.Effect<void, LawBroken | StorageError> => {
    if (Either.isRight(outcome))
      return check(false, `${what}: it was committed, ${reasons.join(" or ")} was due`)
    const refusal = outcome.left
    return refusal._tag === "StorageError"
      ? Effect.fail(refusal)
      : check(
          reasons.includes(refusal.reason),
          `${what}: refused with ${refusal.reason}, ${reasons.join(" or ")} was due`
        )
  })

const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, inner]) => [key, sorted(inner)])
        )
      : value
