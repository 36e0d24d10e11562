import * as File from "@latchkey/storage/File"
import * as Redis from "@latchkey/storage/Redis"
import * as Postgres from "@latchkey/storage/Postgres"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import { Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import * as Path from "node:path"
import { describeWith } from "../../../.ci/describeWith.js"
import { postgres, redis } from "../../../.ci/programs.js"
import { freshDirectory } from "./fixtures.js"
import * as PostgresServer from "./support/PostgresServer.js"
import * as RedisServer from "./support/RedisServer.js"

/** What this process has open: files, pipes, sockets. */
const openNow = (): ReadonlyArray<string> =>
  fs.readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      return [fs.readlinkSync(`/proc/self/fd/${descriptor}`)]
    } catch {
      // That of the listing itself.
      return []
    }
  })

/** A layer is built, used in every way, and released. */
const round = <E>(layer: Layer.Layer<TokenStorage | RefreshLease, E>) =>
  Effect.gen(function* () {
    const storage = yield* TokenStorage
    const lease = yield* RefreshLease
    yield* Effect.scoped(
      Effect.gen(function* () {
        const { fence } = yield* lease.acquire("me", "1 minute")
        yield* Effect.flip(lease.acquire("me", "1 minute"))
        const loaded = yield* storage.load
        yield* storage.commit(
          { ...Sample.plain("1"), fence },
          Option.map(loaded, ({ version }) => version)
        )
      })
    )
    yield* Effect.flip(storage.commit(Sample.plain("2"), Option.none()))
    const changes = Option.getOrElse(storage.changes, () => Stream.never)
    yield* Effect.timeoutOption(Stream.runDrain(changes), "1 millis")
    yield* storage.remove
  }).pipe(Effect.provide(Layer.fresh(layer)), Effect.scoped)

/** Every round leaves as many open as the one before. */
const leavesNothing = <E>(layer: Layer.Layer<TokenStorage | RefreshLease, E>, rounds: number) =>
  Effect.gen(function* () {
    yield* round(layer)
    yield* round(layer)
    const before = openNow()
    for (let left = rounds; left > 0; left--) yield* round(layer)
    const after = openNow()
    assert.isAtMost(after.length, before.length + 4, `${after.join("\n")}`)
  })

describe.runIf(process.platform === "linux")("a layer leaves nothing open (F54)", () => {
  it.live("of a file", () =>
    Effect.gen(function* () {
      yield* leavesNothing(File.layer({ path: Path.join(yield* freshDirectory, "c.json"), backups: 1 }), 25)
    }).pipe(Effect.scoped)
  )

  it.live("of SQLite", () =>
    Effect.gen(function* () {
      const filename = Path.join(yield* freshDirectory, "c.db")
      yield* leavesNothing(Sqlite.layer({ filename, account: "me" }), 50)
    }).pipe(Effect.scoped)
  )

  describeWith(redis, "of a server in memory", () => {
    it.live("of Redis", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer.make()
        yield* leavesNothing(Redis.layer({ server: url, account: "me" }), 10)
      }).pipe(Effect.scoped)
    )
  })
  describeWith(postgres, "of a database server", () => {
    it.live("of PostgreSQL", () =>
      Effect.gen(function* () {
        const { url } = yield* PostgresServer.make
        yield* leavesNothing(Postgres.layer({ client: { url: Redacted.make(url) }, account: "me" }), 10)
      }).pipe(Effect.scoped)
    )
  })
})
