import * as Sql from "@latchkey/storage/Sql"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { FencingLaws, HistoryLaws, LeaseLaws, RecordLaws, StorageLaws } from "@latchkey/storage/testing"
import * as SqlClient from "@effect/sql/SqlClient"
import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Path from "node:path"
import { freshDirectory } from "./fixtures.js"

const account = "me@example.com"

const open = (filename: string) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Sqlite.layerClient({ filename }))
    const handle = yield* Effect.provide(Sql.make({ account }), context)
    return { ...handle, sql: Context.get(context, SqlClient.SqlClient) }
  })

const handles = Effect.gen(function* () {
  const filename = Path.join(yield* freshDirectory, "credentials.db")
  return { first: yield* open(filename), second: yield* open(filename) }
})

const stores = Effect.map(handles, ({ first, second }) => ({ first: first.storage, second: second.storage }))
const leases = Effect.map(handles, ({ first, second }) => ({ first: first.lease, second: second.lease }))
const fenced = Effect.map(handles, ({ first, second }) => ({ first, second, account }))
const record = Effect.map(handles, ({ first: { sql, storage } }) => ({
  storage,
  write: (bytes: Uint8Array) =>
    Effect.orDie(sql`UPDATE latchkey_entries SET record = CAST(${Buffer.from(bytes)} AS TEXT)`),
  read: Effect.map(
    Effect.orDie(sql<{ record: ArrayBuffer }>`SELECT CAST(record AS BLOB) AS record FROM latchkey_entries`),
    ([row]) => new Uint8Array(row!.record)
  )
}))

describe.concurrent("SQLite", () => {
  const laws = [
    ...StorageLaws.laws({ make: stores, changes: false }),
    ...HistoryLaws.laws({ make: stores, histories: 8 }),
    ...LeaseLaws.laws({ make: leases, bearsWrongClocks: true }),
    ...FencingLaws.laws({ make: fenced }),
    ...RecordLaws.laws({ make: record })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})
