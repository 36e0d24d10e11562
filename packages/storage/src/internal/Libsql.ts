/**
 * An `@effect/sql` client over `libsql`, whose statements run on threads of its own: waiting for the disk does
 * not stop this process.
 *
 * The driver does not reset a prepared statement that met a lock of another connection. Until the garbage
 * collector disposes of it, what the connection then writes looks done, and is not committed. So only what
 * the driver resets by itself may meet a lock: each write begins with `exec("BEGIN IMMEDIATE")`, which is
 * tried again here. The driver's own waiting is not used: it would take up its few threads, of which the
 * holder of the lock may need one.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import Database from "libsql/promise"
import * as Collection from "./Collection.js"
import { codeOf } from "./FileProblem.js"
import { pause } from "./KernelLock.js"
import * as LibsqlWrites from "./LibsqlWrites.js"
import { ServerProblem } from "./ServerProblem.js"
import { fromClient } from "./SqlProblem.js"

/** How long a statement waits for other connections, and how long it pauses between two attempts at most. */
const patienceMillis = 5_000
const longestPauseMillis = 25

type Rows = ReadonlyArray<Record<string, unknown>>

interface Prepared {
  readonly all: (parameters: ReadonlyArray<unknown>) => Promise<Rows>
}

/** The part of the driver that is used; its own types know less. */
interface Driver {
  readonly prepare: (text: string) => Promise<Prepared>
  readonly exec: (text: string) => Promise<void>
  readonly close: () => void
}

/** A driver that refers to nothing once it is closed. */
interface Closable extends Omit<Driver, "close"> {
  readonly close: () => WeakRef<object>
}

/** A client with one connection; its statements follow each other. */
export const open = (
  filename: string,
  location: string
): Effect.Effect<SqlClient.SqlClient, ServerProblem, Scope.Scope> =>
  Effect.gen(function* () {
    const turn = yield* Effect.makeSemaphore(1)
    const driver = yield* Effect.acquireRelease(
      Effect.try({
        try: () => keepPrepared(new Database(filename, { timeout: 0 })),
        catch: fromClient(location)
      }),
      (d) => turn.withPermits(1)(Effect.flatMap(close(d), Collection.afterClose))
    )
    yield* configure(driver, location)
    const write = LibsqlWrites.make<Rows>({
      begin: exec(driver, begin),
      commit: exec(driver, "COMMIT"),
      rollback: exec(driver, "ROLLBACK"),
      turn
    })
    return yield* SqlClient.make({
      acquirer: Effect.succeed(
        connection((text, parameters) =>
          patiently(
            // What may write is a transaction, begun and ended here.
            reads.test(text)
              ? turn.withPermits(1)(Effect.uninterruptible(runWithin(driver, text, parameters)))
              : write(query(driver, text, parameters))
          )
        )
      ),
      transactionAcquirer: Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.scope, (scope) =>
          restore(turn.take(1)).pipe(
            Effect.zipRight(Scope.addFinalizer(scope, turn.release(1))),
            Effect.as(
              connection((text, parameters) =>
                patiently(Effect.uninterruptible(runWithin(driver, text, parameters)))
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

/** The right to write from the start: who reads first and writes later loses against another writer. */
const begin = "BEGIN IMMEDIATE"

const configure = (driver: Closable, location: string): Effect.Effect<void, ServerProblem> =>
  Effect.gen(function* () {
    const set = (pragma: string) => patiently(exec(driver, `PRAGMA ${pragma}`))
    yield* set("journal_mode = WAL")
    yield* set("synchronous = FULL")
    yield* set("secure_delete = ON")
    const [mode] = yield* patiently(query(driver, "PRAGMA journal_mode", []))
    if (mode?.["journal_mode"] !== "wal") {
      return yield* new ServerProblem({
        reason: "Unavailable",
        message: `${location} cannot keep a write-ahead log there: put it on a local file system.`
      })
    }
  }).pipe(Effect.mapError((error) => (error instanceof SqlError ? fromClient(location)(error) : error)))

/** The log keeps what was removed until it is folded into the file. */
const close = (driver: Closable): Effect.Effect<WeakRef<object>> =>
  exec(driver, "PRAGMA wal_checkpoint(TRUNCATE)").pipe(
    Effect.ignore,
    Effect.zipRight(Effect.sync(() => driver.close()))
  )

/** What needs no transaction. */
const reads = /^\s*(SELECT|PRAGMA)\b/i

/** A statement of a transaction, or one that cannot write. */
const runWithin = (driver: Closable, text: string, parameters: ReadonlyArray<unknown>) =>
  /^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA)\b/i.test(text)
    ? Effect.as(exec(driver, text), [])
    : query(driver, text, parameters)

const failure = (cause: unknown): SqlError => new SqlError({ cause, message: "Failed to execute statement" })

const exec = (driver: Closable, text: string): Effect.Effect<void, SqlError> =>
  Effect.tryPromise({ try: () => driver.exec(text), catch: failure })

const query = (
  driver: Closable,
  text: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Rows, SqlError> =>
  Effect.tryPromise({ try: async () => (await driver.prepare(text)).all(parameters), catch: failure })

/** How many statements are kept prepared. Storage and leases have about ten, a program may have its own. */
const mostPrepared = 50

/**
 * A driver that prepares a statement once, and keeps those used last. The statements of one connection follow
 * each other, so that none is used twice at a time. One that failed is not used again: it may not be reset.
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

/** Again, at growing intervals, while another connection is in the way: nothing was done until then. */
const patiently = <A>(
  attempt: Effect.Effect<A, SqlError>,
  wait = 1,
  left = patienceMillis
): Effect.Effect<A, SqlError> =>
  Effect.catchIf(
    attempt,
    (error) => left > 0 && isBusy(error.cause),
    () =>
      Effect.zipRight(pause(wait), patiently(attempt, Math.min(wait * 2, longestPauseMillis), left - wait))
  )

/** A code that another statement's disposal cleared before the driver read it comes as "not an error". */
const isBusy = (cause: unknown): boolean =>
  codeOf(cause).startsWith("SQLITE_BUSY") || (cause instanceof Error && cause.message === "not an error")

const connection = (
  run: (text: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<Rows, SqlError>
): Connection => {
  const rows: Connection["execute"] = (text, parameters, transform) =>
    Effect.map(run(text, parameters), (found) => (transform === undefined ? found : transform(found)))
  return {
    execute: rows,
    executeUnprepared: rows,
    executeRaw: run,
    executeValues: (text, parameters) =>
      Effect.map(run(text, parameters), (found) => found.map((row) => Object.values(row))),
    executeStream: (text, parameters, transform) =>
      Stream.fromIterableEffect(rows(text, parameters, transform))
  }
}
