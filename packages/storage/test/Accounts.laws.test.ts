/**
 * The index of accounts: the same laws in memory, SQLite, PostgreSQL and Redis, in clear text and encrypted.
 */
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as Encrypted from "@latchkey/storage/Encrypted"
import * as Postgres from "@latchkey/storage/Postgres"
import * as Redis from "@latchkey/storage/Redis"
import * as Sql from "@latchkey/storage/Sql"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { AccountLaws } from "@latchkey/storage/testing"
import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import { describeWith } from "../../../.ci/describeWith.js"
import { postgres, redis } from "../../../.ci/programs.js"
import { freshDirectory } from "./fixtures.js"
import { withKeys } from "./keys.js"
import * as PostgresServer from "./support/PostgresServer.js"
import * as RedisServer from "./support/RedisServer.js"

const twice = <E, R>(handle: Effect.Effect<AccountLaws.Stores["first"], E, R>) =>
  Effect.map(Effect.all([handle, handle]), ([first, second]) => ({ first, second }))

const storagesOf = <E, R>(layer: Layer.Layer<TokenStorages.TokenStorages, E, R>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), Context.get(TokenStorages.TokenStorages))

const memory = Effect.map(TokenStorages.makeMemory(), (storages) => ({ first: storages, second: storages }))

const encrypted = (inner: Layer.Layer<TokenStorages.TokenStorages>) =>
  withKeys("key")(storagesOf(Layer.provide(Encrypted.layerAccounts({ provider: "laws" }), inner)))

describe("accounts in memory", () => {
  it.live.each(AccountLaws.laws({ make: memory }))("$name", (law) => law.effect)
})

describe("accounts in memory, encrypted", () => {
  const make = Effect.flatMap(TokenStorages.makeMemory(), (storages) =>
    twice(encrypted(Layer.succeed(TokenStorages.TokenStorages, storages)))
  )
  it.live.each(AccountLaws.laws({ make }))("$name", (law) => law.effect)
})

const freshFile = Effect.map(freshDirectory, (directory) => Path.join(directory, "credentials.db"))

describe("accounts in SQLite", () => {
  const make = Effect.flatMap(freshFile, (filename) => twice(storagesOf(Sqlite.layerAccounts({ filename }))))
  it.live.each(AccountLaws.laws({ make }))("$name", (law) => law.effect)
})

describe("tables that were made before there was an index", () => {
  it.live("get one, for the entries that are there", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const client = yield* Layer.build(Sqlite.layerClient({ filename }))
      const sql = Context.get(client, SqlClient.SqlClient)
      const { storages } = yield* Effect.provide(Sql.makeAccounts(), client)
      for (const law of ["one", "two"]) {
        const storage = yield* storages.of(law)
        yield* storage.commit(AccountLaws.entryOf(law, 1_800_000_000_000), Option.none())
      }
      // As the first version made them.
      yield* sql`DROP INDEX latchkey_entries_due`
      yield* sql`ALTER TABLE latchkey_entries DROP COLUMN due`
      yield* sql`ALTER TABLE latchkey_entries DROP COLUMN state`
      yield* sql`INSERT INTO latchkey_entries (account, version, fence, record) VALUES ('damaged', 1, 1, '{')`
      yield* sql`DELETE FROM latchkey_migrations WHERE migration_id > 1`
      const later = yield* storagesOf(Sqlite.layerAccounts({ filename }))
      const due = yield* later.due({ before: 1_900_000_000_000, limit: 10 })
      assert.deepStrictEqual(due, [
        { account: "one", dueAt: 1_800_000_000_000 },
        { account: "two", dueAt: 1_800_000_000_000 }
      ])
      assert.strictEqual(yield* later.count, 3)
    }).pipe(Effect.scoped)
  )
})

const scope = Effect.runSync(Scope.make())
let serial = 0

describeWith(postgres, "accounts in PostgreSQL", () => {
  let url = ""
  beforeAll(async () => {
    url = (await Effect.runPromise(Scope.extend(PostgresServer.make, scope))).url
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const make = Effect.suspend(() => {
    const tables = `t${++serial}`
    const client = { url: Redacted.make(url), maxConnections: 4 }
    return twice(storagesOf(Postgres.layerAccounts({ client, tables })))
  })
  it.live.each(AccountLaws.laws({ make }))("$name", (law) => law.effect)
})

describeWith(redis, "accounts in Redis", () => {
  const make = Effect.flatMap(RedisServer.make(), ({ url }) =>
    twice(storagesOf(Redis.layerAccounts({ server: url })))
  )
  it.live.each(AccountLaws.laws({ make }))("$name", (law) => law.effect)
})
