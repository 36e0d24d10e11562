import * as Entry from "@latchkey/core/Entry"
import { Sample } from "@latchkey/storage/testing"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import { type Database, open } from "./databases.js"
import { freshDirectory, spawn } from "./fixtures.js"
import { account } from "./jobs.js"
import { describeWith } from "../../../.ci/describeWith.js"
import { postgres, type Program, redis } from "../../../.ci/programs.js"
import * as PostgresServer from "./support/PostgresServer.js"
import * as RedisServer from "./support/RedisServer.js"

/** A second where nothing else runs, which the `lease` campaign measures; a busy machine takes longer. */
const within = 10_000

const range = (n: number) => Array.from({ length: n }, (_, i) => i)

interface Kind {
  readonly kind: Database["kind"]
  readonly program: Program
  /** Where all stores of these tests are; none where each has a file of its own. */
  readonly server: Effect.Effect<string | undefined, never, Scope.Scope>
  /** How many processes work at once, and how often each: processes that start are what takes long here. */
  readonly processes: number
  readonly times: number
  readonly kills: number
  readonly holders: number
}

const url = Effect.map((server: { readonly url: string }) => server.url)
const kinds: ReadonlyArray<Kind> = [
  {
    kind: "sqlite",
    program: { path: process.execPath, missing: undefined },
    server: Effect.succeed(undefined),
    processes: 4,
    times: 25,
    kills: 2,
    holders: 3
  },
  {
    kind: "postgres",
    program: postgres,
    server: url(PostgresServer.make),
    processes: 4,
    times: 15,
    kills: 1,
    holders: 2
  },
  {
    kind: "redis",
    program: redis,
    server: url(RedisServer.make()),
    processes: 3,
    times: 15,
    kills: 1,
    holders: 2
  }
]

describe.each(kinds)("many processes on $kind", ({ kind, program, server, ...much }) => {
  const { processes, times, kills, holders } = much
  const scope = Effect.runSync(Scope.make())
  let location: string | undefined
  let serial = 0
  beforeAll(async () => {
    if (program.missing === undefined) location = await Effect.runPromise(Scope.extend(server, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const fresh = Effect.map(freshDirectory, (directory) => ({
    path: Path.join(directory, "store"),
    database: {
      kind,
      location: location ?? Path.join(directory, "credentials.db"),
      name: `t${++serial}`
    }
  }))

  describeWith(program, "share one store", () => {
    it.live(`and lose no increment of ${processes}`, () =>
      Effect.gen(function* () {
        const { path, database } = yield* fresh
        const children = yield* Effect.forEach(range(processes), () =>
          spawn({ path, do: "increment", times }, database)
        )
        for (const child of children) assert.strictEqual(yield* child.exit, 0)
        const { storage } = yield* open(database)
        assert.strictEqual(Option.getOrThrow(yield* storage.load).entry.generation, processes * times)
      }).pipe(Effect.scoped)
    )

    const seed = 20_240_602
    it.live(`and keep every acknowledged commit through SIGKILL (seed ${seed})`, () =>
      Effect.gen(function* () {
        const { path, database } = yield* fresh
        const { storage } = yield* open(database)
        for (const _ of range(kills)) {
          const child = yield* spawn({ path, do: "write" }, database)
          yield* child.line
          yield* Effect.sleep(yield* Random.nextIntBetween(1, 80))
          yield* child.send("SIGKILL")
          const acknowledged = (yield* child.rest).map(Number)
          const loaded = Option.getOrThrow(yield* storage.load)
          assert.isAtLeast(loaded.entry.generation, Math.max(0, ...acknowledged))
        }
        const { entry, version } = Option.getOrThrow(yield* storage.load)
        yield* storage.commit(entry, Option.some(version))
      }).pipe(Effect.withRandom(Random.make(seed)), Effect.scoped)
    )

    it.live("with one lease holder at a time, and fences that rise", () =>
      Effect.gen(function* () {
        const { path, database } = yield* fresh
        const children = yield* Effect.forEach(range(holders), () =>
          spawn({ path, do: "contend", times: 8, ttl: 30_000 }, database)
        )
        const fences: Array<number> = []
        for (const child of children) {
          const said = (yield* child.rest).map(Number)
          assert.deepStrictEqual(
            said,
            [...said].sort((a, b) => a - b)
          )
          fences.push(...said)
          assert.strictEqual(yield* child.exit, 0)
        }
        assert.strictEqual(new Set(fences).size, holders * 8)
        const { storage } = yield* open(database)
        const { entry } = Option.getOrThrow(yield* storage.load)
        assert.strictEqual(entry.generation, holders * 8)
        assert.strictEqual(entry.fence, Math.max(...fences))
      }).pipe(Effect.scoped)
    )

    it.live("and take the lease of a killed one at once, however long its ttl", () =>
      Effect.gen(function* () {
        const { path, database } = yield* fresh
        const { lease } = yield* open(database)
        const child = yield* spawn({ path, do: "hold", ttl: 3_600_000 }, database)
        const { fence } = Option.getOrThrow(yield* child.line) as { readonly fence: number }
        const busy = yield* Effect.flip(lease.acquire(account, 1_000))
        assert.strictEqual(busy.reason, "Busy")
        assert.include(busy.holder, `process ${child.pid} on `)
        yield* child.send("SIGKILL")
        yield* child.exit
        const before = yield* Clock.currentTimeMillis
        const mine = yield* lease.acquire(account, 1_000)
        assert.isBelow((yield* Clock.currentTimeMillis) - before, within)
        assert.isAbove(mine.fence, fence)
      }).pipe(Effect.scoped)
    )

    it.live("and refuse the commit of one that was stopped beyond its lease", () =>
      Effect.gen(function* () {
        const { path, database } = yield* fresh
        const { storage, lease } = yield* open(database)
        const start = yield* storage.commit(Sample.plain("start"), Option.none())
        const child = yield* spawn({ path, do: "hold", ttl: 2_000 }, database)
        yield* child.line
        yield* child.send("SIGSTOP")
        const before = yield* Clock.currentTimeMillis
        const early = yield* Effect.either(Effect.scoped(lease.acquire(account, 2_000)))
        const took = (yield* Clock.currentTimeMillis) - before
        assert.isTrue(took > 1_000 || (Either.isLeft(early) && early.left.reason === "Busy"))
        yield* Effect.sleep(2_100)
        const { fence } = yield* lease.acquire(account, 60_000)
        yield* child.send("SIGCONT")
        yield* child.nudge
        const [late] = yield* child.rest
        assert.include(late, { _tag: "CommitRefused", reason: "Fenced" })
        yield* storage.commit(new Entry.Entry({ ...Sample.plain("mine"), fence }), Option.some(start))
      }).pipe(Effect.scoped)
    )
  })
})
