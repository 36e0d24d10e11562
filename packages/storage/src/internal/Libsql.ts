/**
 * An `@effect/sql` client over `libsql`. Statements run on the driver's own threads, so that waiting for
 * another process, or for the disk, does not stop this one.
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
import { pause } from "./KernelLock.js"
import { ServerProblem } from "./ServerProblem.js"
import { fromClient, isRace } from "./SqlProblem.js"

/** How long a statement waits for other processes. */
const busyMillis = 5_000

/** The part of the driver that is used; its own types know less. */
interface Prepared {
  readonly all: (parameters: ReadonlyArray<unknown>) => Promise<ReadonlyArray<Record<string, unknown>>>
}
interface Driver {
  readonly prepare: (text: string) => Promise<Prepared>
  readonly close: () => void
}

export const open = (
  filename: string,
  location: string
): Effect.Effect<SqlClient.SqlClient, ServerProblem, Scope.Scope> =>
  Effect.gen(function* () {
    const turn = yield* Effect.makeSemaphore(1)
    const driver = yield* Effect.acquireRelease(
      Effect.try({
        try: (): Driver => new Database(filename, { timeout: busyMillis }),
        catch: fromClient(location)
      }),
      // The log keeps what was removed until it is folded into the file.
      (d) =>
        run(d, "PRAGMA wal_checkpoint(TRUNCATE)", []).pipe(
          Effect.ignore,
          Effect.zipRight(Effect.sync(() => d.close())),
          turn.withPermits(1)
        )
    )
    yield* configure(driver, location)
    const alone = connection(driver)
    const shared = connection(driver, turn)
    return yield* SqlClient.make({
      acquirer: Effect.succeed(shared),
      transactionAcquirer: Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.scope, (scope) =>
          restore(turn.take(1)).pipe(
            Effect.zipRight(Scope.addFinalizer(scope, turn.release(1))),
            Effect.as(alone)
          )
        )
      ),
      // To read first and write later is to lose against another writer, without a wait.
      beginTransaction: "BEGIN IMMEDIATE",
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: [["db.system.name", "sqlite"]]
    }).pipe(Effect.provide(Reactivity.layer))
  })

/** To change to the write-ahead log needs the file for oneself, and is not waited for by the driver. */
const configure = (driver: Driver, location: string, left = 250): Effect.Effect<void, ServerProblem> =>
  Effect.gen(function* () {
    const [mode] = yield* run(driver, "PRAGMA journal_mode = WAL", [])
    if (mode?.["journal_mode"] !== "wal") {
      return yield* new ServerProblem({
        reason: "Unavailable",
        message: `${location} cannot keep a write-ahead log there: put it on a local file system.`
      })
    }
    yield* run(driver, "PRAGMA synchronous = FULL", [])
    yield* run(driver, "PRAGMA secure_delete = ON", [])
  }).pipe(
    Effect.mapError((error) => (error instanceof SqlError ? fromClient(location)(error) : error)),
    Effect.catchIf(
      (problem) => left > 0 && isRace(problem),
      () => Effect.zipRight(pause(20), configure(driver, location, left - 1))
    )
  )

/** Not to be interrupted: the driver goes on, and the next statement must not meet it half-way. */
const run = (driver: Driver, text: string, parameters: ReadonlyArray<unknown>) =>
  Effect.uninterruptible(
    Effect.tryPromise({
      try: async () => (await driver.prepare(text)).all(parameters),
      catch: (cause) => new SqlError({ cause, message: "Failed to execute statement" })
    })
  )

/** With `turn`, each statement waits for the one before it; without, the caller has had its turn already. */
const connection = (driver: Driver, turn?: Effect.Semaphore): Connection => {
  const execute = (text: string, parameters: ReadonlyArray<unknown>) => {
    const statement = run(driver, text, parameters)
    return turn === undefined ? statement : turn.withPermits(1)(statement)
  }
  const rows: Connection["execute"] = (text, parameters, transform) =>
    Effect.map(execute(text, parameters), (found) => (transform === undefined ? found : transform(found)))
  return {
    execute: rows,
    executeUnprepared: rows,
    executeRaw: (text, parameters) => execute(text, parameters),
    executeValues: (text, parameters) =>
      Effect.map(execute(text, parameters), (found) => found.map((row) => Object.values(row))),
    executeStream: (text, parameters, transform) =>
      Stream.fromIterableEffect(rows(text, parameters, transform))
  }
}
