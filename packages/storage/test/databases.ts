/** The stores of a database, as the tests and their child processes open them. */
import * as Postgres from "@latchkey/storage/Postgres"
import * as Redis from "@latchkey/storage/Redis"
import * as Sql from "@latchkey/storage/Sql"
import * as Sqlite from "@latchkey/storage/Sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { account } from "./jobs.js"

export interface Database {
  readonly kind: "sqlite" | "postgres" | "redis"
  /** Of the database file, or of the server. */
  readonly location: string
  /** Sets this store apart from others there. */
  readonly name: string
}

export const open = ({ kind, location, name }: Database) =>
  Effect.gen(function* () {
    if (kind === "redis") {
      const connection = yield* Layer.build(Redis.layerConnection({ server: location }))
      return yield* Effect.provide(Redis.make({ account, prefix: name }), connection)
    }
    const client =
      kind === "sqlite"
        ? Sqlite.layerClient({ filename: location })
        : Postgres.layerClient({ url: Redacted.make(location), maxConnections: 2 })
    return yield* Effect.provide(Sql.make({ account, tables: name }), yield* Layer.build(client))
  })
