/**
 * A database in the form that the storage and the leases use: statements with a time limit and typed
 * failures.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment, Identifier } from "@effect/sql/Statement"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Batcher from "./Batcher.js"
import { bounded } from "./Bounded.js"
import { ServerProblem } from "./ServerProblem.js"
import { fromClient } from "./SqlProblem.js"
import * as SqlSchema from "./SqlSchema.js"
import * as SqlTables from "./SqlTables.js"

export type Dialect = "sqlite" | "pg"

export interface Session {
  readonly sql: SqlClient.SqlClient
  readonly dialect: Dialect
  readonly tables: SqlTables.Tables
  /** For people and for messages. */
  readonly location: string
  /** Runs statements once the tables exist, outside any transaction of the caller. */
  readonly run: <A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, ServerProblem>
  /** A text column as bytes, because some drivers crash the process on text that is not UTF-8. */
  readonly bytes: (column: Fragment | Identifier) => Fragment
  /** The time for leases, in epoch milliseconds: the server's, or this host's clock for a file. */
  readonly now: Effect.Effect<Fragment>
}

export interface Settings {
  readonly prefix: string
  readonly timeoutMillis: number
  readonly location: string
}

export const make = (client: SqlClient.SqlClient, dialect: Dialect, settings: Settings): Session => {
  const { location, prefix, timeoutMillis } = settings
  // The columns keep their names.
  const sql = client.withoutTransforms()
  const tables = SqlTables.tables(prefix)
  const fails = fromClient(location)
  let ready = false
  const ensure = Effect.suspend(() =>
    ready
      ? Effect.void
      : Effect.tap(SqlSchema.ensure(sql, tables, fails, location), () => {
          ready = true
        })
  )
  const late = () =>
    new ServerProblem({
      reason: "Unavailable",
      message: `${location} did not answer within ${timeoutMillis} ms: check whether it hangs, or try again.`
    })
  return {
    sql,
    dialect,
    tables,
    location,
    run: (statement) =>
      Effect.andThen(ensure, Effect.mapError(statement, fails)).pipe(
        outside,
        // The client's own spans end with its own errors, which may quote stored data.
        Effect.withTracerEnabled(false),
        (call) => bounded(call, timeoutMillis, late)
      ),
    bytes: (column) => (dialect === "pg" ? sql`convert_to(${column}, 'UTF8')` : sql`CAST(${column} AS BLOB)`),
    now:
      dialect === "pg"
        ? Effect.succeed(sql.literal("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"))
        : Effect.map(Clock.currentTimeMillis, (now) => sql`CAST(${now} AS BIGINT)`)
  }
}

/** An acknowledged write must not depend on whether a transaction of the caller commits. */
const outside = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.mapInputContext(effect, (context: Context.Context<never>) =>
    Context.omit(SqlClient.TransactionConnection)(context as Context.Context<SqlClient.TransactionConnection>)
  )

/** Combines concurrent requests into one statement. Each record that goes with it may have the maximum length. */
export const batched = <K, A>(
  ask: (keys: ReadonlyArray<K>) => Effect.Effect<ReadonlyArray<A>, ServerProblem>
): ((key: K) => Effect.Effect<A, ServerProblem>) =>
  Batcher.make({ most: 128, ask, isOfOne: ({ reason }) => reason !== "Unavailable" })

export const textOf = (value: unknown): string => new TextDecoder().decode(SqlTables.bytesOf(value))
