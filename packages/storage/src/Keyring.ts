/**
 * One grant in the keychain of the operating system, through `@napi-rs/keyring` (an optional peer): the
 * Secret Service on Linux and BSD (GNOME Keyring, KWallet, KeePassXC), Keychain on macOS, Credential Manager
 * on Windows. It can also store the keys of `Encrypted`.
 *
 * **What it relies on.** The keychain, for privacy and durability. The keychain has neither compare-and-set
 * nor leases, so both use kernel locks, as in `File`. The lock files hold no secret. They are in a directory
 * of this user: `~/.local/state/latchkey` on Linux and BSD, `~/Library/Application Support/latchkey` on
 * macOS, `AppData\Local\latchkey` on Windows. The directory is found through the user database, not through
 * the environment, because everyone who shares a keychain must agree on it. If it cannot be created, the item
 * is still read, and a write fails with `Denied`.
 *
 * **Locked is not absent.** A locked Secret Service may find nothing. So if nothing is found, a second item
 * that holds no secret (`latchkey: is the keychain open?`) is read, or written if it is missing, and then the
 * first one is searched again. The second item stays. A locked keychain fails with `Denied`, an unanswered
 * prompt with `Unavailable` after `timeout`, and a missing keychain with `Unavailable` and the alternatives.
 * The kernel's own keyring is never used, because a restart erases it.
 *
 * **Limits.** Programs that change the item without these locks. A call that has begun cannot be cancelled:
 * when it is late, it continues in the background and keeps the locks until it ends, so a commit that was
 * reported as late may still be written. One call runs at a time in a process, off the main thread. The
 * exception is the first call on each item, which blocks the main thread for up to two seconds if the Secret
 * Service hangs.
 *
 * Credential Manager holds 2,560 bytes, which are 1,280 characters. A commit with longer tokens fails with a
 * message that says so. Then keep the credentials in `File` with `Encrypted`, and only the key in the
 * keychain.
 *
 * @since 0.1.0
 */
import type { RefreshLease as Lease } from "@latchkey/core/RefreshLease"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import { millisOf } from "@latchkey/core/TokenConfig"
import type * as Arr from "effect/Array"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as EncryptionKeys from "./EncryptionKeys.js"
import * as FileFormat from "./FileFormat.js"
import { FileProblem } from "./internal/FileProblem.js"
import * as FileLease from "./internal/FileLease.js"
import * as FileStorage from "./internal/FileStorage.js"
import * as Keychain from "./internal/Keychain.js"
import * as LeaseFile from "./internal/LeaseFile.js"
import * as PrivateFile from "./internal/PrivateFile.js"
import * as TextCell from "./internal/TextCell.js"
import { homedir, userInfo } from "node:os"
import * as Path from "node:path"

/**
 * The item of the keychain.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  /** The name under which keychains list the item. Default: `latchkey`. */
  readonly service?: string | undefined
  /** How long an operation may take, including a prompt to unlock. Default: 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Where the lock and lease files are. It is created with mode 0700 if it is missing. */
  readonly directory?: string | undefined
  /** How the item holds the grant. Default: `FileFormat.native`. */
  readonly format?: FileFormat.FileFormat | undefined
  /**
   * A file that sometimes holds the same grant. Its lock and lease are used, so that both are guarded as one.
   * Default: the keyring's own files in `directory`.
   */
  readonly beside?: string | undefined
  /** The largest record that is read or written, in bytes: 1,280 on Windows and 1 MiB elsewhere. */
  readonly maxBytes?: number | undefined
}

/**
 * The result of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Keyring {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<Lease>
  /** Whether there is such an item, whatever is in it. */
  readonly exists: Effect.Effect<boolean, StorageError>
}

/**
 * Creates the storage and the lease of one item. Calls nothing yet. Fails if the options cannot work.
 *
 * Every operation ends within `timeout`. `load` takes no lock. `commit` and `remove` cannot be interrupted.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Keyring, StorageError> =>
  Effect.map(cellOf(options), ({ cell, where }) => ({
    storage: TextCell.make(cell),
    lease: FileLease.make(where, () => TextCell.writtenFence(cell)),
    exists: Effect.mapBoth(cell.looking(cell.get), {
      onSuccess: Option.isSome,
      onFailure: ({ reason, message, cause }) => failure(options, reason, message, cause)
    })
  }))

/**
 * Provides storage and lease on one item. For the lease, `account` is a name within this item.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<TokenStorage | Lease, StorageError> =>
  Layer.effectContext(
    Effect.map(make(options), ({ storage, lease }) =>
      Context.make(TokenStorage, storage).pipe(Context.add(RefreshLease, lease))
    )
  )

/**
 * Provides only the storage, for use with a lease from elsewhere.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStorage = (options: Options): Layer.Layer<TokenStorage, StorageError> =>
  Layer.effect(
    TokenStorage,
    Effect.map(make(options), ({ storage }) => storage)
  )

type Keys = Arr.NonEmptyReadonlyArray<Redacted.Redacted>

/**
 * Provides the keys of `Encrypted` from the keychain item called `account`. The item holds the same text that
 * `EncryptionKeys.layerConfig` reads. If there is none, a first key is generated and stored.
 *
 * @since 0.1.0
 * @category encryption keys
 */
export const layerEncryptionKeys = (
  options: Options
): Layer.Layer<EncryptionKeys.EncryptionKeys, StorageError | ConfigError.ConfigError> =>
  Layer.effect(
    EncryptionKeys.EncryptionKeys,
    Effect.gen(function* () {
      const { cell } = yield* cellOf(options)
      const held = yield* Effect.mapError(cell.looking(cell.get), ({ reason, message, cause }) =>
        failure(options, reason, message, cause)
      )
      // Existing keys are read without a lock, because a lock needs a writable directory.
      const keys = yield* Option.match(held, {
        onNone: () => updateEncryptionKeys(options, (made) => made),
        onSome: (text) => Effect.succeed(EncryptionKeys.split(Redacted.make(text)))
      })
      return yield* EncryptionKeys.make(keys, locationOf(options))
    })
  )

/**
 * Changes the keys in the keychain, exclusively: use it to add a new one after the others
 * (`EncryptionKeys.generate`), then to put it first, and then to drop an old one. Returns the keys it holds
 * now. Running processes keep the keys that they have.
 *
 * @since 0.1.0
 * @category encryption keys
 */
export const updateEncryptionKeys = (
  options: Options,
  update: (keys: Keys) => Keys
): Effect.Effect<Keys, StorageError> =>
  Effect.gen(function* () {
    const { cell } = yield* cellOf(options)
    const change = Effect.gen(function* () {
      const held = yield* cell.get
      const before = Option.match(held, {
        onNone: () => Effect.map(EncryptionKeys.generate, (key): Keys => [key]),
        onSome: (text) => Effect.succeed(EncryptionKeys.split(Redacted.make(text)))
      })
      const after = update(yield* before)
      const text = after.map(Redacted.value).join(",")
      if (!Option.contains(held, text)) yield* cell.set(text)
      return after
    })
    return yield* Effect.mapError(cell.alone(change), ({ reason, message, cause }) =>
      failure(options, reason, message, cause)
    )
  })

const locationOf = ({ service = "latchkey", account }: Options): string => `keychain: ${service}/${account}`

const failure = (
  options: Options,
  reason: StorageError["reason"],
  message: string,
  cause?: unknown
): StorageError =>
  new StorageError({
    reason,
    operation: "load",
    location: locationOf(options),
    message,
    ...(cause === undefined ? {} : { cause })
  })

interface Guarded {
  readonly cell: TextCell.Cell
  readonly where: Parameters<typeof FileLease.make>[0]
}

const cellOf = (options: Options): Effect.Effect<Guarded, StorageError> => {
  const { account, service = "latchkey", timeout = "10 seconds", directory = stateDirectory() } = options
  const { maxBytes = process.platform === "win32" ? 1_280 : 1_048_576 } = options
  const millis = millisOf(timeout)
  const problem = [account, service].some((name) => name.trim() === "" || name.includes("\0"))
    ? "The account or service of the keychain item is blank or has a NUL in it: give another."
    : account === Keychain.probeName
      ? "This account name is reserved for an item of Latchkey's own: use another."
      : !(Number.isFinite(millis) && millis > 0)
        ? "`timeout` must be positive and finite."
        : !Number.isSafeInteger(maxBytes) || maxBytes <= 0
          ? "`maxBytes` must be a whole number above 0."
          : directory === undefined && options.beside === undefined
            ? "This user has no home directory for the lock files: give `directory`, or set HOME."
            : undefined
  if (problem !== undefined) return Effect.fail(failure(options, "Malformed", problem))

  const name = Fingerprint.sha256(new TextEncoder().encode(JSON.stringify([service, account])))
  const path = Path.resolve(options.beside ?? Path.join(directory ?? "", name.slice(0, 32)))
  const { get, set, remove } = Keychain.secret(service, account)
  // Half of the time is reserved for the keychain if another process must be waited for.
  const symlinks = options.beside === undefined ? "refuse" : "follow"
  const where = { path, symlinks, owner: "self", lockMillis: millis / 2 } as const
  return Effect.succeed({
    where,
    cell: {
      location: locationOf(options),
      format: options.format ?? FileFormat.native,
      maxBytes,
      tooLongAdvice: Keychain.tooLongAdvice,
      get,
      set,
      remove,
      grantedFence: Effect.flatMap(PrivateFile.resolve(path, symlinks), (target) =>
        LeaseFile.highestFence(PrivateFile.leaseOf(target))
      ),
      alone: (use) =>
        Effect.uninterruptible(
          Keychain.bounded(
            lockedOr(where, use, (problem) =>
              // If there is no keychain, or it is locked, report that instead.
              Effect.andThen(get, options.beside === undefined ? withoutLock(path, problem) : problem)
            ),
            millis
          )
        ),
      looking: (use) => Keychain.bounded(use, millis)
    }
  })
}

/** Runs `use` under the lock, or `otherwise` if the lock itself cannot be taken. */
const lockedOr = <A, E, E2>(
  where: Guarded["where"],
  use: Effect.Effect<A, E>,
  otherwise: (problem: FileProblem) => Effect.Effect<never, E2>
): Effect.Effect<A, E | E2> =>
  Effect.flatten(
    Effect.catchAll(
      FileStorage.locked(where, () => Effect.exit(use)),
      (problem) => otherwise(problem)
    )
  )

/**
 * The keychain works, but cannot be written safely. A lock that another process keeps for long is reported as
 * such.
 */
const withoutLock = (path: string, problem: FileProblem): FileProblem =>
  problem.cause === undefined
    ? problem
    : new FileProblem({
        reason: "Denied",
        message:
          `The keychain works, but its lock files cannot be used: ${problem.message} Create their directory ` +
          `${Path.dirname(path)} , writable for this user, or set another \`directory\`.`,
        cause: problem.cause
      })

const stateDirectory = (): string | undefined => {
  const home = homeDirectory()
  if (home === undefined) return undefined
  return process.platform === "win32"
    ? Path.join(home, "AppData", "Local", "latchkey")
    : process.platform === "darwin"
      ? Path.join(home, "Library", "Application Support", "latchkey")
      : Path.join(home, ".local", "state", "latchkey")
}

const homeDirectory = (): string | undefined => {
  for (const find of [() => userInfo().homedir, homedir]) {
    try {
      const found = find()
      // An empty HOME counts as none, and a relative one would be a different place in each working
      // directory.
      if (Path.isAbsolute(found)) return found
    } catch {
      // The user database may not know a container's user.
    }
  }
  return undefined
}
