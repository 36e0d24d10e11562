/**
 * SQLite for {@link Sql}: one file for many accounts, for all processes of a host, without a server. The
 * driver is `libsql` (an optional peer; its package contains the binary).
 *
 * **What it relies on.** SQLite's own locks and its write-ahead log, flushed at each commit (`synchronous`
 * `FULL`): after a crash of a process or a power loss, the last acknowledged commit is there. Writers wait
 * for each other, for at most 5 seconds, outside the thread that runs JavaScript. Deleted data is overwritten
 * (`secure_delete`). The file is created with mode 0600, and a file that others may read is refused.
 *
 * **Leases** use this host's `Clock`, and a clock that nobody can set if the holder runs on this kernel. A
 * dead holder is detected at once, by the kernel lock that it kept beside the database. All holders of an
 * earlier boot of this host are dead.
 *
 * **Limits.** Network file systems, whose locks SQLite cannot trust, and hosts that share a volume: use
 * PostgreSQL or Redis. There are no `changes`: what another process writes is seen at the next load.
 *
 * **A full or read-only medium.** The data is read over connections that write nothing, so that a valid token
 * is served. An operation that must write fails with `Denied` and names the disk. Once the medium can be
 * written, so can the database.
 *
 * Not among the package's root exports: import `@latchkey/storage/Sqlite`.
 *
 * @since 0.1.0
 */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { TokenStorages } from "@latchkey/core/TokenStorages"
import type { TokenStorage } from "@latchkey/core/TokenStorage"
import { StorageError } from "@latchkey/core/TokenStorage"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "node:path"
import * as Libsql from "./internal/Libsql.js"
import * as SqliteFile from "./internal/SqliteFile.js"
import * as Sql from "./Sql.js"

/**
 * Where the database is.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions {
  /** The database file, created if it does not exist. Relative to the working directory at construction. */
  readonly filename: string
}

/**
 * Provides a client on a database file, which opens and closes with the layer, and what {@link Sql} must know
 * about it. Fails if the file cannot be opened, is not a database, or may be read by others (`Insecure`, with
 * the command that repairs it).
 *
 * It uses one connection, so statements of one client run in sequence. For many accounts, share this layer
 * among their `Sql.layer`s.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  options: ClientOptions
): Layer.Layer<SqlClient.SqlClient | Sql.SqlSurroundings, StorageError> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const filename = yield* resolve(options.filename)
      const location = `SQLite at ${filename}`
      const failed = ({ reason, message, cause }: SqliteFile.Problem) =>
        new StorageError({
          reason,
          operation: "load",
          location,
          message,
          ...(cause === undefined ? {} : { cause })
        })
      const file = yield* Effect.mapError(SqliteFile.prepare(filename), failed)
      const client = yield* Effect.mapError(Libsql.open(file, location), failed)
      return Context.make(SqlClient.SqlClient, client).pipe(
        Context.add(Sql.SqlSurroundings, { location, file: Option.some(file), listen: Option.none() })
      )
    })
  )

/**
 * Provides storage and lease of one account in a database file, its own or a shared one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Sql.Options & ClientOptions
): Layer.Layer<TokenStorage | RefreshLease, StorageError> =>
  Layer.provide(Sql.layer(options), layerClient(options))

/**
 * Provides storages and leases of all accounts in a database file, for `TokenManagers`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAccounts = (
  options: Sql.TableOptions & ClientOptions
): Layer.Layer<TokenStorages | RefreshLease, StorageError> =>
  Layer.provide(Sql.layerAccounts(options), layerClient(options))

const resolve = (filename: string): Effect.Effect<string, StorageError> =>
  filename.trim() === "" || filename.includes("\0") || filename === ":memory:"
    ? new StorageError({
        reason: "Malformed",
        operation: "load",
        location: filename,
        message: "The database must be a file, and its path not blank: give the path of one."
      })
    : Effect.succeed(Path.resolve(filename))
