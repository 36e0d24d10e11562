/**
 * The stores of a database, as the tests and their child processes open them. A child loads only the client that it
 * uses.
 */
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
      const Redis = yield* Effect.promise(() => import("@latchkey/storage/Redis"))
      const connection = yield* Layer.build(Redis.layerConnection({ server: location }))
      return yield* Effect.provide(Redis.make({ account, prefix: name }), connection)
    }
    const Sql = yield* Effect.promise(() => import("@latchkey/storage/Sql"))
    const client =
      kind === "sqlite"
        ? (yield* Effect.promise(() => import("@latchkey/storage/Sqlite"))).layerClient({
            filename: location
          })
        : (yield* Effect.promise(() => import("@latchkey/storage/Postgres"))).layerClient({
            url: Redacted.make(location),
            maxConnections: 2
          })
    return yield* Effect.provide(Sql.make({ account, tables: name }), yield* Layer.build(client))
  })
