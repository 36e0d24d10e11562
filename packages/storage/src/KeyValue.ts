/**
 * One grant under one key of any `KeyValueStore` of `@effect/platform`.
 *
 * **What it rests on.** The store underneath, for everything but compare-and-set: it is as durable, as
 * private and as shared as that store. Compare-and-set is made here, by taking turns, among all who use the
 * same store value in one process.
 *
 * **Where it does not hold.** Other processes: a `KeyValueStore` has no compare-and-set of its own, so two
 * processes may overwrite each other. Take `File`, `Sql` or `Redis` for those. Two store values that keep
 * their data in the same place, such as `KeyValueStore.prefix` called twice, are two stores to it: make one
 * and share it. It has no lease of its own; within one process `RefreshLease.layerProcess` goes with it.
 *
 * `KeyValueStore.layerFileSystem` writes in clear, in place, for all to read (0644): wrap what is kept there
 * with `Encrypted`, or take `File`. Of a store only `get`, `set` and `remove` are used, since
 * `KeyValueStore.prefix` leaves the other members to its parent: `clear` empties all of it.
 *
 * @since 0.1.0
 */
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Layer from "effect/Layer"
import * as KeyValues from "./edition/KeyValues.js"
import * as FileFormat from "./FileFormat.js"
import * as TextCell from "./internal/TextCell.js"

/**
 * Where in the store the grant is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly key: string
  /** What messages call it: `key-value store: <key>` unless given. */
  readonly location?: string | undefined
  /** The largest record that is read or written, in bytes: 1 MiB unless given. */
  readonly maxBytes?: number | undefined
}

/**
 * The storage under one key. Reads nothing yet; fails where the options cannot work.
 *
 * An operation waits for the one before it on the same key; `commit` and `remove` can be interrupted while
 * they wait, not later.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Context.Tag.Service<TokenStorage>, StorageError, KeyValueStore.KeyValueStore> =>
  Effect.flatMap(KeyValueStore.KeyValueStore, (store) => {
    const { key, location = `key-value store: ${key}`, maxBytes = 1_048_576 } = options
    const problem =
      key.trim() === ""
        ? "The key of the credentials is blank: give another."
        : !Number.isSafeInteger(maxBytes) || maxBytes <= 0
          ? "`maxBytes` must be a whole number above 0."
          : undefined
    if (problem !== undefined) {
      return new StorageError({ reason: "Malformed", operation: "load", location, message: problem })
    }
    const turn = turnOf(store, key)
    const call = <A>(effect: Effect.Effect<A, KeyValues.StoreError>) =>
      Effect.mapError(effect, problemOf(location))
    return Effect.succeed(
      TextCell.make({
        location,
        format: FileFormat.native,
        maxBytes,
        tooLongAdvice: "Raise `maxBytes` if that is right.",
        get: call(KeyValues.get(store, key)),
        set: (text) => call(store.set(key, text)),
        remove: call(store.remove(key)),
        grantedFence: Effect.succeed(0),
        alone: (use) => turn.withPermits(1)(Effect.uninterruptible(use)),
        looking: turn.withPermits(1)
      })
    )
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<TokenStorage, StorageError, KeyValueStore.KeyValueStore> =>
  Layer.effect(TokenStorage, make(options))

/**
 * The turns of each store, by its own identity, so that two storages on one key take turns too. Keys share
 * a fixed number of them: there may be any number of keys.
 */
const turns = new WeakMap<KeyValueStore.KeyValueStore, ReadonlyArray<Effect.Semaphore>>()
const turnsOfAStore = 64

const turnOf = (store: KeyValueStore.KeyValueStore, key: string): Effect.Semaphore => {
  const known = turns.get(store)
  const all = known ?? Array.from({ length: turnsOfAStore }, () => Effect.unsafeMakeSemaphore(1))
  if (known === undefined) turns.set(store, all)
  return all[Math.abs(Hash.string(key)) % turnsOfAStore]!
}

/** What a store says of a failure may quote what it was to write: only the kind of failure is kept. */
const problemOf =
  (location: string) =>
  (error: KeyValues.StoreError): TextCell.Problem => {
    const { kind, where } = KeyValues.failureOf(error)
    const [reason, advice]: readonly [StorageError["reason"], string] =
      kind === "PermissionDenied"
        ? ["Denied", "look at who may read and write there, and at what room is left"]
        : kind === "BadArgument"
          ? ["Malformed", "it does not take this key: give another"]
          : ["Unavailable", "try again later, or look after the store"]
    return {
      reason,
      message: `${location}: the store failed (${where}, ${kind}): ${advice}.`,
      cause: { code: kind }
    }
  }
