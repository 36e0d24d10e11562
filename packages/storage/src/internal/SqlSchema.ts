/** The tables, made on first use and migrated by `@effect/sql`'s migrator. */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { pause } from "./KernelLock.js"
import { ServerProblem } from "./ServerProblem.js"
import * as SqlIndex from "./SqlIndex.js"
import { isRace } from "./SqlProblem.js"

export interface Tables {
  readonly entries: string
  readonly leases: string
  readonly migrations: string
}

export const tables = (prefix: string): Tables => ({
  entries: `${prefix}_entries`,
  leases: `${prefix}_leases`,
  migrations: `${prefix}_migrations`
})

/**
 * `record` is null where the entry was removed: its row stays, so that its version and its fence go on
 * rising. `owner` is null where nobody holds the lease. `fence`: the highest one written, or granted.
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

const migrations = (sql: SqlClient.SqlClient, names: Tables): ReadonlyArray<Migrator.ResolvedMigration> => [
  [1, "entries_and_leases", Effect.succeed(first(sql, names))],
  [2, "due", Effect.succeed(SqlIndex.migration(sql, names))]
]

/** Another process may be at the same migration: who loses that race looks again. */
const attempts = 10

/** Brings the tables to this version. `fails` sorts what the client says. */
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
    // A migration that fails, and a transaction that cannot be ended, come as defects.
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
          message: `The tables of ${database} are at version ${version}, this one knows ${newest}: upgrade @latchkey.`
        })
      }
      const migrated = yield* Effect.either(migrate)
      if (Either.isLeft(migrated) && (left === 0 || !isRace(migrated.left))) return yield* migrated.left
      if (Either.isLeft(migrated)) yield* pause(25)
      return yield* settle(left - 1)
    })
  return settle(attempts)
}
