import * as Entry from "@latchkey/core/Entry"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as File from "@latchkey/storage/File"
import { Law, LeaseLaws, Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
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

const tenYears = 10 * 365 * 86_400_000

/** The clock of the fiber, some time later, with a wall clock that was set meanwhile. */
const later =
  (elapsed: number, set: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const wall = () => clock.unsafeCurrentTimeMillis() + elapsed + set
      const monotonic = () => clock.unsafeCurrentTimeNanos() + BigInt(elapsed) * 1_000_000n
      return Effect.withClock(effect, {
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeMillis: wall,
        unsafeCurrentTimeNanos: monotonic,
        currentTimeMillis: Effect.sync(wall),
        currentTimeNanos: Effect.sync(monotonic),
        sleep: (duration) => clock.sleep(duration)
      })
    })

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

  it.effect.runIf(here.boot !== "")("of an earlier boot of this host counts for nothing (F55)", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      leave(path, { boot: "before the last start", expiresAt: tenYears })
      assert.strictEqual((yield* lease.acquire("me", "1 minute")).fence, 8)
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    {
      acquiredAt: tenYears,
      expiresAt: tenYears + 60_000,
      bound: 60_000,
      what: "a clock that was years ahead"
    },
    { acquiredAt: tenYears, expiresAt: tenYears + 500, bound: 500, what: "the same, with a short ttl" },
    { acquiredAt: 0, expiresAt: tenYears, bound: 3_600_000, what: "a ttl of years" },
    { acquiredAt: 0, expiresAt: 9e15, bound: 3_600_000, what: "an end beyond all dates" },
    { acquiredAt: -tenYears, expiresAt: tenYears, bound: 3_600_000, what: "a clock that was set meanwhile" },
    { acquiredAt: 0, expiresAt: 60_000, bound: 60_000, what: "a right clock" },
    { acquiredAt: tenYears, expiresAt: 60_000, bound: 0, what: "an end before its begin" },
    { acquiredAt: -tenYears, expiresAt: 60_000 - tenYears, bound: 0, what: "a clock that was years behind" }
  ])("of another host counts for its ttl from when it was first seen: $what (F55)", (written) =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      const { bound, what: _, ...times } = written
      leave(path, { host: "elsewhere", ...times })
      // A process that comes after this one goes on counting: nobody need wait for all of it.
      const { lease: later } = yield* File.make({ path })
      for (const [handle, at] of [
        [lease, 0],
        [later, bound - 1]
      ] as const) {
        if (at < 0 || bound === 0) continue
        yield* TestClock.setTime(at)
        assert.strictEqual((yield* Effect.flip(handle.acquire("me", "1 minute"))).reason, "Busy")
      }
      yield* TestClock.setTime(bound)
      yield* later.acquire("me", "1 minute")
    }).pipe(Effect.scoped)
  )

  it.effect("of another host counts anew when it was renewed, and for each account by itself (F55)", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      const times = { host: "elsewhere", acquiredAt: tenYears, expiresAt: tenYears + 60_000 }
      leave(path, times)
      yield* Effect.flip(lease.acquire("me", "1 minute"))
      yield* TestClock.setTime(40_000)
      // As its holder renews it.
      leave(path, { ...times, acquiredAt: tenYears + 20_000, expiresAt: tenYears + 80_000 })
      yield* TestClock.setTime(60_000)
      yield* Effect.flip(lease.acquire("me", "1 minute"))
      yield* Effect.scoped(lease.acquire("other", "1 minute"))
      yield* TestClock.setTime(119_999)
      yield* Effect.flip(lease.acquire("me", "1 minute"))
      yield* TestClock.setTime(120_000)
      yield* lease.acquire("me", "1 minute")
    }).pipe(Effect.scoped)
  )

  it.effect("of another host outlives what is seen of it in another boot of this one (F55)", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      const times = { acquiredAt: tenYears, expiresAt: tenYears + 60_000 }
      leave(path, { host: "elsewhere", ...times, seen: { [`${here.host}/before`]: -1e12 } })
      assert.strictEqual((yield* Effect.flip(lease.acquire("me", "1 minute"))).reason, "Busy")
      yield* TestClock.setTime(60_000)
      yield* lease.acquire("me", "1 minute")
    }).pipe(Effect.scoped)
  )

  it.effect.each([{ host: "elsewhere" }])("with %j counts by its ttl alone", (place) =>
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
        assert.include(refused.message, `${path}.latchkey.lease is not a lease record`)
        const failed = yield* Effect.flip(storage.commit(Sample.plain("2"), Option.some(version)))
        assert.include(failed, { _tag: "StorageError", reason: "Malformed" })
        assert.strictEqual(fs.readFileSync(`${path}.latchkey.lease`, "utf8"), damaged)
        assert.isTrue(Option.isSome(yield* storage.load))
      }).pipe(Effect.scoped)
  )
})

describe("a lease", () => {
  it.live.each([tenYears, 7_200_000, 0, -7_200_000, -tenYears])(
    "of a running process is its own for its ttl, and no longer, when the wall clock is set by %d ms (F55)",
    (set) =>
      Effect.gen(function* () {
        const { lease } = yield* fresh
        const stopped = yield* LeaseLaws.acquireStalled(lease, "me", Duration.minutes(1))
        const attempt = Effect.either(Effect.scoped(lease.acquire("me", "1 minute")))
        assert.isTrue(yield* later(30_000, set)(stopped.lease.isHeld))
        assert.isTrue(Either.isLeft(yield* later(30_000, set)(attempt)))
        assert.isFalse(yield* later(60_000, set)(stopped.lease.isHeld))
        assert.isTrue(Either.isRight(yield* later(60_000, set)(attempt)))
      }).pipe(Effect.scoped)
  )

  it.effect("that is asked for a longer ttl than any lease counts is renewed in time", () =>
    Effect.gen(function* () {
      const { path, lease } = yield* fresh
      const { isHeld } = yield* lease.acquire("me", "365 days")
      assert.strictEqual(recordOf(path).leases.me.expiresAt, 3_600_000)
      yield* TestClock.adjust("20 minutes")
      for (let waits = 400; waits > 0 && recordOf(path).leases.me.expiresAt === 3_600_000; waits--) {
        yield* Law.live(Effect.sleep("5 millis"))
      }
      assert.strictEqual(recordOf(path).leases.me.expiresAt, 4_800_000)
      assert.isTrue(yield* isHeld)
    }).pipe(Effect.scoped)
  )

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
