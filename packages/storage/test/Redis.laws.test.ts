import * as Redis from "@latchkey/storage/Redis"
import { FencingLaws, HistoryLaws, LeaseLaws, RecordLaws, StorageLaws } from "@latchkey/storage/testing"
import { afterAll, beforeAll, it } from "@effect/vitest"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Redis as Client } from "ioredis"
import { describeWith } from "../../../.ci/describeWith.js"
import { redis } from "../../../.ci/programs.js"
import * as RedisServer from "./support/RedisServer.js"

const scope = Effect.runSync(Scope.make())
let connections: readonly [
  Context.Context<Redis.RedisConnection>,
  Context.Context<Redis.RedisConnection>,
  Client
]
let serial = 0

/** Two connections to one server; each law has an account of its own. */
const handles = Effect.gen(function* () {
  const account = `${++serial}@example.com`
  const open = (index: 0 | 1) => Effect.provide(Redis.make({ account }), connections[index])
  return { account, first: yield* open(0), second: yield* open(1) }
})

const stores = Effect.map(handles, ({ first, second }) => ({ first: first.storage, second: second.storage }))
const leases = Effect.suspend(() => {
  const prefix = `leases-${++serial}`
  const open = (index: 0 | 1) => Effect.provide(Redis.makeLease({ prefix }), connections[index])
  return Effect.all({ first: open(0), second: open(1) })
})
const record = Effect.map(handles, ({ account, first }) => {
  const key = `latchkey:{${account}}`
  return {
    storage: first.storage,
    write: (bytes: Uint8Array) =>
      Effect.promise(() => connections[2].hset(key, "record", Buffer.from(bytes))),
    read: Effect.promise(() => connections[2].hgetBuffer(key, "record")).pipe(
      Effect.map((bytes) => bytes ?? new Uint8Array())
    )
  }
})

describeWith(
  redis,
  "Redis",
  () => {
    beforeAll(() =>
      Effect.runPromise(
        Effect.gen(function* () {
          const { url } = yield* RedisServer.make()
          const open = Layer.build(Layer.fresh(Redis.layerConnection({ server: url })))
          const client = yield* Effect.acquireRelease(
            Effect.sync(() => new Client(url)),
            (c) => Effect.sync(() => c.disconnect())
          )
          connections = [yield* open, yield* open, client]
        }).pipe(Scope.extend(scope))
      )
    )
    afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

    const laws = [
      ...StorageLaws.laws({ make: stores, changes: true }),
      ...HistoryLaws.laws({ make: stores, histories: 10 }),
      ...LeaseLaws.laws({ make: leases, bearsWrongClocks: true }),
      ...FencingLaws.laws({ make: handles }),
      ...RecordLaws.laws({ make: record })
    ]
    it.live.each(laws)("$name", (law) => law.effect)
  },
  { concurrent: true }
)
