/**
 * Encrypts what any other storage keeps: AES-256-GCM through Web Crypto.
 *
 * The inner storage gets an ordinary entry, whose access token is the sealed record:
 * `latchkey-sealed.1.<key id>.<nonce>.<ciphertext>`. The credentials, the journal and the mark of a dead
 * grant are inside it. What the inner storage needs for compare-and-set, fences, the order of states and its
 * index of accounts stays in clear text: family, generation, fence, when the grant is due for renewal, and
 * whether it is dead. None of these is a secret.
 *
 * **What it relies on.** Each write has a new random nonce of 96 bits, which is safe for 2^32 writes with one
 * key. Format, provider, account, key ID, family and generation are authenticated with the record: a record
 * that was moved to another account, set to another generation, or changed in any bit does not open
 * (`WrongKey`). The fence may rise in the inner storage. If it falls below the sealed one, the record does
 * not open either.
 *
 * **Limits.** An older record that is restored as a whole opens. It loads as the older state, and its
 * generation distinguishes it from the newer one. Anyone with the key can read and forge everything. The
 * length of the tokens is visible. Over `File` it needs `FileFormat.native`, because another program could no
 * longer read its own file.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import type { CommitRefused, Versioned } from "@latchkey/core/TokenStorage"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import { atRest, mapStorage, TokenStorages } from "@latchkey/core/TokenStorages"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { EncryptionKeys } from "./EncryptionKeys.js"
import * as Record from "./internal/Record.js"
import * as Sealed from "./internal/Sealed.js"

/**
 * The names of the record. Both are authenticated: reading needs the same names.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly provider: string
  readonly account: string
  /**
   * What to do with a record in clear text where an encrypted one is expected. `refuse` (the default) fails
   * with `Insecure`, because anyone who can write there could plant one. `adopt` accepts it and encrypts it
   * with the next commit; use it while you introduce encryption.
   */
  readonly clear?: "refuse" | "adopt" | undefined
}

/**
 * Creates a storage that encrypts what `inner` keeps, with the keys in context. A record that another key
 * wrote is encrypted with the first key at the next commit. `remove` needs no key.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  inner: Context.Tag.Service<TokenStorage>,
  options: Options
): Effect.Effect<Context.Tag.Service<TokenStorage>, never, EncryptionKeys> =>
  Effect.map(EncryptionKeys, (keys) => over(keys, inner, options))

/**
 * Wraps the storages of all accounts. Each is encrypted under its own name.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAccounts = (
  options: Omit<Options, "account">
): Layer.Layer<TokenStorages, never, TokenStorages | EncryptionKeys> =>
  Layer.effect(
    TokenStorages,
    Effect.map(Effect.all([TokenStorages, EncryptionKeys]), ([inner, keys]) =>
      mapStorage(inner, (storage, account) => over(keys, storage, { ...options, account }))
    )
  )

const over = (
  keys: Context.Tag.Service<EncryptionKeys>,
  inner: Context.Tag.Service<TokenStorage>,
  options: Options
): Context.Tag.Service<TokenStorage> => ({
  location: inner.location,
  get load() {
    return Effect.flatMap(
      inner.load,
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (found) => Effect.asSome(opened(inner.location, keys, options, found))
      })
    )
  },
  commit: (entry, expected) =>
    Effect.flatMap(sealed(inner.location, keys, options, entry), (closed) => inner.commit(closed, expected)),
  get remove() {
    return inner.remove
  },
  changes: inner.changes
})

/**
 * {@link make} over the storage in context.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<TokenStorage, never, TokenStorage | EncryptionKeys> =>
  Layer.effect(
    TokenStorage,
    Effect.flatMap(TokenStorage, (inner) => make(inner, options))
  )

/**
 * Encrypts with the first key now what another key wrote, without waiting for the next commit. Returns
 * whether there was something to do. Run it over all accounts before you drop a key.
 *
 * Safe while refreshes run, and needs no lease: a running refresh finds a new version at its commit and
 * writes on top of it. Fails with `CommitRefused` if another writer came in between. Then either nothing is
 * left to do, or you can try again.
 *
 * @since 0.1.0
 * @category rotation
 */
export const reencrypt = (
  inner: Context.Tag.Service<TokenStorage>,
  options: Options
): Effect.Effect<boolean, StorageError | CommitRefused, EncryptionKeys> =>
  Effect.gen(function* () {
    const keys = yield* EncryptionKeys
    const found = yield* inner.load
    if (Option.isNone(found) || isCurrent(keys, found.value.entry)) return false
    const { entry, version } = yield* opened(inner.location, keys, options, found.value)
    const closed = yield* sealed(inner.location, keys, options, entry)
    // Without a lease, like a login. The fence that storage holds stays.
    yield* inner.commit(new Entry.Entry({ ...closed, fence: 0 }), Option.some(version))
    return true
  })

type Keys = Context.Tag.Service<EncryptionKeys>

const isCurrent = (keys: Keys, entry: Entry.Entry): boolean => {
  const parts = Sealed.parse(Redacted.value(entry.credentials.accessToken))
  return Either.isRight(parts) && parts.right.keyId === keys.first.id
}

/** Marks the entries that this module sealed. No token response has it. */
const tokenType = "latchkey-sealed"

const identity = (options: Options, keyId: string, entry: Entry.Entry): Sealed.Identity => [
  options.provider,
  options.account,
  keyId,
  entry.family,
  entry.generation
]

const sealed = (
  location: string,
  keys: Keys,
  options: Options,
  entry: Entry.Entry
): Effect.Effect<Entry.Entry, StorageError> =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const text = yield* Either.mapLeft(
      Record.encode({}, entry, now),
      ({ reason, problem }) =>
        new StorageError({
          reason,
          operation: "commit",
          location,
          message: `The entry for ${location}${problem}. Nothing was written.`
        })
    )
    const token = yield* Sealed.seal(keys.first, identity(options, keys.first.id, entry), text)
    const { dueAt, state } = atRest(entry)
    const credentials = Credentials.make({
      accessToken: token,
      tokenType,
      expiresAt: Option.getOrUndefined(dueAt)
    })
    return new Entry.Entry({
      credentials,
      family: entry.family,
      generation: entry.generation,
      fence: entry.fence,
      intent: Option.none(),
      dead: state === "Dead" ? Option.some(deadMark(credentials)) : Option.none(),
      serverWait: Option.none(),
      // The inner storage needs to know only that the grant can be renewed, not its identity.
      identity: state === "Renewable" ? Option.some(renewable) : Option.none()
    })
  })

/** Signals to an index that the record can be renewed, although it has no refresh token in clear text. */
const renewable = GrantIdentity.make({ grantType: tokenType })

/** Signals to an index that the record is of a dead grant. */
const deadMark = (credentials: Credentials.Credentials): Entry.DeadGrant =>
  new Entry.DeadGrant({
    fingerprint: Entry.grantFingerprint(credentials),
    at: 0,
    reason: "sealed",
    rotationLost: false
  })

const opened = (
  location: string,
  keys: Keys,
  options: Options,
  found: Versioned
): Effect.Effect<Versioned, StorageError> =>
  Effect.gen(function* () {
    const fail = (reason: StorageError["reason"], message: string) =>
      new StorageError({ reason, operation: "load", location, message })
    const { credentials, fence } = found.entry
    const token = Redacted.value(credentials.accessToken)
    if (credentials.tokenType !== tokenType && !Sealed.looksSealed(token)) {
      if (options.clear === "adopt") return found
      return yield* fail(
        "Insecure",
        `The record at ${location} is not encrypted, but it should be. Remove it and log in again, ` +
          'or, if it is older than your encryption, set `clear: "adopt"` until the next commit.'
      )
    }
    const unopened = fail(
      "WrongKey",
      `The record at ${location} cannot be decrypted for ${options.account} at ${options.provider}: it ` +
        "belongs to another account, or was changed after it was written. Put the right record back, or remove it and " +
        "log in again."
    )
    const parts = yield* Either.mapLeft(Sealed.parse(token), (problem) =>
      problem === "Damaged"
        ? unopened
        : fail("NewerFormat", `A later version wrote the record at ${location}: upgrade @latchkey/storage.`)
    )
    const key = keys.all.find(({ id }) => id === parts.keyId)
    if (key === undefined) {
      return yield* fail(
        "WrongKey",
        `The record at ${location} is encrypted with the key ${parts.keyId}, but your keys are ` +
          `${keys.all.map(({ id }) => id).join(", ")}. Add that key after the first one; ` +
          "if it is lost, remove the record and log in again."
      )
    }
    const text = yield* Effect.mapError(
      Sealed.open(key, identity(options, key.id, found.entry), parts),
      () => unopened
    )
    const now = yield* Clock.currentTimeMillis
    const { entry } = yield* Either.mapLeft(Record.decode(text, now), ({ reason, problem }) =>
      fail(reason, `The encrypted record at ${location}${problem}. It was left as it is.`)
    )
    if (fence < entry.fence) return yield* unopened
    return { entry: Entry.keepFence(entry, fence), version: found.version }
  })
