/**
 * An `@effect/sql` client over `libsql`, whose statements run on their own threads: waiting for the disk does
 * not stop this process.
 *
 * The driver does not reset a prepared statement that met a lock of another connection. Until the garbage
 * collector disposes of it, the connection's later writes seem to succeed but are not committed. So only
 * statements that the driver resets by itself may meet a lock: each write begins with
 * `exec("BEGIN IMMEDIATE")`, which is retried here. The driver's own waiting is not used. It would occupy its
 * few threads, and the holder of the lock may need one of them.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import Database from "libsql/promise"
import { causeOf, sqlError } from "../edition/Sql.js"
import * as Collection from "./Collection.js"
import { codeOf } from "./FileProblem.js"
import { pause } from "./KernelLock.js"
import * as LibsqlWrites from "./LibsqlWrites.js"
import * as Medium from "./Medium.js"
import { ServerProblem } from "./ServerProblem.js"
import { fromClient } from "./SqlProblem.js"

/** How long a statement waits for other connections, and the longest pause between two attempts. */
const patienceMillis = 5_000
const longestPauseMillis = 25

type Rows = ReadonlyArray<Record<string, unknown>>

interface Prepared {
  readonly all: (parameters: ReadonlyArray<unknown>) => Promise<Rows>
}

/** The part of the driver that is used. Its own types are incomplete. */
interface Driver {
  readonly prepare: (text: string) => Promise<Prepared>
  readonly exec: (text: string) => Promise<void>
  readonly close: () => void
}

/** A driver that refers to nothing once it is closed. */
interface Closable extends Omit<Driver, "close"> {
  readonly close: () => WeakRef<object>
}

/** The connection of a client, or why nothing can be written: the medium is full or read-only. */
type Connected = { readonly driver: Closable } | { readonly refused: ServerProblem }

/**
 * Opens a client with one connection, whose statements run in sequence. On a medium that cannot be written it
 * reads the existing data, and each statement tries to connect again, because the medium may have been
 * repaired meanwhile.
 */
export const open = (
  filename: string,
  location: string
): Effect.Effect<SqlClient.SqlClient, ServerProblem, Scope.Scope> =>
  Effect.gen(function* () {
    const turn = yield* Effect.makeSemaphore(1)
    const connected = yield* Effect.acquireRelease(
      Effect.flatMap(connectOrRead(filename, location), Ref.make),
      (ref) =>
        turn.withPermits(1)(
          Effect.flatMap(Ref.get(ref), (found) => ("driver" in found ? shut(found.driver) : Effect.void))
        )
    )
    const writable = Effect.flatMap(Ref.get(connected), (found) =>
      "driver" in found
        ? Effect.succeed(found.driver)
        : connect(filename, location).pipe(
            Effect.tap((driver) => Ref.set(connected, { driver })),
            Effect.mapError(failure)
          )
    )
    const readHere = (text: string, parameters: ReadonlyArray<unknown>) =>
      writable.pipe(
        Effect.flatMap((driver) => runWithin(driver, text, parameters)),
        Effect.catchIf(
          (failed) => causeOf(failed) instanceof ServerProblem,
          (failed) => Effect.mapError(readOnly(filename, text, parameters), () => failed)
        )
      )
    const onWritable = (text: string) => Effect.flatMap(writable, (driver) => exec(driver, text))
    const write = LibsqlWrites.make<Rows>({
      begin: onWritable(begin),
      commit: onWritable("COMMIT"),
      rollback: onWritable("ROLLBACK"),
      turn
    })
    return yield* SqlClient.make({
      ...identity,
      acquirer: Effect.succeed(
        connection((text, parameters) =>
          patiently(
            // A statement that may write is a transaction, begun and ended here.
            reads.test(text)
              ? turn.withPermits(1)(Effect.uninterruptible(readHere(text, parameters)))
              : write(Effect.flatMap(writable, (driver) => query(driver, text, parameters)))
          )
        )
      ),
      transactionAcquirer: Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.scope, (scope) =>
          restore(turn.take(1)).pipe(
            Effect.andThen(Scope.addFinalizer(scope, turn.release(1))),
            Effect.as(
              connection((text, parameters) =>
                patiently(
                  Effect.uninterruptible(
                    Effect.flatMap(writable, (driver) => runWithin(driver, text, parameters))
                  )
                )
              )
            )
          )
        )
      ),
      beginTransaction: begin,
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: [["db.system.name", "sqlite"]]
    }).pipe(Effect.provide(Reactivity.layer))
  })

/** What Effect 4 calls the client by. */
const identity = { driver: "libsql" }

const openDriver = (name: string, location: string): Effect.Effect<Closable, ServerProblem> =>
  Effect.try({
    try: () => keepPrepared(new Database(name, { timeout: 0 })),
    catch: fromClient(location)
  })

const shut = (driver: Closable): Effect.Effect<void> => Effect.flatMap(close(driver), Collection.afterClose)

/** Opens a connection that can write. If the medium prevents that, the failure says so. */
const connect = (filename: string, location: string): Effect.Effect<Closable, ServerProblem> =>
  openDriver(filename, location).pipe(
    Effect.flatMap((driver) =>
      Effect.as(configure(driver, location), driver).pipe(
        Effect.onError(() => Effect.flatMap(leave(driver), Collection.afterClose))
      )
    ),
    Effect.catchAll((failed) =>
      Effect.flatMap(Medium.problemOf(filename), (found) =>
        Option.match(found, {
          onNone: () => Effect.fail(failed),
          onSome: (words) =>
            new ServerProblem({
              reason: "Denied",
              message: `${location} cannot be written (${failed.cause?.code ?? "no log"}): ${words}.`,
              cause: failed.cause ?? { code: "SQLITE_READONLY" }
            })
        })
      )
    )
  )

const connectOrRead = (filename: string, location: string): Effect.Effect<Connected, ServerProblem> =>
  Effect.map(connect(filename, location), (driver): Connected => ({ driver })).pipe(
    Effect.catchIf(
      ({ cause }) => cause !== undefined && Medium.isOfMedium(cause.code),
      (refused) =>
        readOnly(filename, "SELECT COUNT(*) FROM sqlite_master", []).pipe(
          Effect.as<Connected>({ refused }),
          Effect.mapError(() => refused)
        )
    )
  )

/** Runs one statement on the existing data, over its own connection that writes nothing. */
const readOnly = (filename: string, text: string, parameters: ReadonlyArray<unknown>) =>
  Medium.withReadable(filename, (name) =>
    Effect.acquireUseRelease(
      openDriver(name, filename),
      (driver) => query(driver, text, parameters),
      (driver) => Effect.flatMap(leave(driver), Collection.afterClose)
    )
  )

/**
 * Takes the right to write from the start. A transaction that reads first and writes later loses against
 * another writer.
 */
const begin = "BEGIN IMMEDIATE"

const configure = (driver: Closable, location: string): Effect.Effect<void, ServerProblem> =>
  Effect.gen(function* () {
    yield* patiently(
      exec(driver, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON")
    )
    const [mode] = yield* patiently(query(driver, "PRAGMA journal_mode", []))
    if (mode?.["journal_mode"] !== "wal") {
      return yield* new ServerProblem({
        reason: "Unavailable",
        message: `${location} cannot keep a write-ahead log there: put it on a local file system.`
      })
    }
  }).pipe(Effect.mapError((error) => (error instanceof SqlError ? fromClient(location)(error) : error)))

/** The log keeps removed data until it is merged into the file. */
const close = (driver: Closable): Effect.Effect<WeakRef<object>> =>
  exec(driver, "PRAGMA wal_checkpoint(TRUNCATE)").pipe(Effect.ignore, Effect.andThen(leave(driver)))

const leave = (driver: Closable): Effect.Effect<WeakRef<object>> => Effect.sync(() => driver.close())

/** Statements that need no transaction. */
const reads = /^\s*(SELECT|PRAGMA)\b/i

/** Runs a statement of a transaction, or one that cannot write. */
const runWithin = (driver: Closable, text: string, parameters: ReadonlyArray<unknown>) =>
  /^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA)\b/i.test(text)
    ? Effect.as(exec(driver, text), [])
    : query(driver, text, parameters)

const failure = (cause: unknown): SqlError => sqlError(cause)

const exec = (driver: Closable, text: string): Effect.Effect<void, SqlError> =>
  Effect.tryPromise({ try: () => driver.exec(text), catch: failure })

const query = (
  driver: Closable,
  text: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Rows, SqlError> =>
  Effect.tryPromise({ try: async () => (await driver.prepare(text)).all(parameters), catch: failure })

/** How many statements stay prepared. Storage and leases have about ten, and a program may have its own. */
const mostPrepared = 50

/**
 * A driver that prepares a statement once, and keeps the most recently used ones. The statements of one
 * connection run in sequence, so none is used twice at a time. A statement that failed is not used again,
 * because it may not be reset.
 */
const keepPrepared = (opened: Driver): Closable => {
  const kept = new Map<string, Prepared>()
  let driver: Driver | undefined = opened
  const open = (): Driver => {
    if (driver === undefined) throw new Error("The database is closed.")
    return driver
  }
  return {
    exec: async (text) => open().exec(text),
    close: () => {
      const closed = new WeakRef<object>(open())
      open().close()
      kept.clear()
      driver = undefined
      return closed
    },
    prepare: async (text) => {
      const statement = kept.get(text) ?? (await open().prepare(text))
      kept.delete(text)
      return {
        all: async (parameters) => {
          const rows = await statement.all(parameters)
          kept.set(text, statement)
          for (const [oldest] of kept) if (kept.size > mostPrepared) kept.delete(oldest)
          return rows
        }
      }
    }
  }
}

/** Retries at growing intervals while another connection is in the way. Nothing was done until then. */
const patiently = <A>(
  attempt: Effect.Effect<A, SqlError>,
  wait = 1,
  left = patienceMillis
): Effect.Effect<A, SqlError> =>
  Effect.catchIf(
    attempt,
    (error) => left > 0 && isBusy(causeOf(error)),
    () => Effect.andThen(pause(wait), patiently(attempt, Math.min(wait * 2, longestPauseMillis), left - wait))
  )

/**
 * If another statement's disposal cleared the code before the driver read it, the message is "not an error".
 */
const isBusy = (cause: unknown): boolean =>
  codeOf(cause).startsWith("SQLITE_BUSY") || (cause instanceof Error && cause.message === "not an error")

const connection = (
  run: (text: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<Rows, SqlError>
): Connection => {
  const rows: Connection["execute"] = (text, parameters, transform) =>
    Effect.map(run(text, parameters), (found) => (transform === undefined ? found : transform(found)))
  const values: Connection["executeValues"] = (text, parameters) =>
    Effect.map(run(text, parameters), (found) => found.map((row) => Object.values(row)))
  const stream: Connection["executeStream"] = (text, parameters, transform) =>
    Stream.fromIterableEffect(rows(text, parameters, transform))
  const all = {
    execute: rows,
    executeUnprepared: rows,
    executeRaw: run,
    executeValues: values,
    // Effect 4 asks for this one too.
    executeValuesUnprepared: values,
    executeStream: stream
  }
  return all
}
