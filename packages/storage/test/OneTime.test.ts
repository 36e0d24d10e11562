/** Values that can be taken once, in each database. */
import { OneTimeStore } from "@latchkey/core/OneTimeStore"
import * as Postgres from "@latchkey/storage/Postgres"
import * as Redis from "@latchkey/storage/Redis"
import * as Sql from "@latchkey/storage/Sql"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as Path from "node:path"
import { describeWith } from "../../../.ci/describeWith.js"
import { postgres, redis } from "../../../.ci/programs.js"
import { freshDirectory } from "./fixtures.js"
import * as PostgresServer from "./support/PostgresServer.js"
import * as RedisServer from "./support/RedisServer.js"

type Store = Context.Tag.Service<OneTimeStore>

/** Two processes that share a database, which was never used before. */
type Two = Effect.Effect<readonly [Store, Store], unknown, Scope.Scope>

const built = <E, R>(layer: Layer.Layer<OneTimeStore, E, R>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, OneTimeStore))

const isTakenOnce = (two: Two) =>
  Effect.gen(function* () {
    const [a, b] = yield* two
    assert.deepStrictEqual(yield* a.take("unknown"), Option.none())
    const all = Array.from({ length: 20 }, (_, i) => `key-${i}`)
    // Both create the table at the same time.
    yield* Effect.forEach(all, (key, i) => (i % 2 === 0 ? a : b).put(key, `value of ${key}`, "1 minute"), {
      concurrency: "unbounded",
      discard: true
    })
    const taken = yield* Effect.forEach(
      all.flatMap((key) => [a, b, a, b].map((store) => ({ key, store }))),
      ({ key, store }) => Effect.map(store.take(key), (value) => ({ key, value })),
      { concurrency: "unbounded" }
    )
    const found = taken.filter(({ value }) => Option.isSome(value))
    assert.deepStrictEqual(found.map(({ key }) => key).sort(), [...all].sort())
    for (const { key, value } of found) assert.deepStrictEqual(value, Option.some(`value of ${key}`))
  })

const refusesMisuse = (two: Two) =>
  Effect.gen(function* () {
    const [a, b] = yield* two
    yield* a.put("key", "first", "1 minute")
    assert.strictEqual((yield* Effect.flip(b.put("key", "second", "1 minute"))).reason, "Malformed")
    for (const never of [0, Infinity, Number.NaN]) {
      assert.strictEqual((yield* Effect.flip(a.put("other", "x", never))).reason, "Malformed")
    }
    assert.deepStrictEqual(yield* b.take("key"), Option.some("first"))
  })

const expires = (two: Two) =>
  Effect.gen(function* () {
    const [a, b] = yield* two
    yield* a.put("short", "x", "50 millis")
    yield* a.put("long", "y", "1 minute")
    // The database's own clock dates them.
    yield* Effect.sleep("200 millis")
    assert.deepStrictEqual(yield* b.take("short"), Option.none())
    assert.deepStrictEqual(yield* b.take("long"), Option.some("y"))
  })

const onSqlite: Two = Effect.gen(function* () {
  const filename = Path.join(yield* freshDirectory, "credentials.db")
  const open = built(Layer.provide(Sql.layerOneTime(), Sqlite.layerClient({ filename })))
  return [yield* open, yield* open] as const
})

describe("SQLite", () => {
  it.scopedLive("gives a value to one of many", () => isTakenOnce(onSqlite))

  it.scopedLive("refuses a key in use and a time that is none", () => refusesMisuse(onSqlite))

  it.scoped("dates by this host's clock", () =>
    Effect.gen(function* () {
      const [a, b] = yield* onSqlite
      yield* a.put("short", "x", "1 minute")
      yield* a.put("long", "y", "2 minutes")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* b.take("short"), Option.none())
      // Removes what has expired, and nothing else.
      yield* b.put("more", "z", "1 minute")
      assert.deepStrictEqual(yield* b.take("long"), Option.some("y"))
    })
  )

  it.scopedLive("leaves the other tables as they are", () =>
    Effect.gen(function* () {
      const filename = Path.join(yield* freshDirectory, "credentials.db")
      const client = Sqlite.layerClient({ filename })
      const store = yield* built(Layer.provide(Sql.layerOneTime(), client))
      yield* store.put("key", "value", "1 minute")
      const { storage } = yield* Effect.provide(Sql.make({ account: "me" }), yield* Layer.build(client))
      assert.deepStrictEqual(yield* storage.load, Option.none())
    })
  )
})

const laws = [isTakenOnce, refusesMisuse, expires]

describeWith(postgres, "PostgreSQL", () => {
  it.scopedLive(
    "gives a value to one of many, refuses misuse, and lets values expire by its own clock",
    () =>
      Effect.gen(function* () {
        const { url } = yield* PostgresServer.make
        for (const [i, law] of laws.entries()) {
          const client = Postgres.layerClient({ url: Redacted.make(url), maxConnections: 4 })
          const open = built(Layer.provide(Sql.layerOneTime({ tables: `t${i}` }), client))
          yield* law(Effect.all([open, open]))
        }
      }),
    60_000
  )
})

describeWith(redis, "Redis", () => {
  it.scopedLive(
    "gives a value to one of many, refuses misuse, and lets values expire by its own clock",
    () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer.make()
        for (const [i, law] of laws.entries()) {
          const connection = Redis.layerConnection({ server: url })
          const open = built(Layer.provide(Redis.layerOneTime({ prefix: `t${i}` }), connection))
          yield* law(Effect.all([open, open]))
        }
      }),
    60_000
  )
})
