import * as Entry from "@latchkey/core/Entry"
import * as File from "@latchkey/storage/File"
import { Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import { vi } from "vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs"
import * as Path from "node:path"
import { freshPath } from "./fixtures.js"
import { type Plan, withFaults } from "./support/faultyFs.js"

vi.mock("node:fs/promises", async (original) => {
  const { faulty } = await import("./support/faultyFs.js")
  return faulty(await original())
})

const numberOf = (text: string): number => Number(/access-(\d+)/.exec(JSON.parse(text).accessToken)?.[1])

/** What the backups hold, the oldest first; one that is not whole is no backup. */
const backupsOf = (path: string): ReadonlyArray<number> =>
  fs
    .readdirSync(Path.dirname(path))
    .filter((name) => name.includes(".backup-"))
    .sort()
    .map((name) => numberOf(fs.readFileSync(Path.join(Path.dirname(path), name), "utf8")))

/** A file with the third state in it, and the first two kept. */
const thirdState = Effect.gen(function* () {
  const path = yield* freshPath
  const { storage } = yield* File.make({ path, backups: 2, lockTimeout: "50 millis" })
  yield* commitNext(storage, 1)
  yield* commitNext(storage, 2)
  yield* commitNext(storage, 3)
  return { path, storage }
})

const commitNext = (storage: File.File["storage"], n: number) =>
  Effect.gen(function* () {
    const loaded = yield* storage.load
    const expected = Option.map(loaded, ({ version }) => version)
    return yield* storage.commit(new Entry.Entry({ ...Sample.plain(`${n}`), generation: n }), expected)
  })

const stateOf = (storage: File.File["storage"]) =>
  Effect.map(storage.load, (loaded) => {
    const { entry } = Option.getOrThrow(loaded)
    return Number(Redacted.value(entry.credentials.accessToken).slice("access-".length))
  })

const codes = ["ENOSPC", "EIO", "EROFS"]

/** Where the file is a mount point: every rename over it is refused. */
const mounted =
  (path: string, faults: Plan): Plan =>
  (call, number) =>
    call.name === "rename" && call.path === path ? "EBUSY" : faults(call, number)

describe.each([
  { what: "that is replaced", isMounted: false },
  { what: "that is written in place", isMounted: true }
])("a commit to a file $what", ({ isMounted }) => {
  const planFor = (path: string, faults: Plan): Plan => (isMounted ? mounted(path, faults) : faults)

  it.live.each(codes.flatMap((code) => [true, false].map((forGood) => ({ code, forGood }))))(
    "in which any one step fails ($code, for good: $forGood) undoes nothing that was good (F51)",
    ({ code, forGood }) =>
      Effect.gen(function* () {
        let failures = 0
        for (let step = 1; ; step++) {
          const { path, storage } = yield* thirdState
          const faults = withFaults(
            planFor(path, (_, number) => (number === step || (forGood && number > step) ? code : undefined))
          )
          const outcome = yield* Effect.either(commitNext(storage, 4))
          const calls = faults.end()
          const { storage: fresh } = yield* File.make({ path })
          const state = yield* stateOf(fresh)
          const kept = backupsOf(path)
          const at = `step ${step} of ${calls}, ${code}`
          if (state === 3)
            assert.deepStrictEqual(
              kept.filter((n) => n < 3),
              [1, 2],
              at
            )
          else assert.includeMembers([...kept], [2, 3], at)
          if (Either.isRight(outcome)) assert.strictEqual(state, 4, at)
          else {
            failures++
            assert.include(outcome.left, { _tag: "StorageError" }, at)
            assert.include(outcome.left.message, code, at)
            assert.include(outcome.left.message, path, at)
          }
          // It goes on from there as if nothing had been.
          yield* commitNext(fresh, 5)
          yield* commitNext(yield* Effect.map(File.make({ path, backups: 2 }), (f) => f.storage), 6)
          assert.strictEqual(yield* stateOf(fresh), 6)
          assert.lengthOf(backupsOf(path), 2)
          assert.isEmpty(
            fs.readdirSync(Path.dirname(path)).filter((name) => /tmp$|journal$/.test(name)),
            at
          )
          if (calls < step) break
        }
        assert.isAbove(failures, 5)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live("that fails again and again keeps every backup (F51)", () =>
    Effect.gen(function* () {
      const { path, storage } = yield* thirdState
      for (let times = 0; times < 3; times++) {
        const full = withFaults(
          planFor(path, ({ name }) => (name.startsWith("write") ? "ENOSPC" : undefined))
        )
        const failed = yield* Effect.flip(commitNext(storage, 4))
        full.end()
        assert.include(failed.message, "make room")
        assert.deepStrictEqual(backupsOf(path), [1, 2])
        assert.strictEqual(yield* stateOf(storage), 3)
      }
    }).pipe(Effect.scoped)
  )
})
