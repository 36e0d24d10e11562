import * as Sqlite from "@latchkey/storage/Sqlite"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import * as Path from "node:path"
import { here } from "../src/internal/LeaseFile.js"
import * as Sql from "../src/Sql.js"
import { freshDirectory } from "./fixtures.js"

const account = "me"
const tenYears = 10 * 365 * 86_400_000
const id = "0f".repeat(16)

/** A database in which a lease was left, and those who wait for it. */
const leftBy = (owner: string, expires: number) =>
  Effect.gen(function* () {
    const filename = Path.join(yield* freshDirectory, "grants.db")
    const context = yield* Layer.build(Sqlite.layerClient({ filename }))
    const lease = Context.get(
      yield* Layer.build(Layer.provide(Sql.layerLease(), Layer.succeedContext(context))),
      RefreshLease
    )
    yield* Effect.scoped(lease.acquire(account, "1 minute"))
    const sql = Context.get(context, SqlClient.SqlClient)
    const renew = (until: number) =>
      Effect.orDie(sql`UPDATE latchkey_leases SET owner = ${owner}, holder = 'process 7', expires = ${until}`)
    yield* renew(expires)
    return {
      isBusy: Effect.map(Effect.either(Effect.scoped(lease.acquire(account, "5 seconds"))), Either.isLeft),
      renew
    }
  })

describe("a lease that another client dated", () => {
  it.effect.each([
    { owner: `elsewhere/boot/${id}~60000`, bound: 60_000 },
    { owner: `elsewhere/boot/${id}~500`, bound: 500 },
    { owner: `elsewhere/boot/${id}~999999999999`, bound: 3_600_000 },
    { owner: `elsewhere/boot/${id}`, bound: 3_600_000 },
    { owner: "anything", bound: 3_600_000 }
  ])("years ahead counts for its ttl from when it was first seen: $owner (F55)", ({ owner, bound }) =>
    Effect.gen(function* () {
      const { isBusy, renew } = yield* leftBy(owner, tenYears)
      assert.isTrue(yield* isBusy)
      yield* TestClock.setTime(bound - 1)
      assert.isTrue(yield* isBusy)
      yield* renew(tenYears + 1)
      yield* TestClock.setTime(bound)
      assert.isTrue(yield* isBusy)
      yield* TestClock.setTime(2 * bound - 1)
      assert.isTrue(yield* isBusy)
      yield* TestClock.setTime(2 * bound)
      assert.isFalse(yield* isBusy)
    }).pipe(Effect.scoped)
  )

  it.effect.runIf(here.boot !== "")("in an earlier boot of this host counts for nothing (F55)", () =>
    Effect.gen(function* () {
      const { isBusy } = yield* leftBy(`${here.host}/an earlier boot/${id}~60000`, tenYears)
      assert.isFalse(yield* isBusy)
    }).pipe(Effect.scoped)
  )
})
