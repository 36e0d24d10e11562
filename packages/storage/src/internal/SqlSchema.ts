/** The tables, created on first use and migrated by `@effect/sql`'s migrator. */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Clock from "effect/Clock"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as RecordText from "./RecordText.js"
import { pause } from "./KernelLock.js"
import { ServerProblem } from "./ServerProblem.js"
import { isRace } from "./SqlProblem.js"
import { bytesOf, columnsOf, type Tables } from "./SqlTables.js"

/**
 * `record` is null if the entry was removed. Its row stays, so that its version and its fence keep rising.
 * `owner` is null if nobody holds the lease. `fence`: the highest one written or granted.
 */
const first = (sql: SqlClient.SqlClient, names: Tables) => {
  const integer = sql.literal(sql.onDialectOrElse({ pg: () => "BIGINT", orElse: () => "INTEGER" }))
  return Effect.andThen(
    sql`CREATE TABLE ${sql(names.entries)} (
      account TEXT NOT NULL PRIMARY KEY,
      version ${integer} NOT NULL,
      fence ${integer} NOT NULL,
      record TEXT
    )`,
    sql`CREATE TABLE ${sql(names.leases)} (
      account TEXT NOT NULL PRIMARY KEY,
      owner TEXT,
      holder TEXT,
      expires ${integer} NOT NULL,
      fence ${integer} NOT NULL
    )`
  )
}

/** Adds the index to a table that may already hold entries. A record that cannot be read is not due. */
const second = (sql: SqlClient.SqlClient, names: Tables): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const integer = sql.literal(sql.onDialectOrElse({ pg: () => "BIGINT", orElse: () => "INTEGER" }))
    yield* sql`ALTER TABLE ${sql(names.entries)} ADD COLUMN state TEXT`
    yield* sql`ALTER TABLE ${sql(names.entries)} ADD COLUMN due ${integer}`
    yield* fill(sql, names, Option.none())
    yield* sql`CREATE INDEX ${sql(`${names.entries}_due`)} ON ${sql(names.entries)} (due, account)
      WHERE due IS NOT NULL`
  })

/** How many entries are read together. */
const pageSize = 1000

const fill = (
  sql: SqlClient.SqlClient,
  names: Tables,
  after: Option.Option<string>
): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const bytes = sql.onDialectOrElse({
      pg: () => sql`convert_to(record, 'UTF8')`,
      orElse: () => sql`CAST(record AS BLOB)`
    })
    const later = Option.match(after, {
      onNone: () => sql.literal(""),
      onSome: (account) => sql`AND account > ${account}`
    })
    const rows = yield* sql<Record<"account" | "record", unknown>>`
      SELECT account, ${bytes} AS record FROM ${sql(names.entries)}
      WHERE record IS NOT NULL ${later} ORDER BY account LIMIT ${pageSize}`
    const now = yield* Clock.currentTimeMillis
    for (const row of rows) {
      const read = RecordText.decode(bytesOf(row.record), "", now)
      if (Either.isLeft(read)) continue
      const { due, state } = columnsOf(read.right.entry)
      yield* sql`UPDATE ${sql(names.entries)} SET state = ${state}, due = ${due} WHERE account = ${String(row.account)}`
    }
    const last = rows.at(-1)
    if (last !== undefined && rows.length === pageSize) {
      yield* fill(sql, names, Option.some(String(last.account)))
    }
  })

const migrations = (sql: SqlClient.SqlClient, names: Tables): ReadonlyArray<Migrator.ResolvedMigration> => [
  [1, "entries_and_leases", Effect.succeed(first(sql, names))],
  [2, "due", Effect.succeed(second(sql, names))]
]

/** Another process may run the same migration. The loser of that race checks again. */
const attempts = 10

/** Migrates the tables to this version. `fails` classifies the client's errors. */
export const ensure = (
  sql: SqlClient.SqlClient,
  names: Tables,
  fails: (error: unknown) => ServerProblem,
  database: string
): Effect.Effect<void, ServerProblem> => {
  const newest = migrations(sql, names).length
  const present: Effect.Effect<number, SqlError> = Effect.map(
    sql<{ id: number | null }>`SELECT MAX(migration_id) AS id FROM ${sql(names.migrations)}`,
    ([row]) => Number(row?.id ?? 0)
  )
  const migrate = Migrator.make({})({
    loader: Effect.succeed(migrations(sql, names)),
    table: names.migrations
  }).pipe(
    Effect.provideService(SqlClient.SqlClient, sql),
    // A migration that fails, and a transaction that cannot be ended, are reported as defects.
    Effect.catchAllDefect((defect) => Effect.fail(fails(defect))),
    Effect.mapError((error) => (error instanceof ServerProblem ? error : fails(error)))
  )
  const settle = (left: number): Effect.Effect<void, ServerProblem> =>
    Effect.gen(function* () {
      const version = yield* Effect.orElseSucceed(present, () => 0)
      if (version === newest) return
      if (version > newest) {
        return yield* new ServerProblem({
          reason: "NewerFormat",
          message: `${database} has the format ${version} of a later version, and this one reads formats up to ${newest}: upgrade @latchkey.`
        })
      }
      const migrated = yield* Effect.either(migrate)
      if (Either.isLeft(migrated) && (left === 0 || !isRace(migrated.left))) return yield* migrated.left
      if (Either.isLeft(migrated)) yield* pause(25)
      return yield* settle(left - 1)
    })
  return settle(attempts)
}
