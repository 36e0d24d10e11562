import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import * as HolderLiveness from "../src/internal/HolderLiveness.js"
import { here } from "../src/internal/LeaseFile.js"
import { freshDirectory } from "./fixtures.js"

const fresh = Effect.map(freshDirectory, (directory) => ({
  proofs: HolderLiveness.make(Effect.succeed(Option.some(Path.join(directory, "lease")))),
  list: Effect.promise(() => fs.readdir(directory))
}))

describe("the proof that a holder lives", () => {
  it.effect("holds until it ends", () =>
    Effect.gen(function* () {
      const { proofs, list } = yield* fresh
      const holder = yield* proofs.begin
      assert.isFalse(yield* proofs.isDead(holder.owner))
      yield* holder.end(true)
      assert.deepStrictEqual(yield* list, [])
    }).pipe(Effect.scoped)
  )

  it.effect("tells of a lease that could not be given up, until that is buried", () =>
    Effect.gen(function* () {
      const { proofs, list } = yield* fresh
      const holder = yield* proofs.begin
      yield* holder.end(false)
      assert.isTrue(yield* proofs.isDead(holder.owner))
      yield* proofs.bury(holder.owner)
      assert.deepStrictEqual(yield* list, [])
    }).pipe(Effect.scoped)
  )

  it.effect("serves one holder after another while there are others, and each has a name of its own", () =>
    Effect.gen(function* () {
      const { proofs, list } = yield* fresh
      const other = yield* proofs.begin
      const owners = new Set([other.owner])
      for (let n = 0; n < 50; n++) {
        const holder = yield* proofs.begin
        assert.isFalse(owners.has(holder.owner))
        owners.add(holder.owner)
        assert.isFalse(yield* proofs.isDead(holder.owner))
        yield* holder.end(true)
        assert.lengthOf(yield* list, 2)
      }
      // One that could not give up its lease is dead, whoever had the file before.
      const stuck = yield* proofs.begin
      yield* stuck.end(false)
      const next = yield* proofs.begin
      assert.isTrue(yield* proofs.isDead(stuck.owner))
      assert.isFalse(yield* proofs.isDead(next.owner))
      yield* proofs.bury(stuck.owner)
      yield* next.end(true)
      assert.lengthOf(yield* list, 2)
      yield* other.end(true)
      assert.deepStrictEqual(yield* list, [])
    }).pipe(Effect.scoped)
  )

  it.effect("says nothing of a holder whose file is not there, and makes none", () =>
    Effect.gen(function* () {
      const { proofs, list } = yield* fresh
      const { proofs: elsewhere } = yield* fresh
      const holder = yield* elsewhere.begin
      assert.isFalse(yield* proofs.isDead(holder.owner))
      yield* holder.end(true)
      assert.isFalse(yield* elsewhere.isDead(holder.owner))
      for (const owner of [
        "",
        "another host/boot/0123456789abcdef0123456789abcdef",
        `${holder.owner}/../x`
      ]) {
        assert.isFalse(yield* proofs.isDead(owner))
        yield* proofs.bury(owner)
      }
      assert.deepStrictEqual(yield* list, [])
    }).pipe(Effect.scoped)
  )

  it.effect(
    "is not needed for a process of an earlier boot, where all who share the leases are on one host (F55)",
    () =>
      Effect.gen(function* () {
        const base = Effect.succeed(Option.some(Path.join(yield* freshDirectory, "lease")))
        const id = "0f".repeat(16)
        const earlier = `${here.host}/an earlier boot/${id}`
        assert.strictEqual(yield* HolderLiveness.make(base, true).isDead(earlier), here.boot !== "")
        assert.isFalse(yield* HolderLiveness.make(base).isDead(earlier))
        for (const owner of [
          `${here.host}//${id}`,
          `elsewhere/an earlier boot/${id}`,
          `${here.host}/boot/${id}/x`
        ]) {
          assert.isFalse(yield* HolderLiveness.make(base, true).isDead(owner), owner)
        }
      }).pipe(Effect.scoped)
  )

  it.effect("says when its holder last gave a sign of life", () =>
    Effect.gen(function* () {
      const { proofs } = yield* fresh
      const holder = yield* proofs.begin
      assert.deepStrictEqual(yield* proofs.renewedAt(holder.owner), Option.none())
      for (const at of [123_456_789_012.5, -2_000_000_000_000, 0]) {
        yield* holder.stamp(at)
        const found = Option.getOrThrow(yield* proofs.renewedAt(holder.owner))
        assert.closeTo(found, at, 0.05)
      }
      yield* holder.end(true)
      assert.deepStrictEqual(yield* proofs.renewedAt(holder.owner), Option.none())
    }).pipe(Effect.scoped)
  )

  it.effect("is done without where there is no place for it", () =>
    Effect.gen(function* () {
      for (const base of [Option.none(), Option.some("/nowhere/at/all")]) {
        const proofs = HolderLiveness.make(Effect.succeed(base))
        const holder = yield* proofs.begin
        assert.isFalse(yield* proofs.isDead(holder.owner))
        yield* holder.end(false)
        assert.isFalse(yield* proofs.isDead(holder.owner))
      }
    })
  )

  it.effect("is kept in a directory of this user alone, where it has none of its own", () =>
    Effect.gen(function* () {
      const base = Option.getOrThrow(yield* HolderLiveness.ownDirectory)
      const stats = yield* Effect.promise(() => fs.stat(Path.dirname(base)))
      assert.strictEqual(stats.mode & 0o777, 0o700)
      assert.strictEqual(stats.uid, process.getuid?.())
    })
  )
})
