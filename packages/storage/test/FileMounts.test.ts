import * as Entry from "@latchkey/core/Entry"
import * as File from "@latchkey/storage/File"
import { Sample } from "@latchkey/storage/testing"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs"
import * as Path from "node:path"
import { freshDirectory, spawn } from "./fixtures.js"
import { describeWith } from "../../../.ci/describeWith.js"
import { bind, mounts, readOnly, tmpfs } from "./support/mounts.js"
import * as Edition from "../../core/test/support/Edition.js"

const isRoot = process.getuid?.() === 0
const put = (path: string, content: string, mode = 0o600) => fs.writeFileSync(path, content, { mode })
const sound = JSON.stringify(Entry.toJson(Sample.plain("1")))

const open = (path: string, options: Partial<File.Options> = {}) => File.make({ path, ...options })

const commit = (storage: File.File["storage"], name: string) =>
  Effect.flatMap(storage.load, (loaded) =>
    storage.commit(
      Sample.plain(name),
      Option.map(loaded, ({ version }) => version)
    )
  )

const tokenIn = (storage: File.File["storage"]) =>
  Effect.map(storage.load, (loaded) =>
    Redacted.value(Option.getOrThrow(loaded).entry.credentials.accessToken)
  )

/** A single file of a host, mounted into a container's directory. */
const mountedFile = (content: string) =>
  Effect.gen(function* () {
    const directory = yield* freshDirectory
    const host = Path.join(directory, "host", "credentials.json")
    const path = Path.join(directory, "container", "credentials.json")
    for (const file of [host, path]) {
      fs.mkdirSync(Path.dirname(file))
      put(file, "")
    }
    put(host, content)
    yield* bind(host, path)
    return { host, path }
  })

describeWith(mounts, "a single file that is mounted", () => {
  it.live("is written in place, whole, and backed up when asked (F16)", () =>
    Effect.gen(function* () {
      const { host, path } = yield* mountedFile(sound)
      const { lease, storage } = yield* open(path, { backups: 1 })
      const inode = fs.statSync(host).ino
      yield* commit(storage, "a-much-longer-name-than-before")
      yield* Effect.scoped(lease.acquire("me", "1 minute"))
      assert.strictEqual(yield* tokenIn(storage), "access-a-much-longer-name-than-before")
      yield* commit(storage, "2")
      assert.strictEqual(yield* tokenIn(storage), "access-2")
      assert.strictEqual(fs.statSync(host).ino, inode)
      assert.strictEqual(fs.statSync(host).mode & 0o777, 0o600)
      assert.strictEqual(yield* tokenIn((yield* open(host)).storage), "access-2")
      assert.deepStrictEqual(
        fs.readdirSync(Path.dirname(path)).filter((name) => /backup|journal|tmp/.test(name)),
        ["credentials.json.latchkey.backup-2"]
      )
      const stale = yield* Effect.either(storage.commit(Sample.plain("3"), Option.none()))
      assert.isTrue(Either.isLeft(stale) && stale.left._tag === "CommitRefused")
    }).pipe(Effect.scoped)
  )

  it.live("that a crash tore is read from what was whole beside it, and mended by the next write (F16)", () =>
    Effect.gen(function* () {
      const { host, path } = yield* mountedFile(sound)
      const { storage } = yield* open(path)
      // As a process leaves it that is killed half-way.
      const next = JSON.stringify(Entry.toJson(Sample.plain("2")))
      put(`${path}.latchkey.journal`, next)
      fs.writeFileSync(host, next.slice(0, 40))
      assert.strictEqual(yield* tokenIn(storage), "access-2")
      yield* commit(storage, "3")
      assert.strictEqual(yield* tokenIn((yield* open(host)).storage), "access-3")
      assert.isFalse(fs.existsSync(`${path}.latchkey.journal`))
      // What is whole is never set back by a journal that was left.
      put(`${path}.latchkey.journal`, next)
      assert.strictEqual(yield* tokenIn(storage), "access-3")
    }).pipe(Effect.scoped)
  )

  it.live("cannot be removed: its tokens are, and it takes the next login (F16)", () =>
    Effect.gen(function* () {
      const { host, path } = yield* mountedFile(sound)
      const { storage } = yield* open(path, { backups: 2 })
      yield* commit(storage, "2")
      assert.isTrue(yield* storage.remove)
      assert.strictEqual(fs.readFileSync(host, "utf8"), "{}\n")
      assert.deepStrictEqual(yield* storage.load, Option.none())
      assert.isFalse(yield* storage.remove)
      for (const name of fs.readdirSync(Path.dirname(path))) {
        assert.notInclude(fs.readFileSync(Path.join(Path.dirname(path), name), "utf8"), "access-")
      }
      yield* commit(storage, "3")
      assert.strictEqual(yield* tokenIn(storage), "access-3")
    }).pipe(Effect.scoped)
  )

  it.live("in a directory that cannot be written is written in place all the same (F16)", () =>
    Effect.gen(function* () {
      const { host, path } = yield* mountedFile(sound)
      yield* bind(Path.dirname(path), Path.dirname(path))
      yield* readOnly(Path.dirname(path))
      yield* bind(host, path)
      const { lease, storage } = yield* open(path, { backups: 1 })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* lease.acquire("me", "1 minute")
          assert.strictEqual((yield* Effect.flip(lease.acquire("me", "1 minute"))).reason, "Busy")
        })
      )
      yield* commit(storage, "2")
      yield* commit(storage, "3")
      assert.strictEqual(yield* tokenIn(storage), "access-3")
      assert.isTrue(yield* storage.remove)
      assert.strictEqual(fs.readFileSync(host, "utf8"), "{}\n")
    }).pipe(Effect.scoped)
  )
})

describe("a file that may be written in a directory that may not", () => {
  it.live.runIf(isRoot)("is written in place by its owner (F16)", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const path = Path.join(directory, "credentials.json")
      put(path, "{}")
      fs.chownSync(path, 65_534, 65_534)
      fs.chmodSync(directory, 0o755)
      const child = yield* spawn({ path, do: "commit", uid: 65_534 })
      assert.deepStrictEqual(yield* child.rest, [true])
      assert.deepStrictEqual(fs.readdirSync(directory), ["credentials.json"])
      assert.strictEqual(fs.statSync(path).uid, 65_534)
      assert.isTrue(Option.isSome(yield* (yield* open(path, { owner: "any" })).storage.load))
    }).pipe(Effect.scoped)
  )
})

describeWith(mounts, "a medium", () => {
  it.live("that can only be read serves its grant; a write names the path and the cause (F59)", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      yield* tmpfs(directory, 64)
      const path = Path.join(directory, "credentials.json")
      const { lease, storage } = yield* open(path)
      yield* commit(storage, "1")
      yield* readOnly(directory)
      assert.strictEqual(yield* tokenIn(storage), "access-1")
      for (const failed of [yield* Effect.flip(commit(storage, "2")), yield* Effect.flip(storage.remove)]) {
        assert.include(failed, { _tag: "StorageError", reason: "Denied" })
        assert.include(failed.message, path)
        assert.include(failed.message, "(EROFS): the file system is read-only")
      }
      const none = yield* Effect.flip(lease.acquire("me", "1 minute"))
      assert.strictEqual(none.reason, "Unavailable")
      assert.include(none.message, "(EROFS): the file system is read-only")
      assert.strictEqual(yield* tokenIn(storage), "access-1")
    }).pipe(Effect.scoped)
  )

  it.live(
    "that is full serves its grant and keeps its backups, however often a commit fails (F51, F59)",
    () =>
      Effect.gen(function* () {
        const directory = yield* freshDirectory
        yield* tmpfs(directory, 64)
        const path = Path.join(directory, "credentials.json")
        const { storage } = yield* open(path, { backups: 2 })
        for (const name of ["1", "2", "3"]) yield* commit(storage, name)
        const fill = Path.join(directory, "fill")
        const file = fs.openSync(fill, "w")
        try {
          for (;;) fs.writeSync(file, Buffer.alloc(4_096))
        } catch {
          fs.closeSync(file)
        }
        const before = fs.readdirSync(directory)
        for (let times = 0; times < 3; times++) {
          const failed = yield* Effect.flip(commit(storage, "4"))
          assert.include(failed, { _tag: "StorageError", reason: "Denied" })
          assert.include(failed.message, "(ENOSPC): the disk is full")
          assert.include(failed.message, path)
          assert.strictEqual(yield* tokenIn(storage), "access-3")
          assert.deepStrictEqual(fs.readdirSync(directory), before)
        }
        fs.unlinkSync(fill)
        yield* commit(storage, "4")
        assert.deepStrictEqual(
          fs.readdirSync(directory).filter((name) => name.includes("backup")),
          ["credentials.json.latchkey.backup-2", "credentials.json.latchkey.backup-3"]
        )
      }).pipe(Effect.scoped)
  )
})

/** A secret as Kubernetes mounts one: links to a directory that is changed as a whole. */
const mountedSecret = (mode: number) =>
  Effect.gen(function* () {
    const directory = yield* freshDirectory
    yield* tmpfs(directory, 64)
    fs.mkdirSync(Path.join(directory, "..2026_11_27"))
    const file = Path.join(directory, "..2026_11_27", "credentials.json")
    put(file, sound)
    fs.chmodSync(file, mode)
    fs.symlinkSync("..2026_11_27", Path.join(directory, "..data"))
    const path = Path.join(directory, "credentials.json")
    fs.symlinkSync(Path.join("..data", "credentials.json"), path)
    yield* readOnly(directory)
    return { file: Path.join(directory, "..data", "credentials.json"), path }
  })

describeWith(mounts, "a mounted secret", () => {
  const warnings: Array<string> = []
  const logger = Edition.logging(({ message }) => void warnings.push(String(message)))

  it.live.each([0o644, 0o444, 0o440, 0o604, 0o666])(
    "of mode %o is refused with advice that can be followed, and served where that is asked for (F17)",
    (mode) =>
      Effect.gen(function* () {
        const { file, path } = yield* mountedSecret(mode)
        const refused = yield* Effect.flip((yield* open(path)).storage.load)
        assert.include(refused, { _tag: "StorageError", reason: "Insecure" })
        assert.notInclude(refused.message, "chmod")
        for (const words of [file, `0${mode.toString(8)}`, "read-only", "defaultMode", 'exposed: "accept"']) {
          assert.include(refused.message, words)
        }
        const { storage } = yield* open(path, { exposed: "accept" })
        warnings.length = 0
        assert.strictEqual(yield* tokenIn(storage), "access-1")
        assert.strictEqual(yield* tokenIn(storage), "access-1")
        assert.lengthOf(warnings, 1)
        assert.include(warnings[0], file)
        assert.notInclude(warnings[0], "access-1")
      }).pipe(logger, Effect.scoped)
  )

  it.live.each([0o600, 0o400])("of mode %o is served without a word (F17)", (mode) =>
    Effect.gen(function* () {
      const { path } = yield* mountedSecret(mode)
      warnings.length = 0
      assert.strictEqual(yield* tokenIn((yield* open(path)).storage), "access-1")
      assert.lengthOf(warnings, 0)
    }).pipe(logger, Effect.scoped)
  )

  it.live(
    "of another user is refused with advice that can be followed, and served where that is asked for (F17)",
    () =>
      Effect.gen(function* () {
        const directory = yield* freshDirectory
        yield* tmpfs(directory, 64)
        const path = Path.join(directory, "credentials.json")
        put(path, sound)
        fs.chownSync(path, 65_534, 65_534)
        yield* readOnly(directory)
        const refused = yield* Effect.flip((yield* open(path)).storage.load)
        assert.include(refused, { _tag: "StorageError", reason: "Denied" })
        assert.notInclude(refused.message, "chown")
        for (const words of ["65534", "read-only", "runAsUser", 'owner: "any"'])
          assert.include(refused.message, words)
        assert.strictEqual(yield* tokenIn((yield* open(path, { owner: "any" })).storage), "access-1")
      }).pipe(Effect.scoped)
  )
})

describe("a file that others may read, where that is accepted", () => {
  it.live("is private again once it was written (F17)", () =>
    Effect.gen(function* () {
      const path = Path.join(yield* freshDirectory, "credentials.json")
      put(path, sound)
      fs.chmodSync(path, 0o644)
      const { storage } = yield* open(path, { exposed: "accept" })
      yield* commit(storage, "2")
      assert.strictEqual(fs.statSync(path).mode & 0o777, 0o600)
    }).pipe(Edition.silent, Effect.scoped)
  )
})

/** A database on a medium of its own; `log`: with what was written last in its log alone, as after a crash. */
const databaseOn = (directory: string, log: boolean) =>
  Effect.gen(function* () {
    const filename = Path.join(directory, "grants #1.db")
    const away = Path.join(yield* freshDirectory, "grants.db")
    yield* Effect.scoped(
      Effect.gen(function* () {
        const { storage } = yield* databaseAt(away)
        yield* storage.commit(Sample.plain("0"), Option.none())
        yield* commit(storage, "1")
        if (log) for (const suffix of ["", "-wal"]) fs.copyFileSync(away + suffix, filename + suffix)
      })
    )
    if (!log) fs.copyFileSync(away, filename)
    for (const name of fs.readdirSync(directory)) fs.chmodSync(Path.join(directory, name), 0o600)
    return filename
  })

const databaseAt = (filename: string) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Layer.fresh(Sqlite.layer({ filename, account: "me" })))
    return { storage: Context.get(context, TokenStorage), lease: Context.get(context, RefreshLease) }
  })

const fillUp = (directory: string) => {
  const path = Path.join(directory, "fill")
  const file = fs.openSync(path, "w")
  try {
    for (;;) fs.writeSync(file, Buffer.alloc(4_096))
  } catch {
    fs.closeSync(file)
  }
  return () => fs.unlinkSync(path)
}

describeWith(mounts, "a database on a medium", () => {
  it.live.each([
    { log: false, full: true },
    { log: true, full: true },
    { log: false, full: false },
    { log: true, full: false }
  ])(
    "that cannot be written serves its grant, and names the disk when it must write: %j (F59)",
    ({ full, log }) =>
      Effect.gen(function* () {
        const directory = yield* freshDirectory
        yield* tmpfs(directory, 2_048)
        const filename = yield* databaseOn(directory, log)
        const before = fs.readdirSync(directory).sort()
        if (!full) yield* readOnly(directory)
        const empty = full ? fillUp(directory) : () => {}
        const { lease, storage } = yield* databaseAt(filename)
        assert.strictEqual(yield* tokenIn(storage), "access-1")
        for (const failed of [yield* Effect.flip(commit(storage, "2")), yield* Effect.flip(storage.remove)]) {
          assert.include(failed, { _tag: "StorageError", reason: "Denied" })
          assert.include(failed.message, directory)
          assert.match(failed.message, full ? /is full \(ENOSPC\)|disk is full/ : /is read-only \(EROFS\)/)
        }
        const none = yield* Effect.flip(Effect.scoped(lease.acquire("me", "1 minute")))
        assert.strictEqual(none.reason, "Unavailable")
        assert.match(none.message, /full|read-only/)
        assert.strictEqual(yield* tokenIn(storage), "access-1")
        if (!full) return assert.deepStrictEqual(fs.readdirSync(directory).sort(), before)
        empty()
        yield* commit(storage, "2")
        assert.strictEqual(yield* tokenIn(storage), "access-2")
        yield* Effect.scoped(lease.acquire("me", "1 minute"))
      }).pipe(Effect.scoped)
  )

  it.live("that cannot be written and has none there says so at once (F59)", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      yield* tmpfs(directory, 64)
      yield* readOnly(directory)
      const failed = yield* Effect.flip(databaseAt(Path.join(directory, "grants.db")))
      assert.include(failed, { _tag: "StorageError", reason: "Denied" })
      assert.include(failed.message, "(EROFS)")
    }).pipe(Effect.scoped)
  )
})
