/**
 * Where one grant is stored: a port with compare-and-set, and its in-memory layer.
 *
 * The port returns facts. The machine decides what they mean (expired, rolled back, dead), so every backend
 * behaves the same.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Entry, keepFence, passesFence } from "./Entry.js"

/**
 * Names one state of storage. Opaque, compared for equality only. Every commit yields a new one.
 *
 * @since 0.1.0
 * @category models
 */
export type Version = string & Brand.Brand<"@latchkey/core/Version">

/**
 * An entry and the version under which it was read.
 *
 * @since 0.1.0
 * @category models
 */
export interface Versioned {
  readonly entry: Entry
  readonly version: Version
}

/**
 * Why an operation of storage failed.
 *
 * - `Unavailable`: storage did not answer, or not in time. It may answer later.
 * - `Denied`: it may not be read or written: permissions, a read-only or full medium, a locked keychain.
 * - `Malformed`: it does not hold a Latchkey record. It was left unchanged.
 * - `NewerFormat`: a later version of this library wrote it.
 * - `WrongUnit`: an instant in it is in the wrong unit of time.
 * - `Insecure`: others may read it.
 * - `WrongKey`: it is encrypted with another key, or belongs to another account.
 * - `NoGrant`: it is sound, but holds no OAuth grant (an API key, for example).
 * - `Incomplete`: the grant lacks what the program that owns the place needs. Nothing was written.
 * - `RolledBack`: it holds an earlier state than one already seen.
 *
 * @since 0.1.0
 * @category errors
 */
export const StorageReason = Schema.Literal(
  "Unavailable",
  "Denied",
  "Malformed",
  "NewerFormat",
  "WrongUnit",
  "Insecure",
  "WrongKey",
  "NoGrant",
  "Incomplete",
  "RolledBack"
)

/**
 * Storage failed. `message` says what is wrong and what to do. Nothing was lost or changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class StorageError extends Schema.TaggedError<StorageError>("@latchkey/core/StorageError")(
  "StorageError",
  {
    reason: StorageReason,
    operation: Schema.Literal("load", "commit", "remove", "changes"),
    location: Schema.String,
    message: Schema.String,
    cause: Schema.optional(Schema.Defect)
  }
) {}

/**
 * Storage refused a commit because it has changed. Nothing was written: load, and decide again.
 *
 * - `Conflict`: it holds another version than expected.
 * - `Fenced`: a later lease than the entry's has been granted.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommitRefused extends Schema.TaggedError<CommitRefused>("@latchkey/core/CommitRefused")(
  "CommitRefused",
  {
    reason: Schema.Literal("Conflict", "Fenced"),
    location: Schema.String
  }
) {
  override get message(): string {
    return this.reason === "Conflict"
      ? `The credentials at ${this.location} were changed by another writer; load them and decide again.`
      : `The lease lapsed before the credentials at ${this.location} were written; load them and decide again.`
  }
}

/**
 * The port. All operations may run concurrently, from any number of fibers. Backends that say so also allow
 * any number of processes.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenStorage extends Context.Tag("@latchkey/core/TokenStorage")<
  TokenStorage,
  {
    /** Where the grant is stored, for people and for messages: a path, or a URL without secrets. */
    readonly location: string
    /** Returns the entry, or none if there is no grant. */
    readonly load: Effect.Effect<Option.Option<Versioned>, StorageError>
    /**
     * Writes the entry durably if storage is still at `expected` (none: it holds nothing) and the entry's
     * fence is not below the highest one written or granted. Fence 0, written without a lease, is never
     * refused. Storage keeps the higher fence. Returns the new version only once a crash cannot undo the
     * write. Do not interrupt it half-way.
     */
    readonly commit: (
      entry: Entry,
      expected: Option.Option<Version>
    ) => Effect.Effect<Version, StorageError | CommitRefused>
    /** Removes the entry. Returns whether there was one. */
    readonly remove: Effect.Effect<boolean, StorageError>
    /** Emits when another writer may have changed the entry. None if the backend cannot report changes. */
    readonly changes: Option.Option<Stream.Stream<void, StorageError>>
  }
>() {}

/**
 * Keeps the grant in memory, for tests and for grants that need not outlive the process.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory = (
  initial: Option.Option<Entry> = Option.none()
): Effect.Effect<Context.Tag.Service<TokenStorage>> =>
  Effect.map(PubSub.sliding<void>(1), (changed) => {
    const location = "memory"
    const entries = Option.map(initial, (entry) => [location, entry] as const)
    const cells = memoryCells(Option.toArray(entries), () => changed.unsafeOffer(undefined))
    return cells.of(location, location, Stream.fromPubSub(changed))
  })

/**
 * @internal
 */
export interface MemoryCells {
  readonly of: (
    account: string,
    location: string,
    changes: Stream.Stream<void>
  ) => Context.Tag.Service<TokenStorage>
  readonly entries: () => ReadonlyArray<readonly [account: string, entry: Entry]>
  readonly size: () => number
}

/**
 * The grants of many accounts in memory, and the storage of each. `onChange` is called after each change.
 *
 * @internal
 */
export const memoryCells = (
  initial: Iterable<readonly [account: string, entry: Entry]>,
  onChange: (account: string) => void
): MemoryCells => {
  let serial = 0
  const versioned = (entry: Entry): Versioned => ({ entry, version: `${++serial}` as Version })
  const cells = new Map(Array.from(initial, ([account, entry]) => [account, versioned(entry)]))
  const of: MemoryCells["of"] = (account, location, changes) => ({
    location,
    changes: Option.some(changes),
    load: Effect.sync(() => Option.fromNullable(cells.get(account))),
    commit: (entry, expected) =>
      Effect.suspend(() => {
        const held = cells.get(account)
        if (held?.version !== Option.getOrUndefined(expected)) {
          return Effect.fail(new CommitRefused({ reason: "Conflict", location }))
        }
        const fence = held?.entry.fence ?? 0
        if (!passesFence(entry, fence)) return Effect.fail(new CommitRefused({ reason: "Fenced", location }))
        const next = versioned(keepFence(entry, fence))
        cells.set(account, next)
        onChange(account)
        return Effect.succeed(next.version)
      }),
    remove: Effect.sync(() => {
      const existed = cells.delete(account)
      onChange(account)
      return existed
    })
  })
  return {
    of,
    entries: () => Array.from(cells, ([account, { entry }]) => [account, entry] as const),
    size: () => cells.size
  }
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<TokenStorage> = Layer.effect(TokenStorage, makeMemory())
