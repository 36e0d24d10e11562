import * as Postgres from "@latchkey/storage/Postgres"
import * as Sql from "@latchkey/storage/Sql"
import { FencingLaws, HistoryLaws, LeaseLaws, RecordLaws, StorageLaws } from "@latchkey/storage/testing"
import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, beforeAll, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { describeWith } from "../../../.ci/describeWith.js"
import { postgres } from "../../../.ci/programs.js"
import * as PostgresServer from "./support/PostgresServer.js"

const scope = Effect.runSync(Scope.make())
let connect: Effect.Effect<Context.Context<SqlClient.SqlClient | Sql.SqlSurroundings>>
let serial = 0

/** Two pools on one server; each law has an account of its own. */
const handles = Effect.gen(function* () {
  const account = `${++serial}@example.com`
  const open = Effect.flatMap(connections, ([a, b]) =>
    Effect.all([Effect.provide(Sql.make({ account }), a), Effect.provide(Sql.make({ account }), b)])
  )
  const [first, second] = yield* open
  return { account, first, second }
})

const stores = Effect.map(handles, ({ first, second }) => ({ first: first.storage, second: second.storage }))
const leases = Effect.gen(function* () {
  const tables = `leases_${++serial}`
  const [a, b] = yield* connections
  return {
    first: yield* Effect.provide(Sql.makeLease({ tables }), a),
    second: yield* Effect.provide(Sql.makeLease({ tables }), b)
  }
})
const record = Effect.gen(function* () {
  const { account, first } = yield* handles
  const [context] = yield* connections
  const sql = Context.get(context, SqlClient.SqlClient)
  return {
    storage: first.storage,
    write: (bytes: Uint8Array) =>
      Effect.orDie(
        sql`UPDATE latchkey_entries SET record = convert_from(${bytes}, 'UTF8') WHERE account = ${account}`
      ),
    read: Effect.map(
      Effect.orDie(
        sql<{
          record: Uint8Array
        }>`SELECT convert_to(record, 'UTF8') AS record FROM latchkey_entries WHERE account = ${account}`
      ),
      ([row]) => row!.record
    )
  }
})

const connections = Effect.suspend(() => Effect.all([connect, pair]))
let pair: typeof connect

/** Text in PostgreSQL is UTF-8 without NUL. */
const impossible = ["filled with NUL", "NUL in its second half", "not UTF-8", "UTF-16"]

describeWith(
  postgres,
  "PostgreSQL",
  () => {
    beforeAll(() =>
      Effect.runPromise(
        Effect.gen(function* () {
          const server = yield* PostgresServer.make
          const client = Postgres.layerClient({ url: Redacted.make(server.url) })
          connect = Effect.succeed(yield* Layer.build(client))
          pair = Effect.succeed(yield* Layer.build(Layer.fresh(client)))
        }).pipe(Scope.extend(scope))
      )
    )
    afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

    const laws = [
      ...StorageLaws.laws({ make: stores, changes: true }),
      ...HistoryLaws.laws({ make: stores, histories: 8 }),
      ...LeaseLaws.laws({ make: leases, bearsWrongClocks: true }),
      ...FencingLaws.laws({ make: handles }),
      ...RecordLaws.laws({ make: record, except: impossible })
    ]
    it.live.each(laws)("$name", (law) => law.effect)
  },
  { concurrent: true }
)
