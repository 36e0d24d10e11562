/** Clients of databases: where the editions of Effect differ in them. */
import type { PgPoolConfig } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as SqlClient from "effect/sql/SqlClient"
import { SqlError, UnknownError } from "effect/sql/SqlError"

/** The settings of a pool of connections to PostgreSQL. */
export type PgSettings = PgPoolConfig

/** Creates the error of a failed statement. */
export const sqlError = (cause: unknown, message = "Failed to execute statement"): SqlError =>
  new SqlError({ reason: new UnknownError({ cause, message }) })

/** Returns the driver's own error. */
export const causeOf = (error: SqlError): unknown => error.reason.cause

/** Runs statements outside the transaction that the caller may have opened on this client. */
export const outsideTransaction =
  (client: SqlClient.SqlClient) =>
  <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.updateContext(effect, (context: Context.Context<never>) =>
      Context.omit(client.transactionService)(context as Context.Context<SqlClient.TransactionConnection>)
    )

/** The password of a client's connections. */
export const passwordOf = ({
  password
}: Pick<PgPoolConfig, "password">): Effect.Effect<Redacted.Redacted | undefined> =>
  Effect.isEffect(password) ? password : Effect.succeed(password)
