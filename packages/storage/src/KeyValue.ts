/**
 * One grant under one key of any `KeyValueStore` of `@effect/platform`.
 *
 * **What it relies on.** The store, for everything except compare-and-set: the grant is as durable, as
 * private and as shared as that store. Compare-and-set works by taking turns among all users of the same
 * store value in one process.
 *
 * **Limits.** Other processes: a `KeyValueStore` has no compare-and-set of its own, so two processes may
 * overwrite each other. Use `File`, `Sql` or `Redis` for those. Two store values with their data in the same
 * place, such as from two calls of `KeyValueStore.prefix`, count as two stores: create one and share it. It
 * has no lease of its own. Within one process, use `RefreshLease.layerProcess`.
 *
 * `KeyValueStore.layerFileSystem` writes in clear text, in place, readable by everyone (0644): wrap it with
 * `Encrypted`, or use `File`. Only `get`, `set` and `remove` of a store are used, because
 * `KeyValueStore.prefix` leaves the other members to its parent: `clear` empties all of it.
 *
 * @since 0.1.0
 */
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import type { PlatformError } from "@effect/platform/Error"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Layer from "effect/Layer"
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
  /** Its name in messages. Default: `key-value store: <key>`. */
  readonly location?: string | undefined
  /** The largest record that is read or written, in bytes. Default: 1 MiB. */
  readonly maxBytes?: number | undefined
}

/**
 * Creates the storage under one key. Reads nothing yet. Fails if the options cannot work.
 *
 * An operation waits for the previous one on the same key. `commit` and `remove` can be interrupted while
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
    const call = <A>(effect: Effect.Effect<A, PlatformError>) => Effect.mapError(effect, problemOf(location))
    return Effect.succeed(
      TextCell.make({
        location,
        format: FileFormat.native,
        maxBytes,
        tooLongAdvice: "Raise `maxBytes` if that is right.",
        get: call(store.get(key)),
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
 * The turns of each store, by its identity, so that two storages on one key also take turns. Keys share a
 * fixed number of turns, because there may be any number of keys.
 */
const turns = new WeakMap<KeyValueStore.KeyValueStore, ReadonlyArray<Effect.Semaphore>>()
const turnsOfAStore = 64

const turnOf = (store: KeyValueStore.KeyValueStore, key: string): Effect.Semaphore => {
  const known = turns.get(store)
  const all = known ?? Array.from({ length: turnsOfAStore }, () => Effect.unsafeMakeSemaphore(1))
  if (known === undefined) turns.set(store, all)
  return all[Math.abs(Hash.string(key)) % turnsOfAStore]!
}

/** Keeps only the kind of failure. A store's error may quote what it was about to write. */
const problemOf =
  (location: string) =>
  (error: PlatformError): TextCell.Problem => {
    const kind = error._tag === "SystemError" ? error.reason : error._tag
    const [reason, advice]: readonly [StorageError["reason"], string] =
      kind === "PermissionDenied"
        ? ["Denied", "check its permissions and its free space"]
        : kind === "BadArgument"
          ? ["Malformed", "it does not accept this key: use another"]
          : ["Unavailable", "try again later, or check the store"]
    return {
      reason,
      message: `${location}: the store failed (${error.module}.${error.method}, ${kind}): ${advice}.`,
      cause: { code: kind }
    }
  }
