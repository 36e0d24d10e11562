import * as Entry from "@latchkey/core/Entry"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as File from "@latchkey/storage/File"
import { Law, Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as fs from "node:fs"
import { hostname } from "node:os"
import * as Path from "node:path"
import { withLock } from "../src/internal/KernelLock.js"
import { here } from "../src/internal/LeaseFile.js"
import { freshPath } from "./fixtures.js"

const recordOf = (path: string) => JSON.parse(fs.readFileSync(`${path}.latchkey.lease`, "utf8"))
const beside = (path: string) =>
  fs
    .readdirSync(Path.dirname(path))
    .map((name) => name.replace(/[0-9a-f]{32}/, "…"))
    .sort()

/** A record that another holder left: alive or not, here or elsewhere. */
const leave = (path: string, holding: object) => {
  const lease = { id: "0f".repeat(16), fence: 7, pid: process.pid, ...here, acquiredAt: 0, expiresAt: 60_000 }
  const record = { format: 1, fence: 7, leases: { me: { ...lease, ...holding } } }
  fs.writeFileSync(`${path}.latchkey.lease`, JSON.stringify(record), { mode: 0o600 })
}

const fresh = Effect.gen(function* () {
  const path = yield* freshPath
  return { path, ...(yield* File.make({ path, lockTimeout: "200 millis" })) }
})

describe("the record of a lease", () => {
  it.effect("says who and until when, is private, and goes with the lease; the fence stays", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      yield* TestClock.setTime(1_000)
      const { fence } = yield* lease.acquire("me", "1 minute").pipe(
        Effect.tap(({ fence }) => {
          const { leases, ...rest } = recordOf(path)
          const { id, ...mine } = leases.me
          assert.deepStrictEqual(rest, { format: 1, fence })
          assert.deepStrictEqual(mine, {
            ...{ fence, pid: process.pid, host: hostname(), boot: here.boot },
            ...{ acquiredAt: 1_000, expiresAt: 61_000 }
          })
          assert.isTrue(fs.existsSync(`${path}.latchkey.holder-${id}`))
          for (const name of fs.readdirSync(Path.dirname(path))) {
            assert.strictEqual(fs.statSync(Path.join(Path.dirname(path), name)).mode & 0o777, 0o600)
          }
        }),
        Effect.scoped
      )
      assert.deepStrictEqual(recordOf(path), { format: 1, fence, leases: {} })
      assert.deepStrictEqual(beside(path), [
        "credentials.json.latchkey.lease",
        "credentials.json.latchkey.lock"
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("of a dead process on this host counts for nothing, though its id is in use again", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      leave(path, {})
      assert.strictEqual((yield* lease.acquire("me", "1 minute")).fence, 8)
    }).pipe(Effect.scoped)
  )

  it.effect("of a dead process whose own file is left counts for nothing, and the file goes", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      leave(path, {})
      fs.writeFileSync(`${path}.latchkey.holder-${"0f".repeat(16)}`, "", { mode: 0o600 })
      yield* Effect.scoped(lease.acquire("me", "1 minute"))
      assert.deepStrictEqual(beside(path), [
        "credentials.json.latchkey.lease",
        "credentials.json.latchkey.lock"
      ])
    }).pipe(Effect.scoped)
  )

  it.effect.each([{ host: "elsewhere" }, { boot: "before the last start" }])(
    "with %j counts by its ttl alone",
    (place) =>
      Effect.gen(function* () {
        const { path, lease } = yield* fresh
        leave(path, place)
        yield* TestClock.setTime(59_999)
        const busy = yield* Effect.flip(lease.acquire("me", "1 minute"))
        assert.strictEqual(busy.reason, "Busy")
        yield* TestClock.setTime(60_000)
        yield* lease.acquire("me", "1 minute")
      }).pipe(Effect.scoped)
  )

  it.effect.each(["", "{", '{"format":2}', '{"format":1,"fence":-1,"leases":{}}'])(
    "that is damaged (%j) is told, and stays",
    (damaged) =>
      Effect.gen(function* () {
        const { path, lease, storage } = yield* fresh
        const version = yield* storage.commit(Sample.plain("1"), Option.none())
        fs.writeFileSync(`${path}.latchkey.lease`, damaged, { mode: 0o600 })
        const refused = yield* Effect.flip(lease.acquire("me", "1 minute"))
        assert.strictEqual(refused.reason, "Unavailable")
        assert.include(refused.message, `${path}.latchkey.lease is no lease record`)
        const failed = yield* Effect.flip(storage.commit(Sample.plain("2"), Option.some(version)))
        assert.include(failed, { _tag: "StorageError", reason: "Malformed" })
        assert.strictEqual(fs.readFileSync(`${path}.latchkey.lease`, "utf8"), damaged)
        assert.isTrue(Option.isSome(yield* storage.load))
      }).pipe(Effect.scoped)
  )
})

describe("a lease", () => {
  it.effect.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("of %d ms is misconfigured", (ttl) =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      const error = yield* Effect.flip(lease.acquire("me", ttl))
      assert.strictEqual(error.reason, "Misconfigured")
      assert.deepStrictEqual(beside(path), [])
    }).pipe(Effect.scoped)
  )

  it.effect("has a fence above the stored one, and rises when the clock goes back", () =>
    Effect.gen(function* () {
      const { lease, storage } = yield* fresh
      yield* storage.commit(new Entry.Entry({ ...Sample.plain("1"), fence: 9_000 }), Option.none())
      yield* TestClock.setTime(500)
      const first = yield* Effect.scoped(lease.acquire("me", "1 minute"))
      assert.strictEqual(first.fence, 9_001)
      yield* TestClock.setTime(50_000)
      assert.strictEqual((yield* Effect.scoped(lease.acquire("me", "1 minute"))).fence, 50_000)
      yield* TestClock.setTime(100)
      assert.strictEqual((yield* Effect.scoped(lease.acquire("me", "1 minute"))).fence, 50_001)
    }).pipe(Effect.scoped)
  )

  it.effect("is renewed by the clock of its holder, a third of the ttl later", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      const { isHeld } = yield* lease.acquire("me", "30 seconds")
      const expiry = () => recordOf(path).leases.me.expiresAt
      for (let seconds = 1, last = 30_000, renewals = 0; renewals < 3; seconds++) {
        assert.isBelow(seconds * 1_000, last, "it was not renewed in time")
        yield* TestClock.adjust("1 second")
        // The renewal writes a file, which no test clock hastens: near its time it is given some.
        for (let waits = seconds % 10 < 2 ? 50 : 1; waits > 0 && expiry() === last; waits--) {
          yield* Law.live(Effect.sleep("5 millis"))
        }
        if (expiry() === last) continue
        assert.isAtLeast(expiry(), last + 10_000)
        assert.strictEqual(expiry(), seconds * 1_000 + 30_000)
        assert.isTrue(yield* isHeld)
        last = expiry()
        renewals++
      }
    }).pipe(Effect.scoped)
  )

  it.effect("is unavailable, not busy, while the lock stays taken; and ends without it", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      const scope = yield* Scope.make()
      yield* Scope.extend(lease.acquire("me", "1 hour"), scope)
      const locked = Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(lease.acquire("other", "1 minute")))
        assert.strictEqual(error.reason, "Unavailable")
        yield* Scope.close(scope, Exit.void)
      })
      yield* withLock(`${path}.latchkey.lock`, 0, Option.none(), locked)
      yield* lease.acquire("me", "1 minute")
    }).pipe(Effect.scoped)
  )

  it.effect("that would make the record too long to be read is refused, and harms no other", () =>
    Effect.gen(function* () {
      const { path, lease, storage } = yield* fresh
      const error = yield* Effect.flip(Effect.scoped(lease.acquire("x".repeat(1_100_000), "1 minute")))
      assert.strictEqual(error.reason, "Unavailable")
      assert.include(error.message, "Nothing was written")
      yield* Effect.scoped(lease.acquire("me", "1 minute"))
      yield* storage.commit(Sample.plain("1"), Option.none())
      assert.deepStrictEqual(recordOf(path).leases, {})
    }).pipe(Effect.scoped)
  )

  it.effect("that is kept elsewhere goes with the storage of a file", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const program = Effect.gen(function* () {
        const storage = yield* TokenStorage.TokenStorage
        const { fence } = yield* (yield* RefreshLease.RefreshLease).acquire("me", "1 minute")
        const loaded = Option.map(yield* storage.load, ({ version }) => version)
        yield* storage.commit(new Entry.Entry({ ...Sample.plain("1"), fence }), loaded)
        return beside(path)
      })
      const apart = Layer.merge(File.layerStorage({ path }), File.layerLease({ path: `${path}.elsewhere` }))
      assert.include(
        yield* Effect.scoped(Effect.provide(program, apart)),
        "credentials.json.elsewhere.latchkey.lease"
      )
      assert.include(
        yield* Effect.scoped(Effect.provide(program, File.layer({ path }))),
        "credentials.json.latchkey.lease"
      )
    }).pipe(Effect.scoped)
  )
})
