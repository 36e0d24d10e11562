import * as Entry from "@latchkey/core/Entry"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Sql from "@latchkey/storage/Sql"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { Sample } from "@latchkey/storage/testing"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { Fibers } from "@latchkey/core/internal-api"
import Database from "libsql"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { fromClient } from "../src/internal/SqlProblem.js"
import * as SqlSession from "../src/internal/SqlSession.js"
import * as SqlStorage from "../src/internal/SqlStorage.js"
import { freshDirectory } from "./fixtures.js"
import * as Edition from "../../core/test/support/Edition.js"

const account = "me"

const freshFile = Effect.map(freshDirectory, (directory) => Path.join(directory, "credentials.db"))

const open = (filename: string, options: Partial<Sql.Options> = {}) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Sqlite.layerClient({ filename }))
    const handle = yield* Effect.provide(Sql.make({ account, ...options }), context)
    return { ...handle, sql: Context.get(context, SqlClient.SqlClient) }
  })

const refusal = (filename: string) =>
  Effect.flip(Effect.scoped(Layer.build(Sqlite.layerClient({ filename }))))

/** Another program that has the right to write, and keeps it. */
const lockedBy = (filename: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const other = new Database(filename)
      other.exec("BEGIN IMMEDIATE")
      return other
    }),
    (other) => Effect.sync(() => void other.close())
  )

/** The number of the last version that another connection sees. */
const seenFrom = (other: Database.Database) =>
  (other.prepare("SELECT version FROM latchkey_entries").get() as { readonly version: number }).version

/** The file and all that is beside it, as one text. */
const everything = (filename: string) =>
  Effect.promise(async () => {
    const directory = Path.dirname(filename)
    const names = await fs.readdir(directory)
    return (await Promise.all(names.map((name) => fs.readFile(Path.join(directory, name), "latin1")))).join()
  })

const mode = async (path: string) => ((await fs.stat(path)).mode & 0o777).toString(8)

describe("the database file", () => {
  it.live("is private from the first moment, and what SQLite puts beside it", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const { storage } = yield* open(filename)
      yield* storage.commit(Sample.plain("a"), Option.none())
      for (const path of [filename, `${filename}-wal`, `${filename}-shm`]) {
        assert.strictEqual(yield* Effect.promise(() => mode(path)), "600", path)
      }
    }).pipe(Effect.scoped)
  )

  it.live("is refused where others may read it, with the command that repairs it", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      yield* Effect.promise(() => fs.writeFile(filename, "", { mode: 0o640 }))
      const error = yield* refusal(filename)
      assert.strictEqual(error.reason, "Insecure")
      assert.include(error.message, `has mode 0640`)
      assert.include(error.message, `chmod 600 "${filename}"`)
    }).pipe(Effect.scoped)
  )

  it.live("is refused where it is none", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const text = Path.join(directory, "notes.txt")
      yield* Effect.promise(() => fs.writeFile(text, "not a database ".repeat(100), { mode: 0o600 }))
      const expected: ReadonlyArray<readonly [string, StorageError["reason"], string]> = [
        [text, "Malformed", "SQLITE_NOTADB"],
        [directory, "Malformed", "directory"],
        ["", "Malformed", "must be a file"],
        [":memory:", "Malformed", "must be a file"],
        [Path.join(text, "below"), "Malformed", "not a directory"]
      ]
      for (const [filename, reason, words] of expected) {
        const error = yield* refusal(filename)
        assert.strictEqual(error.reason, reason, filename)
        assert.include(error.message, words)
      }
      assert.include(yield* Effect.promise(() => fs.readFile(text, "utf8")), "not a database")
    }).pipe(Effect.scoped)
  )

  it.live("is refused where a later version has changed its tables", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const { sql, storage } = yield* open(filename)
      yield* storage.commit(Sample.plain("a"), Option.none())
      yield* sql`INSERT INTO latchkey_migrations (migration_id, name) VALUES (99, 'later')`
      const later = yield* open(filename)
      assert.strictEqual((yield* Effect.flip(later.storage.load)).reason, "NewerFormat")
      assert.strictEqual((yield* Effect.flip(later.lease.acquire(account, 1_000))).reason, "Unavailable")
    }).pipe(Effect.scoped)
  )

  it.live("keeps no trace of a token that was removed", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { storage } = yield* open(filename)
          yield* storage.commit(Sample.plain("canary"), Option.none())
          assert.include(yield* everything(filename), "canary")
          assert.isTrue(yield* storage.remove)
          assert.notInclude(yield* everything(filename), "canary")
          yield* storage.commit(Sample.plain("canary"), Option.none())
          assert.isTrue(yield* storage.remove)
        })
      )
      assert.notInclude(yield* everything(filename), "canary")
    }).pipe(Effect.scoped)
  )
})

describe("a database that another program has locked", () => {
  it.live("is waited for, and this process goes on meanwhile", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const { storage } = yield* open(filename)
      const start = yield* storage.commit(Sample.plain("a"), Option.none())
      const other = yield* lockedBy(filename)
      const writing = yield* Effect.fork(storage.commit(Sample.plain("b"), Option.some(start)))
      let ticks = 0
      yield* Effect.repeatN(
        Effect.andThen(
          Effect.sleep(10),
          Effect.sync(() => ticks++)
        ),
        20
      )
      assert.isTrue(Option.isNone(yield* Edition.poll(writing)))
      assert.strictEqual(ticks, 21)
      other.exec("COMMIT")
      assert.strictEqual(seenFrom(other), 1)
      const version = yield* Fiber.join(writing)
      assert.strictEqual(seenFrom(other), 2)
      yield* storage.commit(Sample.plain("c"), Option.some(version))
      assert.strictEqual(seenFrom(other), 3)
    }).pipe(Effect.scoped)
  )

  it.live("is Unavailable when the time is over, even where nothing can be interrupted", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const { storage } = yield* open(filename)
      const start = yield* storage.commit(Sample.plain("a"), Option.none())
      const { storage: hasty, lease } = yield* open(filename, { timeout: "1 second" })
      yield* hasty.load
      const other = yield* lockedBy(filename)
      const before = yield* Clock.currentTimeMillis
      const error = yield* Effect.uninterruptible(Effect.flip(hasty.remove))
      assert.include(error, { _tag: "StorageError", reason: "Unavailable" })
      assert.include(error.message, "did not answer within 1000 ms")
      const none = yield* Effect.flip(lease.acquire(account, 1_000))
      assert.strictEqual(none.reason, "Unavailable")
      assert.isBelow((yield* Clock.currentTimeMillis) - before, 10_000)
      other.exec("COMMIT")
      // What follows on the same connection is committed, not only done.
      yield* hasty.commit(Sample.plain("b"), Option.some(start))
      assert.strictEqual(seenFrom(other), 2)
    }).pipe(Effect.scoped)
  )

  it.live("has been waited for long enough by who is told so: a commit does not wait for it again", () =>
    Effect.gen(function* () {
      const { sql } = yield* open(yield* freshFile)
      let attempts = 0
      const session: SqlSession.Session = {
        ...SqlSession.make(sql, "sqlite", { prefix: "latchkey", timeoutMillis: 1_000, location: "here" }),
        run: () => {
          attempts++
          return Effect.fail(fromClient("here")({ code: "SQLITE_BUSY" }))
        }
      }
      const read = () => Effect.succeed({ number: 0, fence: 0, granted: 0, record: Option.none() })
      const locked = SqlStorage.make({ ...SqlStorage.table(session), read }, account, Option.none())
      const error = yield* Effect.flip(locked.commit(Sample.plain("a"), Option.none()))
      assert.include(error, { _tag: "StorageError", reason: "Unavailable" })
      assert.include(error.message, "another process keeps it locked")
      assert.strictEqual(attempts, 1)
    }).pipe(Effect.scoped)
  )
})

describe("leases in a file", () => {
  it.effect("go by the clock of the program", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const { lease } = yield* open(filename)
      const { lease: other } = yield* open(filename)
      yield* TestClock.setTime(1_800_000_000_000)
      const mine = yield* lease.acquire(account, "1 minute")
      assert.strictEqual(mine.fence, 1_800_000_000_000)
      // Another program, whose clock runs ahead.
      const real = Fibers.systemClock
      const at = (millis: number): Clock.Clock => ({
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        currentTimeMillis: Effect.succeed(1_800_000_000_000 + millis),
        currentTimeNanos: real.currentTimeNanos,
        unsafeCurrentTimeMillis: () => 1_800_000_000_000 + millis,
        unsafeCurrentTimeNanos: () => real.unsafeCurrentTimeNanos(),
        sleep: (duration) => real.sleep(duration)
      })
      const early = yield* Effect.flip(Effect.withClock(other.acquire(account, "1 minute"), at(59_999)))
      assert.strictEqual(early.reason, "Busy")
      const next = yield* Effect.withClock(other.acquire(account, "1 minute"), at(60_000))
      assert.strictEqual(next.fence, 1_800_000_060_000)
      assert.isFalse(yield* mine.isHeld)
    }).pipe(Effect.scoped)
  )

  it.effect("must last for a finite time", () =>
    Effect.gen(function* () {
      const { lease } = yield* open(yield* freshFile)
      for (const ttl of [0, -1, Infinity]) {
        const error = yield* Effect.flip(lease.acquire(account, Duration.millis(ttl)))
        assert.strictEqual(error.reason, "Misconfigured")
      }
    }).pipe(Effect.scoped)
  )

  it.live("are known by their file, whatever link leads to it", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const link = Path.join(yield* freshDirectory, "link.db")
      yield* Effect.promise(() => fs.symlink(filename, link))
      const { lease } = yield* open(link)
      yield* lease.acquire(account, 1_000)
      const beside = yield* Effect.promise(() => fs.readdir(Path.dirname(filename)))
      assert.lengthOf(
        beside.filter((name) => name.startsWith("credentials.db.latchkey.holder-")),
        1
      )
    }).pipe(Effect.scoped)
  )

  it.live("leave nothing beside the file", () =>
    Effect.gen(function* () {
      const filename = yield* freshFile
      const beside = Effect.promise(async () =>
        (await fs.readdir(Path.dirname(filename))).filter((name) => name.includes("holder"))
      )
      const { lease } = yield* open(filename)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* lease.acquire(account, 1_000)
          assert.lengthOf(yield* beside, 1)
          yield* Effect.flip(lease.acquire(account, 1_000))
          assert.lengthOf(yield* beside, 1)
        })
      )
      assert.deepStrictEqual(yield* beside, [])
    }).pipe(Effect.scoped)
  )
})

describe("a record", () => {
  it.live("keeps what a later version has put there", () =>
    Effect.gen(function* () {
      const { sql, storage } = yield* open(yield* freshFile)
      yield* storage.commit(Sample.plain("a"), Option.none())
      yield* sql`UPDATE latchkey_entries SET record = replace(record, '{"latchkey"', '{"later":{"x":[1]},"latchkey"')`
      const { version } = Option.getOrThrow(yield* storage.load)
      yield* storage.commit(Sample.plain("b"), Option.some(version))
      const [row] = yield* sql<{ readonly record: string }>`SELECT record FROM latchkey_entries`
      assert.deepInclude(JSON.parse(row!.record), { later: { x: [1] }, accessToken: "access-b" })
    }).pipe(Effect.scoped)
  )
})

describe("many accounts that are read together", () => {
  it.live("have each their own record or none, and a damaged one is no other's trouble", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(Sqlite.layerClient({ filename: yield* freshFile }))
      const { storages } = yield* Effect.provide(Sql.makeAccounts(), context)
      const of = (name: string) => Either.getOrThrow(storages.of(name))
      const names = Array.from({ length: 300 }, (_, i) => `user ${i} "'\u00e9`)
      const sql = Context.get(context, SqlClient.SqlClient)
      yield* of("first").commit(Sample.plain("a"), Option.none())
      for (const [i, name] of names.entries()) {
        if (i % 3 === 0) continue
        yield* sql`INSERT INTO latchkey_entries (account, version, fence, record)
          SELECT ${name}, version, fence, replace(record, 'access-a', ${`access-${i}`})
          FROM latchkey_entries WHERE account = 'first'`
      }
      const spoil = (name: string | undefined, record: string) =>
        sql`UPDATE latchkey_entries SET record = ${record} WHERE account = ${name}`
      yield* spoil(names[1], "{")
      yield* spoil(names[2], "x".repeat(1_100_000))
      const loaded = yield* Effect.forEach(names, (name) => Effect.either(of(name).load), {
        concurrency: "unbounded"
      })
      const outcomes = loaded.map(
        Either.match({
          onLeft: ({ reason }) => reason,
          onRight: Option.match({
            onNone: () => "none",
            onSome: ({ entry }) => Redacted.value(entry.credentials.accessToken)
          })
        })
      )
      const expected = names.map((_, i) => (i % 3 === 0 ? "none" : i < 3 ? "Malformed" : `access-${i}`))
      assert.deepStrictEqual(outcomes, expected)
    }).pipe(Effect.scoped)
  )
})

describe("what cannot be written", () => {
  it.live("is refused before anything is", () =>
    Effect.gen(function* () {
      const { storage } = yield* open(yield* freshFile)
      const version = yield* storage.commit(Sample.plain("a"), Option.none())
      const { credentials } = Sample.plain("b")
      const seconds = new Entry.Entry({
        ...Sample.plain("b"),
        credentials: { ...credentials, expiresAt: Option.some(1_800_000_000) }
      })
      const large = Sample.plain("x".repeat(1_100_000))
      for (const [entry, reason] of [
        [seconds, "WrongUnit"],
        [large, "Malformed"]
      ] as const) {
        const error = yield* Effect.flip(storage.commit(entry, Option.some(version)))
        assert.include(error, { _tag: "StorageError", reason })
        assert.include(error.message, "Nothing was written")
      }
      assert.strictEqual(Option.getOrThrow(yield* storage.load).version, version)
    }).pipe(Effect.scoped)
  )

  it.live("nor read, when it is larger than any entry", () =>
    Effect.gen(function* () {
      const { sql, storage } = yield* open(yield* freshFile)
      yield* storage.commit(Sample.plain("a"), Option.none())
      yield* sql`UPDATE latchkey_entries SET record = ${"x".repeat(2_000_000)}`
      const error = yield* Effect.flip(storage.load)
      assert.strictEqual(error.reason, "Malformed")
      assert.include(error.message, "larger than the 1048576 bytes")
      assert.isTrue(yield* storage.remove)
      assert.isTrue(Option.isNone(yield* storage.load))
    }).pipe(Effect.scoped)
  )
})

describe("options that cannot work", () => {
  const cases: ReadonlyArray<readonly [Partial<Sql.Options>, string]> = [
    [{ account: "" }, "account"],
    [{ account: "a\0b" }, "account"],
    [{ tables: "Robert'); --" }, "`tables`"],
    [{ tables: "" }, "`tables`"],
    [{ timeout: Infinity }, "`timeout`"],
    [{ timeout: 0 }, "`timeout`"],
    [{ timeout: JSON.parse('"soon"') as "1 second" }, "`timeout`"]
  ]
  it.effect.each(cases)("are refused: %j", ([options, words]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(open(yield* freshFile, options))
      assert.include(error.message, words)
    }).pipe(Effect.scoped)
  )
})
