/**
 * One grant in one JSON file, for all processes of a host, with the lease that lets one of them refresh.
 *
 * **What it relies on.** A kernel lock on `<path>.latchkey.lock` guards every [read, compare, replace]. The
 * kernel drops it when its holder dies, and the lock file is never removed. A new file is written beside the
 * old one, with mode 0600 from the start, and flushed; it is then renamed over the old one, and the directory
 * is flushed. A crash leaves the old file or the new one, never a mixture, and what `commit` has acknowledged
 * stays.
 *
 * A lease is a record in `<path>.latchkey.lease`, written under the same lock. Its holder keeps its own
 * kernel lock on `<path>.latchkey.holder-…`. So a dead holder is detected at once, and no process ID is
 * trusted. All holders of an earlier boot of this host are dead. A holder that is alive but stopped loses the
 * lease when its ttl has passed, by a clock that nobody can set. The fence then refuses its commit. No lease
 * counts for longer than its ttl, at most an hour, from when it was first seen in its present state: a holder
 * whose clock was years ahead blocks nobody.
 *
 * **Limits.**
 *
 * - A process that is stopped (SIGSTOP) in the few milliseconds in which it holds the lock makes the others
 *   fail with `Unavailable` until it continues or is killed.
 * - Programs that do not use the lock: a change to the file is noticed until just before the rename, but not
 *   between that last check and the rename.
 * - File systems without working locks or atomic rename (NFS before version 4, many FUSE and cloud folders):
 *   keep the file on a local one, or the lease elsewhere.
 * - Processes on other hosts that share a volume: their leases count by ttl alone, the hosts' clocks must
 *   agree, and each host needs its own name.
 * - Windows: files have no modes, and directories cannot be flushed.
 *
 * Symbolic links, owners and modes: see {@link Options}.
 *
 * A file that cannot be replaced (a single file that is mounted into a container, or one in a directory that
 * this process cannot write) is written in place. This happens under a lock on the file itself, and after its
 * new contents were flushed to a journal, from which they are read after a crash. Its lock and its leases are
 * beside it, or in a directory of this user under `TMPDIR`: programs that see the file through other mounts
 * do not share them. Mount the file's directory if you can.
 *
 * @since 0.1.0
 */
import type { RefreshLease as Lease } from "@latchkey/core/RefreshLease"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { millisOf } from "@latchkey/core/TokenConfig"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Path from "node:path"
import * as FileFormat from "./FileFormat.js"
import * as FileLease from "./internal/FileLease.js"
import * as FileStorage from "./internal/FileStorage.js"
import { binding } from "./internal/KernelLock.js"

/**
 * Where a file is, and what is accepted there.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A relative path is relative to the working directory at construction. */
  readonly path: string
  /** How the file holds the grant. Default: {@link FileFormat.native}. */
  readonly format?: FileFormat.FileFormat | undefined
  /**
   * How many earlier states to keep beside the file, with mode 0600. Default: none. They hold tokens in clear
   * text, and `remove` removes them.
   */
  readonly backups?: number | undefined
  /**
   * `follow` (the default) reads and replaces the file at the end of the links, which stay. `refuse` fails
   * with `Denied`. Links among the directories above are always followed.
   */
  readonly symlinks?: "follow" | "refuse" | undefined
  /**
   * `self` (the default) refuses the file of another user with `Denied`. `any` accepts it and keeps its
   * owner, which requires a privileged process.
   */
  readonly owner?: "self" | "any" | undefined
  /**
   * `refuse` (the default) fails with `Insecure` if others may read or write the file. `accept` accepts it
   * and logs a warning: use it for a mounted secret whose mode you cannot choose. New files have mode 0600 in
   * either case, if the file can be replaced.
   */
  readonly exposed?: "refuse" | "accept" | undefined
  /** The largest file that is read or written, in bytes. Default: 1 MiB. */
  readonly maxBytes?: number | undefined
  /** How long to wait for a lock that another process holds. Default: 10 seconds. */
  readonly lockTimeout?: Duration.DurationInput | undefined
}

/**
 * The result of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface File {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<Lease>
}

/**
 * Creates the storage and the lease of one file. Reads nothing yet. Fails if the options cannot work or the
 * platform has no kernel locks.
 *
 * `load` takes no lock and never writes. `commit` and `remove` wait for the lock (`Unavailable` if it stays
 * taken). Only that wait can be interrupted. After any failure the file is unchanged.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<File, StorageError> =>
  Effect.gen(function* () {
    const settings = yield* resolve(options)
    yield* Effect.mapError(binding, ({ message }) => misuse(settings.path, message, "Unavailable"))
    const storage = FileStorage.make(settings)
    return { storage, lease: FileLease.make(settings, FileStorage.writtenFence(settings)) }
  })

/**
 * Provides storage and lease on one file. For the lease, `account` is a name within this file.
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

/**
 * Provides only the leases, stored beside `path`, for credentials stored elsewhere. The file itself need not
 * exist.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerLease = (options: Options): Layer.Layer<Lease, StorageError> =>
  Layer.effect(
    RefreshLease,
    Effect.map(make(options), ({ lease }) => lease)
  )

const misuse = (path: string, message: string, reason: StorageError["reason"] = "Malformed"): StorageError =>
  new StorageError({ reason, operation: "load", location: path, message })

const resolve = (options: Options): Effect.Effect<FileStorage.Settings, StorageError> => {
  const { path, backups = 0, maxBytes = 1_048_576, lockTimeout = "10 seconds" } = options
  const lockMillis = millisOf(lockTimeout)
  const problem =
    path.trim() === "" || path.includes("\0")
      ? "The path of the credential file is blank or has a NUL in it: give another."
      : !Number.isSafeInteger(backups) || backups < 0
        ? "`backups` must be a whole number, 0 or more."
        : !Number.isSafeInteger(maxBytes) || maxBytes <= 0
          ? "`maxBytes` must be a whole number above 0."
          : !Number.isFinite(lockMillis)
            ? "`lockTimeout` must be a finite time, not negative."
            : undefined
  return problem === undefined
    ? Effect.succeed({
        path: Path.resolve(path),
        format: options.format ?? FileFormat.native,
        backups,
        symlinks: options.symlinks ?? "follow",
        owner: options.owner ?? "self",
        exposed: options.exposed ?? "refuse",
        maxBytes,
        lockMillis
      })
    : Effect.fail(misuse(path, problem))
}
