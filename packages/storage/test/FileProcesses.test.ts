import * as Entry from "@latchkey/core/Entry"
import * as File from "@latchkey/storage/File"
import { Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { freshPath, spawn } from "./fixtures.js"

const beside = (path: string) => Effect.promise(async () => (await fs.readdir(Path.dirname(path))).sort())
/** A second where nothing else runs, which the `lease` campaign measures; a busy machine takes longer. */
const within = 10_000

const range = (n: number) => Array.from({ length: n }, (_, i) => i)

describe("a file that many processes use", () => {
  it.live("loses no increment of 5 processes", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const children = yield* Effect.forEach(range(5), () => spawn({ path, do: "increment", times: 25 }))
      for (const child of children) assert.strictEqual(yield* child.exit, 0)
      const { storage } = yield* File.make({ path })
      assert.strictEqual(Option.getOrThrow(yield* storage.load).entry.generation, 125)
      assert.deepStrictEqual(yield* beside(path), ["credentials.json", "credentials.json.latchkey.lock"])
    }).pipe(Effect.scoped)
  )

  const seed = 20_240_601
  it.live(`keeps every acknowledged commit through SIGKILL, and tears none (seed ${seed})`, () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const { storage } = yield* File.make({ path })
      for (const _ of range(5)) {
        const child = yield* spawn({ path, do: "write" })
        yield* child.line
        yield* Effect.sleep(yield* Random.nextIntBetween(1, 80))
        yield* child.send("SIGKILL")
        const acknowledged = (yield* child.rest).map(Number)
        const loaded = Option.getOrThrow(yield* storage.load)
        assert.isAtLeast(loaded.entry.generation, Math.max(0, ...acknowledged))
      }
      const { entry, version } = Option.getOrThrow(yield* storage.load)
      yield* storage.commit(entry, Option.some(version))
      assert.deepStrictEqual(yield* beside(path), ["credentials.json", "credentials.json.latchkey.lock"])
    }).pipe(Effect.withRandom(Random.make(seed)), Effect.scoped)
  )

  it.live("has one lease holder at a time among 4 processes, and fences that rise", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const children = yield* Effect.forEach(range(4), () =>
        spawn({ path, do: "contend", times: 10, ttl: 30_000 })
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
      assert.strictEqual(new Set(fences).size, 40)
      const { storage } = yield* File.make({ path })
      const { entry } = Option.getOrThrow(yield* storage.load)
      assert.strictEqual(entry.generation, 40)
      assert.strictEqual(entry.fence, Math.max(...fences))
    }).pipe(Effect.scoped)
  )

  it.live("takes the lease of a killed process at once, however long its ttl", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const { lease } = yield* File.make({ path })
      const child = yield* spawn({ path, do: "hold", ttl: 3_600_000 })
      const { fence } = Option.getOrThrow(yield* child.line) as { readonly fence: number }
      const busy = yield* Effect.flip(lease.acquire("me", 1_000))
      assert.strictEqual(busy.reason, "Busy")
      assert.include(busy.holder, `process ${child.pid} on `)
      yield* child.send("SIGKILL")
      yield* child.exit
      const before = yield* Clock.currentTimeMillis
      const mine = yield* lease.acquire("me", 1_000)
      assert.isBelow((yield* Clock.currentTimeMillis) - before, within)
      assert.isAbove(mine.fence, fence)
    }).pipe(Effect.scoped)
  )

  it.live("refuses the commit of a process that was stopped beyond its lease", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const { storage, lease } = yield* File.make({ path })
      const start = yield* storage.commit(Sample.plain("start"), Option.none())
      const child = yield* spawn({ path, do: "hold", ttl: 2_000 })
      yield* child.line
      yield* child.send("SIGSTOP")
      const before = yield* Clock.currentTimeMillis
      const early = yield* Effect.either(Effect.scoped(lease.acquire("me", 2_000)))
      const took = (yield* Clock.currentTimeMillis) - before
      assert.isTrue(took > 1_000 || (Either.isLeft(early) && early.left.reason === "Busy"))
      yield* Effect.sleep(2_100)
      const { fence } = yield* lease.acquire("me", 60_000)
      yield* child.send("SIGCONT")
      yield* child.nudge
      const [late] = yield* child.rest
      assert.include(late, { _tag: "CommitRefused", reason: "Fenced" })
      const mine = new Entry.Entry({ ...Sample.plain("mine"), fence })
      yield* storage.commit(mine, Option.some(start))
    }).pipe(Effect.scoped)
  )
})
