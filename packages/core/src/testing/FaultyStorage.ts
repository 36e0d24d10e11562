/**
 * A storage that fails on request: before the n-th call of an operation, or after it. After it means that the
 * operation was done and only its result is lost.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { StorageError, TokenStorage } from "../TokenStorage.js"

/**
 * Which calls fail. `call` counts from 1 for each operation separately. A function decides call by call.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fault {
  readonly operation: "load" | "commit" | "remove"
  readonly call: number | ((call: number) => boolean)
  /** Whether it fails before doing anything, or after everything was done. Default: `before`. */
  readonly when?: "before" | "after"
  /** Default: `Unavailable`. */
  readonly reason?: StorageError["reason"]
}

/**
 * Wraps `inner` in a storage that fails with the given faults.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  inner: Context.Tag.Service<TokenStorage>,
  faults: ReadonlyArray<Fault>
): Context.Tag.Service<TokenStorage> => {
  const calls = { load: 0, commit: 0, remove: 0 }
  const guard = <A, E, R>(
    operation: Fault["operation"],
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | StorageError, R> =>
    Effect.suspend(() => {
      const call = ++calls[operation]
      const fault = faults.find(
        (f) => f.operation === operation && (typeof f.call === "number" ? f.call === call : f.call(call))
      )
      if (fault === undefined) return effect
      const error = new StorageError({
        reason: fault.reason ?? "Unavailable",
        operation,
        location: inner.location,
        message: `A fault was asked for at ${operation} number ${call}.`
      })
      return fault.when === "after" ? Effect.andThen(effect, error) : error
    })
  return TokenStorage.of({
    location: inner.location,
    load: guard("load", inner.load),
    commit: (entry, expected) => guard("commit", inner.commit(entry, expected)),
    remove: guard("remove", inner.remove),
    changes: inner.changes
  })
}

/**
 * Makes the storage in context fail with the given faults.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (faults: ReadonlyArray<Fault>): Layer.Layer<TokenStorage, never, TokenStorage> =>
  Layer.effect(
    TokenStorage,
    Effect.map(TokenStorage, (inner) => make(inner, faults))
  )
