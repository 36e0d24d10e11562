/** Clients of databases: where the editions of Effect differ in them. */
import type { PgPoolConfig } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as SqlClient from "effect/sql/SqlClient"
import { SqlError, UnknownError } from "effect/sql/SqlError"

/** The settings of a pool of connections to PostgreSQL. */
export type PgSettings = PgPoolConfig

/** Where a server is. */
export interface Place {
  readonly host?: string | undefined
  readonly port?: string | number | undefined
  readonly database?: string | undefined
}

/** Returns where a client's server is. It is in the name of a lease, so both editions must return the same. */
export const placeOf = ({ database, host, port, url }: PgPoolConfig): Place => {
  const named: Place = url === undefined ? {} : placeIn(Redacted.value(url))
  return {
    host: host ?? named.host,
    port: port ?? named.port,
    database: database ?? named.database
  }
}

/** As `pg` reads it: the client of Effect 4 leaves its URL to `pg`. */
const placeIn = (url: string): Place => {
  if (url.startsWith("/")) {
    const [host, database] = url.split(" ")
    return { host, database }
  }
  const isWhole = URL.canParse(url)
  const { hostname, pathname, port, protocol, searchParams } = new URL(
    isWhole ? url : url.replace("@/", "@none/"),
    "postgres://base"
  )
  const given = (name: string) => searchParams.get(name) || undefined
  return protocol === "socket:"
    ? { host: decodeURI(pathname), database: given("db") }
    : {
        host: given("host") ?? (isWhole && hostname !== "" ? decodeURIComponent(hostname) : undefined),
        port: (given("port") ?? port) || undefined,
        database: decodeURI(pathname.slice(1)) || undefined
      }
}

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
