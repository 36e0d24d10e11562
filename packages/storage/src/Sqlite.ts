/**
 * SQLite for {@link Sql}: one file for many accounts, for all the processes of a host, with nothing to run
 * beside it. The driver is `libsql` (an optional peer; its package carries the binary).
 *
 * **What it rests on.** SQLite's own locks and its write-ahead log, flushed at each commit (`synchronous`
 * `FULL`): a process that dies, or a machine that loses power, leaves the last acknowledged commit. Writers
 * wait for each other, for 5 seconds at most, outside the thread that runs JavaScript. What is deleted is
 * overwritten (`secure_delete`). The file is created 0600, and one that others may read is refused.
 *
 * **Leases** go by this host's `Clock`, and by a clock that nobody can set where the holder runs on this kernel. A
 * dead holder is known at once, by the kernel lock that it kept beside the database; an earlier boot of this host is
 * dead as a whole.
 *
 * **Where it does not hold.** Network file systems, whose locks SQLite cannot trust, and hosts that share a
 * volume: take PostgreSQL or Redis. There are no `changes`: what another process writes is seen at the next
 * load.
 *
 * **A full or read-only medium.** What is there is read, by connections that write nothing, so that a valid token is
 * served. What must be written fails with `Denied` and names the disk. Once the medium can be written, so is the database.
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
  /** The database file; made where it is not there. Relative to the working directory at construction. */
  readonly filename: string
}

/**
 * A client on a database file, opened with the layer and closed with it, and what {@link Sql} is to know of
 * it. Fails where the file cannot be opened, is no database, or may be read by others (`Insecure`, with the
 * command that repairs it).
 *
 * One connection: statements of one client follow each other. For many accounts, share this layer among
 * their `Sql.layer`s.
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
 * Storage and lease of one account in a database file of its own or shared with others.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Sql.Options & ClientOptions
): Layer.Layer<TokenStorage | RefreshLease, StorageError> =>
  Layer.provide(Sql.layer(options), layerClient(options))

/**
 * Storages and leases of all accounts in a database file: for `TokenManagers`.
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
