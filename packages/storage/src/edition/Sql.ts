/** Clients of databases: where the editions of Effect differ in them. */
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"

/** The settings of a pool of connections to PostgreSQL. */
export type PgSettings = PgClientConfig

/** Where a server is. */
export interface Place {
  readonly host?: string | undefined
  readonly port?: string | number | undefined
  readonly database?: string | undefined
}

/** Returns where a client's server is. It is in the name of a lease, so both editions must return the same. */
export const placeOf = (config: PgSettings): Place => config

/** Creates the error of a failed statement. */
export const sqlError = (cause: unknown, message = "Failed to execute statement"): SqlError =>
  new SqlError({ cause, message })

/** Returns the driver's own error. */
export const causeOf = (error: SqlError): unknown => error.cause

/** Runs statements outside the transaction that the caller may have opened on this client. */
export const outsideTransaction =
  (_client: SqlClient.SqlClient) =>
  <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.mapInputContext(effect, (context: Context.Context<never>) =>
      Context.omit(SqlClient.TransactionConnection)(
        context as Context.Context<SqlClient.TransactionConnection>
      )
    )

/** The password of a client's connections. */
export const passwordOf = ({ password }: PgClientConfig): Effect.Effect<Redacted.Redacted | undefined> =>
  Effect.succeed(password)
