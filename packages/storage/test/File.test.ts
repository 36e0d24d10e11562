import * as Entry from "@latchkey/core/Entry"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import type { StorageError } from "@latchkey/core/TokenStorage"
import { Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:net"
import * as Path from "node:path"
import { withLock } from "../src/internal/KernelLock.js"
import { describeWith } from "../../../.ci/describeWith.js"
import { root } from "../../../.ci/programs.js"
import { freshDirectory, freshPath, spawn } from "./fixtures.js"

const isRoot = root.missing === undefined
const modeOf = (path: string) => fs.statSync(path).mode & 0o777
const beside = (path: string) => fs.readdirSync(Path.dirname(path)).sort()
const sound = JSON.stringify(Entry.toJson(Sample.plain("canary")))
const put = (path: string, content: string = sound, mode = 0o600) => {
  fs.writeFileSync(path, content)
  fs.chmodSync(path, mode)
}
const storageOf = (options: File.Options) => Effect.map(File.make(options), ({ storage }) => storage)

/** What load, commit and remove have in common when the file is refused. */
const refusals = (storage: File.File["storage"]) =>
  Effect.all([
    Effect.flip(storage.load),
    Effect.flip(storage.commit(Sample.plain("other"), Option.none())),
    Effect.flip(storage.remove)
  ])

const checkRefused = (storage: File.File["storage"], reason: StorageError["reason"], message: string) =>
  Effect.map(refusals(storage), (errors) => {
    for (const error of errors) {
      assert.include(error, { _tag: "StorageError", reason })
      assert.include(error.message, message)
      assert.notInclude(JSON.stringify(error) + error.message, "canary")
    }
  })

describe("what is written", () => {
  it.effect("is 0600 under any umask, in directories of 0700, with nothing beside it but the lock", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const path = Path.join(directory, "a", "b", "credentials.json")
      const storage = yield* storageOf({ path })
      const umask = process.umask(0)
      const version = yield* storage.commit(Sample.plain("1"), Option.none())
      yield* storage.commit(Sample.plain("2"), Option.some(version))
      process.umask(umask)
      assert.deepStrictEqual(beside(path), ["credentials.json", "credentials.json.latchkey.lock"])
      assert.strictEqual(modeOf(path), 0o600)
      assert.strictEqual(modeOf(`${path}.latchkey.lock`), 0o600)
      assert.strictEqual(modeOf(Path.join(directory, "a")), 0o700)
      assert.strictEqual(modeOf(Path.join(directory, "a", "b")), 0o700)
    }).pipe(Effect.scoped)
  )

  it.effect("keeps the keys that it does not know", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path, sound.replace("{", '{"x-note":{"id":12345678901234567890},'))
      const storage = yield* storageOf({ path })
      const { entry, version } = Option.getOrThrow(yield* storage.load)
      yield* storage.commit(Entry.refreshed(entry, Sample.plain("2").credentials), Option.some(version))
      assert.include(fs.readFileSync(path, "utf8"), '"x-note":{"id":12345678901234567890}')
    }).pipe(Effect.scoped)
  )

  it.effect("is refused where it could not be read back, while the old file stands", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const storage = yield* storageOf({ path, maxBytes: 4_096 })
      const version = yield* storage.commit(Sample.plain("1"), Option.none())
      const before = fs.readFileSync(path, "utf8")
      const commit = (name: string, extra: Partial<Entry.Entry> = {}) =>
        Effect.flip(
          storage.commit(new Entry.Entry({ ...Sample.plain(name), ...extra }), Option.some(version))
        )
      assert.include(yield* commit("x".repeat(5_000)), { _tag: "StorageError", reason: "Malformed" })
      const unwritable = yield* commit("canary\n")
      assert.include(unwritable, { _tag: "StorageError", reason: "Malformed" })
      assert.notInclude(JSON.stringify(unwritable), "canary")
      assert.include(yield* commit("x", { generation: -1 }), { _tag: "StorageError", reason: "Malformed" })
      assert.strictEqual(fs.readFileSync(path, "utf8"), before)
      assert.deepStrictEqual(beside(path), ["credentials.json", "credentials.json.latchkey.lock"])
    }).pipe(Effect.scoped)
  )

  it.effect("is refused where another program writes between the look and the rename", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const meanwhile = sound.replace("read", "read-by-another-program")
      let intrude = false
      const format: FileFormat.FileFormat = {
        ...FileFormat.native,
        encode: (document, entry, revision) => {
          if (intrude) fs.writeFileSync(path, meanwhile)
          return FileFormat.native.encode(document, entry, revision)
        }
      }
      const storage = yield* storageOf({ path, format })
      const version = yield* storage.commit(Sample.plain("1"), Option.none())
      intrude = true
      const refused = yield* Effect.flip(storage.commit(Sample.plain("2"), Option.some(version)))
      assert.include(refused, { _tag: "CommitRefused", reason: "Conflict" })
      assert.strictEqual(fs.readFileSync(path, "utf8"), meanwhile)
      assert.deepStrictEqual(beside(path), ["credentials.json", "credentials.json.latchkey.lock"])
    }).pipe(Effect.scoped)
  )

  it.effect("sweeps the temporary files of dead writers, and only those", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const storage = yield* storageOf({ path })
      const orphan = `${path}.latchkey.${"0f".repeat(16)}.tmp`
      const others = [
        `${path}.latchkey.0f.tmp`,
        `${path}.tmp`,
        `${path}x.latchkey.${"0f".repeat(16)}.tmp`,
        Path.join(Path.dirname(path), `other.json.latchkey.${"0f".repeat(16)}.tmp`)
      ]
      for (const file of [orphan, ...others]) put(file)
      const version = yield* storage.commit(Sample.plain("1"), Option.none())
      assert.isFalse(fs.existsSync(orphan))
      put(orphan)
      yield* Effect.flip(storage.commit(Sample.plain("2"), Option.none()))
      assert.isFalse(fs.existsSync(orphan))
      put(orphan)
      yield* storage.remove
      assert.isFalse(fs.existsSync(orphan))
      assert.deepStrictEqual(others.filter(fs.existsSync), others)
      assert.isString(version)
    }).pipe(Effect.scoped)
  )

  it.effect("is backed up as often as asked, 0600, until it is removed", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const storage = yield* storageOf({ path, backups: 2 })
      let version =
        Option.none<Parameters<typeof storage.commit>[1] extends Option.Option<infer V> ? V : never>()
      for (const name of ["1", "2", "3", "4", "5"]) {
        version = Option.some(yield* storage.commit(Sample.plain(name), version))
      }
      const kept = beside(path).filter((name) => name.includes("backup"))
      assert.deepStrictEqual(kept, [
        "credentials.json.latchkey.backup-3",
        "credentials.json.latchkey.backup-4"
      ])
      for (const [i, name] of kept.entries()) {
        const file = Path.join(Path.dirname(path), name)
        assert.strictEqual(modeOf(file), 0o600)
        assert.include(fs.readFileSync(file, "utf8"), `"access-${i + 3}"`)
      }
      assert.isTrue(yield* storage.remove)
      assert.deepStrictEqual(beside(path), ["credentials.json.latchkey.lock"])
    }).pipe(Effect.scoped)
  )

  it.effect("is not backed up unless asked", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const storage = yield* storageOf({ path })
      const version = yield* storage.commit(Sample.plain("1"), Option.none())
      yield* storage.commit(Sample.plain("2"), Option.some(version))
      assert.deepStrictEqual(beside(path), ["credentials.json", "credentials.json.latchkey.lock"])
    }).pipe(Effect.scoped)
  )

  it.effect("nothing is, by load, or by remove where there is nothing", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const storage = yield* storageOf({ path: Path.join(directory, "a", "credentials.json") })
      assert.deepStrictEqual(yield* storage.load, Option.none())
      assert.isFalse(yield* storage.remove)
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    }).pipe(Effect.scoped)
  )
})

describe("what is refused", () => {
  it.effect.each([0o644, 0o640, 0o604, 0o660, 0o700, 0o601, 0o777])(
    "mode %o, with the command that repairs it",
    (mode) =>
      Effect.gen(function* () {
        const directory = yield* freshDirectory
        const path = Path.join(directory, "it's mine; really.json")
        put(path, sound, mode)
        const storage = yield* storageOf({ path })
        yield* checkRefused(storage, "Insecure", `has mode 0${mode.toString(8)}`)
        assert.strictEqual(fs.readFileSync(path, "utf8"), sound)
        assert.strictEqual(modeOf(path), mode)
        const { message } = yield* Effect.flip(storage.load)
        const command = message.slice(message.indexOf("chmod"))
        ChildProcess.execFileSync("/bin/sh", ["-c", command])
        assert.isTrue(Option.isSome(yield* storage.load))
      }).pipe(Effect.scoped)
  )

  it.effect("another user's file, before anything is put beside it", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      // Only root can give a file away; anybody else finds root's.
      const theirs = isRoot ? path : "/etc/passwd"
      if (isRoot) {
        put(path)
        fs.chownSync(path, 65_534, 65_534)
      }
      const storage = yield* storageOf({ path: theirs })
      yield* checkRefused(storage, "Denied", "belongs to user")
      assert.isFalse(fs.existsSync(`${theirs}.latchkey.lock`))
    }).pipe(Effect.scoped)
  )

  it.effect("a file that the process may not read or whose directory it may not write", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path, sound, 0o000)
      const uid = isRoot ? 65_534 : (process.getuid?.() ?? 0)
      if (isRoot) {
        fs.chownSync(path, uid, uid)
        fs.chownSync(Path.dirname(path), uid, uid)
      }
      const answer = (doing: "load" | "commit") =>
        Effect.flatMap(spawn({ path, do: doing, uid }), (child) => Effect.map(child.line, Option.getOrThrow))
      const unreadable = (yield* answer("load")) as {
        readonly _tag: string
        readonly reason: string
        readonly message: string
      }
      assert.include(unreadable, { _tag: "StorageError", reason: "Denied" })
      assert.include(unreadable.message, "(EACCES): permission is missing")
      fs.unlinkSync(path)
      fs.chmodSync(Path.dirname(path), 0o500)
      const unwritable = (yield* answer("commit")) as {
        readonly _tag: string
        readonly reason: string
        readonly message: string
      }
      assert.include(unwritable, { _tag: "StorageError", reason: "Denied" })
      fs.chmodSync(Path.dirname(path), 0o700)
      assert.deepStrictEqual(fs.readdirSync(Path.dirname(path)), [])
    }).pipe(Effect.scoped)
  )

  it.effect("a symbolic link in a circle, or to itself", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      fs.symlinkSync(`${path}.b`, path)
      fs.symlinkSync(path, `${path}.b`)
      yield* checkRefused(yield* storageOf({ path }), "Malformed", "in a circle")
      fs.symlinkSync("self", Path.join(Path.dirname(path), "self"))
      yield* checkRefused(
        yield* storageOf({ path: Path.join(Path.dirname(path), "self") }),
        "Malformed",
        "in a circle"
      )
      fs.symlinkSync("loop", Path.join(Path.dirname(path), "loop"))
      const below = yield* storageOf({ path: Path.join(Path.dirname(path), "loop", "credentials.json") })
      yield* checkRefused(below, "Malformed", "(ELOOP)")
    }).pipe(Effect.scoped)
  )

  it.effect("a directory, a FIFO, a socket, a device, a path through a file: at once", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      fs.mkdirSync(path)
      yield* checkRefused(yield* storageOf({ path }), "Malformed", "is a directory")
      const fifo = `${path}.fifo`
      ChildProcess.execFileSync("/bin/sh", ["-c", 'mkfifo -m 600 "$0"', fifo])
      yield* checkRefused(yield* storageOf({ path: fifo }), "Malformed", "is a FIFO")
      const socket = `${path}.socket`
      const server = createServer().listen(socket)
      yield* Effect.promise(() => new Promise((resolve) => server.once("listening", resolve)))
      yield* checkRefused(yield* storageOf({ path: socket }), "Malformed", socket)
      server.close()
      yield* Effect.flatMap(storageOf({ path: "/dev/null" }), (storage) => Effect.flip(storage.load)).pipe(
        Effect.map((error) => assert.include(error, { reason: "Malformed" }))
      )
      const file = `${path}.file`
      put(file)
      yield* checkRefused(yield* storageOf({ path: Path.join(file, "x") }), "Malformed", "(ENOTDIR)")
    }).pipe(Effect.scoped)
  )

  it.effect("100 MB, without reading it; and more than the bound given", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path)
      fs.truncateSync(path, 100_000_000)
      yield* checkRefused(yield* storageOf({ path }), "Malformed", "larger than the 1048576 bytes")
      put(path)
      yield* checkRefused(yield* storageOf({ path, maxBytes: 100 }), "Malformed", "larger than the 100 bytes")
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    { path: " " },
    { path: "a\0b" },
    { path: "a", backups: -1 },
    { path: "a", backups: 1.5 },
    { path: "a", maxBytes: 0 },
    { path: "a", maxBytes: Number.NaN },
    { path: "a", lockTimeout: Number.POSITIVE_INFINITY },
    { path: "a", lockTimeout: -1 },
    { path: "a", lockTimeout: Number.NaN },
    { path: "a", lockTimeout: "-1 second" as const },
    { path: "a", lockTimeout: JSON.parse('"soon"') as "1 second" }
  ])("options that cannot work: %j", (options) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(File.make(options))
      assert.strictEqual(error._tag, "StorageError")
    })
  )
})

describe("symbolic links", () => {
  it.effect("are followed to their end, which is replaced, and stay", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      fs.mkdirSync(Path.join(directory, "real"))
      fs.mkdirSync(Path.join(directory, "links"))
      fs.symlinkSync("links", Path.join(directory, "also-links"))
      const target = Path.join(directory, "real", "credentials.json")
      fs.symlinkSync("../real/credentials.json", Path.join(directory, "links", "second"))
      fs.symlinkSync(Path.join(directory, "also-links", "second"), Path.join(directory, "first"))
      const storage = yield* storageOf({ path: Path.join(directory, "first") })
      assert.deepStrictEqual(yield* storage.load, Option.none())
      const version = yield* storage.commit(Sample.plain("1"), Option.none())
      yield* storage.commit(Sample.plain("2"), Option.some(version))
      assert.include(fs.readFileSync(target, "utf8"), "access-2")
      assert.isTrue(fs.lstatSync(target).isFile())
      assert.strictEqual(fs.readlinkSync(Path.join(directory, "links", "second")), "../real/credentials.json")
      const direct = yield* storageOf({ path: target })
      assert.deepStrictEqual(yield* direct.load, yield* storage.load)
      assert.deepStrictEqual(fs.readdirSync(directory).sort(), ["also-links", "first", "links", "real"])
      yield* storage.remove
      assert.isTrue(fs.lstatSync(Path.join(directory, "first")).isSymbolicLink())
    }).pipe(Effect.scoped)
  )

  it.effect("are refused on demand", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path)
      fs.symlinkSync(path, `${path}.link`)
      const storage = yield* storageOf({ path: `${path}.link`, symlinks: "refuse" })
      yield* checkRefused(storage, "Denied", "is a symbolic link")
      assert.isTrue(Option.isSome(yield* (yield* storageOf({ path, symlinks: "refuse" })).load))
    }).pipe(Effect.scoped)
  )
})

describeWith(root, "another user's file, where it is wanted", () => {
  it.effect("keeps its owner, who can open all that lies beside it", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path)
      fs.chownSync(path, 65_534, 65_534)
      fs.chownSync(Path.dirname(path), 65_534, 65_534)
      const { storage, lease } = yield* File.make({ path, owner: "any", backups: 1 })
      const { version } = Option.getOrThrow(yield* storage.load)
      yield* Effect.scoped(lease.acquire("me", "1 minute"))
      yield* storage.commit(Sample.plain("2"), Option.some(version))
      const files = beside(path)
      assert.lengthOf(files, 4)
      for (const name of files) {
        assert.strictEqual(fs.statSync(Path.join(Path.dirname(path), name)).uid, 65_534, name)
      }
    }).pipe(Effect.scoped)
  )
})

describe("the lock", () => {
  const held = <A, E>(path: string, during: Effect.Effect<A, E>) =>
    withLock(`${path}.latchkey.lock`, 0, Option.none(), during)

  it.effect("that stays taken makes commit and remove fail in time, not load, whatever the clock", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path)
      const storage = yield* storageOf({ path, lockTimeout: "50 millis" })
      const { version, entry } = Option.getOrThrow(yield* storage.load)
      yield* held(
        path,
        Effect.gen(function* () {
          assert.isTrue(Option.isSome(yield* storage.load))
          const commit = Effect.flip(storage.commit(entry, Option.some(version)))
          for (const error of [yield* commit, yield* Effect.flip(storage.remove)]) {
            assert.include(error, { _tag: "StorageError", reason: "Unavailable" })
            assert.include(error.message, "stays locked by another process")
          }
        })
      )
      assert.strictEqual(fs.readFileSync(path, "utf8"), sound)
      yield* storage.commit(entry, Option.some(version))
    }).pipe(Effect.scoped)
  )

  it.live("can be waited for and the wait interrupted", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const storage = yield* storageOf({ path })
      const commit = storage.commit(Sample.plain("1"), Option.none())
      yield* held(
        path,
        Effect.gen(function* () {
          const given = yield* Effect.interruptible(Effect.timeoutOption(commit, "50 millis"))
          assert.isTrue(Option.isNone(given))
        })
      )
      yield* commit
    }).pipe(Effect.scoped)
  )

  it.live("excludes even where its file is deleted meanwhile", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const storage = yield* storageOf({ path })
      const waiting = yield* held(
        path,
        Effect.gen(function* () {
          const commit = storage.commit(Sample.plain("1"), Option.none())
          const fiber = yield* Effect.forkDaemon(Effect.interruptible(commit))
          yield* Effect.sleep("20 millis")
          fs.unlinkSync(`${path}.latchkey.lock`)
          return fiber
        })
      )
      yield* Fiber.join(waiting)
      // The waiter did not content itself with the lock on the deleted file.
      assert.isTrue(fs.existsSync(`${path}.latchkey.lock`))
    }).pipe(Effect.scoped)
  )

  it.effect("that cannot be opened is told", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      fs.mkdirSync(`${path}.latchkey.lock`)
      const storage = yield* storageOf({ path })
      const error = yield* Effect.flip(storage.commit(Sample.plain("1"), Option.none()))
      assert.include(error, { _tag: "StorageError", reason: "Malformed" })
    }).pipe(Effect.scoped)
  )
})

describe("other programs' writes", () => {
  it.live("that are half-way are waited for", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path, sound.slice(0, 40))
      const storage = yield* storageOf({ path })
      const loading = yield* Effect.fork(storage.load)
      yield* Effect.sleep("8 millis")
      put(path)
      assert.isTrue(Option.isSome(yield* Fiber.join(loading)))
    }).pipe(Effect.scoped)
  )

  it.live("in place or by rename are seen as changes, other files' are not", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      put(path)
      const storage = yield* storageOf({ path })
      let count = 0
      const changes = Option.getOrThrow(storage.changes)
      yield* Effect.forkScoped(Stream.runForEach(changes, () => Effect.sync(() => count++)))
      yield* Effect.sleep("100 millis")
      put(`${path}.other`)
      yield* Effect.sleep("100 millis")
      assert.strictEqual(count, 0)
      const rises = (change: () => void) =>
        Effect.gen(function* () {
          const before = count
          change()
          const end = (yield* Clock.currentTimeMillis) + 5_000
          while (count === before && (yield* Clock.currentTimeMillis) < end) yield* Effect.sleep("10 millis")
          assert.isAbove(count, before)
          yield* Effect.sleep("60 millis")
        })
      yield* rises(() => put(path, `${sound} `))
      yield* rises(() => fs.renameSync(`${path}.other`, path))
      yield* rises(() => fs.unlinkSync(path))
    }).pipe(Effect.scoped)
  )
})

describe("what is opened", () => {
  it.effect.runIf(process.platform === "linux")("is closed, whatever the outcome", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const { storage, lease } = yield* File.make({ path, backups: 1, lockTimeout: "10 millis" })
      const round = Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* lease.acquire("me", "1 minute")
            yield* Effect.flip(lease.acquire("me", "1 minute"))
          })
        )
        yield* storage.commit(Sample.plain("1"), Option.none())
        yield* Effect.flip(storage.commit(Sample.plain("2"), Option.none()))
        const all = Effect.all([storage.load, storage.load, storage.load], { concurrency: 3 })
        yield* Effect.fork(all).pipe(Effect.flatMap(Fiber.interrupt))
        yield* Stream.runDrain(
          Stream.interruptWhen(Option.getOrThrow(storage.changes), Effect.sleep("1 second"))
        ).pipe(
          Effect.fork,
          Effect.tap(() => TestClock.adjust("2 seconds")),
          Effect.flatMap(Fiber.interrupt)
        )
        yield* storage.remove
        put(path, "{")
        yield* refusals(storage)
        fs.unlinkSync(path)
      })
      yield* round
      const open = () => fs.readdirSync("/proc/self/fd").length
      const before = open()
      yield* Effect.repeatN(round, 7)
      assert.isAtMost(open(), before + 2)
    }).pipe(Effect.scoped)
  )
})
