/** The locks of Claude Code and Codex, held by other processes: meanwhile nothing is sent or written. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, TokenConfig, TokenManager } from "@latchkey/core"
import { OwnStorage, type Provider, ProviderManager } from "@latchkey/providers"
import { OwnerLocks } from "@latchkey/storage"
import { Effect, Exit, Layer, Option, Redacted, Schedule, Scope } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as Path from "node:path"
import { describeWith } from "../../../.ci/describeWith.js"
import { flock } from "../../../.ci/programs.js"
import { answering } from "../../oauth/test/Memory.js"
import { account, claude, codex, files, home, jwt, own } from "./support/world.js"

/** Real processes take part, so this is real time: the tokens of the files have expired long since. */
const expired = {
  claude: () => ({
    claudeAiOauth: { ...files.claude(1_600_000_000_000).claudeAiOauth }
  }),
  codex: () => files.codex(1_600_000_000)
}

/** A process that holds a lock until its input ends, or its kill. */
const holder = (code: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(process.execPath, ["-e", code, ...args], { stdio: ["pipe", "pipe", "inherit"] })
      await once(child.stdout, "data")
      return child
    }),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill("SIGKILL")
        await once(child, "close")
      })
  )

/** As `proper-lockfile`: makes the directory, and writes the file before it gives the lock back. */
const holdDirectory = (lock: string, file = "", content = "") =>
  holder(
    `const fs = require("node:fs"); const [lock, file, content] = process.argv.slice(1)
     fs.mkdirSync(lock); console.log("held")
     process.stdin.on("end", () => { if (file) fs.writeFileSync(file, content); fs.rmdirSync(lock); process.exit() }).resume()`,
    lock,
    file,
    content
  )

/** No caller waits for the lock to be given back. */
const released = (lock: string) =>
  Effect.sync(() => fs.existsSync(lock)).pipe(
    Effect.repeat({ until: (isThere) => !isThere, schedule: Schedule.spaced("10 millis") }),
    Effect.timeout("10 seconds")
  )

/** As a program that locks the file itself: with `flock`. */
const holdKernel = (path: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn("flock", ["-x", path, "sh", "-c", "echo held; exec cat >/dev/null"], {
        stdio: ["pipe", "pipe", "inherit"]
      })
      await once(child.stdout, "data")
      return child
    }),
    (child) =>
      Effect.promise(async () => {
        child.stdin.end()
        if (child.exitCode === null) await once(child, "close")
      })
  )

const manager = (
  provider: Provider.Provider,
  path: string,
  layer: ReturnType<typeof answering>["layer"],
  leaseWait = 20_000
) =>
  Effect.map(
    Layer.build(
      ProviderManager.layer(provider, { path }).pipe(Layer.provide([TokenConfig.layer({ leaseWait }), layer]))
    ),
    (context) => Effect.provide(TokenManager.TokenManager, context)
  ).pipe(Effect.flatten)

const claudeAnswer = {
  access_token: "ours",
  refresh_token: "ours",
  expires_in: 3600,
  scope: "user:inference"
}
const theirs = JSON.stringify({
  claudeAiOauth: {
    ...files.claude(Date.now() + 3_600_000).claudeAiOauth,
    accessToken: "theirs",
    refreshToken: "theirs"
  }
})

describe("a directory that Claude Code makes", () => {
  it.live("while it refreshes nothing is posted, and what it writes is adopted (F6)", () =>
    Effect.gen(function* () {
      const { folder, path } = yield* home(expired.claude())
      const lock = Path.join(folder, ".oauth_refresh.lock")
      const child = yield* holdDirectory(lock, path, theirs)
      const { asked, layer } = answering({ body: claudeAnswer })
      const { getAccessToken } = yield* manager(claude, path, layer)
      const asking = yield* Effect.fork(getAccessToken)
      yield* Effect.sleep("300 millis")
      expect(asked).toHaveLength(0)
      child.stdin.end()
      expect(Redacted.value(yield* asking)).toBe("theirs")
      expect(asked).toHaveLength(0)
      yield* released(lock)
    }).pipe(Effect.scoped)
  )

  it.live("one that never goes away, and is touched, is told by its path after a bounded wait (F6)", () =>
    Effect.gen(function* () {
      const { folder, path } = yield* home(expired.claude())
      const lock = Path.join(fs.realpathSync(folder), ".oauth_refresh.lock")
      yield* holdDirectory(lock)
      const { asked, layer } = answering({ body: claudeAnswer })
      const { getAccessToken } = yield* manager(claude, path, layer, 200)
      const error = yield* Effect.flip(getAccessToken)
      expect(error).toMatchObject({ _tag: "RefreshUnavailable", reason: "LeaseBusy" })
      expect(error.message).toContain(lock)
      expect(asked).toHaveLength(0)
      expect(fs.existsSync(lock)).toBe(true)
    }).pipe(Effect.scoped)
  )

  it.live.each([
    ["left behind a while ago", -61_000],
    ["left behind by a clock that was ahead", 3_600_000]
  ] as const)("one that was %s is taken over (F6)", ([_, age]) =>
    Effect.gen(function* () {
      const { folder, path } = yield* home(expired.claude())
      const lock = Path.join(folder, ".oauth_refresh.lock")
      fs.mkdirSync(lock)
      const then = new Date(Date.now() + age)
      fs.utimesSync(lock, then, then)
      const { asked, layer } = answering({ body: claudeAnswer })
      const { getAccessToken } = yield* manager(claude, path, layer)
      expect(Redacted.value(yield* getAccessToken)).toBe("ours")
      expect(asked).toHaveLength(1)
      yield* released(lock)
    }).pipe(Effect.scoped)
  )

  it.live("we hold it while we refresh, touched, and give back none that is not ours (F6)", () =>
    Effect.gen(function* () {
      const { folder, path } = yield* home(expired.claude())
      const lock = Path.join(folder, ".oauth_refresh.lock")
      const { lease } = yield* own(claude, path)
      const scope = yield* Scope.make()
      const held = yield* Scope.extend(lease.acquire("a", "1 minute"), scope)
      expect(fs.statSync(lock).isDirectory()).toBe(true)
      expect(Math.abs(Date.now() - fs.statSync(lock).mtimeMs)).toBeLessThan(10_000)
      expect(yield* held.isHeld).toBe(true)
      const busy = yield* Effect.flip(Effect.scoped(lease.acquire("a", "1 minute")))
      expect(busy.reason).toBe("Busy")
      // Another takes it for stale, as when this process was stopped for long.
      fs.rmdirSync(lock)
      fs.mkdirSync(lock)
      expect(yield* held.isHeld).toBe(false)
      yield* Scope.close(scope, Exit.void)
      expect(fs.existsSync(lock)).toBe(true)
      // What was taken before the one that is busy is given back at once.
      const other = yield* Scope.make()
      for (const _ of [1, 2]) {
        const refused = yield* Effect.flip(Scope.extend(lease.acquire("a", "1 minute"), other))
        expect(refused.message).toContain(".oauth_refresh.lock")
      }
      fs.rmdirSync(lock)
      yield* Scope.extend(lease.acquire("a", "1 minute"), other)
      yield* Scope.close(other, Exit.void)
      expect(fs.existsSync(lock)).toBe(false)
    }).pipe(Effect.scoped)
  )

  it.live("nothing is written while Claude Code writes; then it is, and its lock is gone (F6)", () =>
    Effect.gen(function* () {
      const { folder, json, path } = yield* home(expired.claude())
      const lock = Path.join(folder, ".storage-write.lock")
      const child = yield* holdDirectory(lock)
      const { storage } = yield* own(claude, path)
      const { entry, version } = Option.getOrThrow(yield* storage.load)
      const next = new Credentials.Credentials({ ...entry.credentials, accessToken: Redacted.make("ours") })
      const writing = yield* Effect.fork(storage.commit(Entry.refreshed(entry, next), Option.some(version)))
      yield* Effect.sleep("200 millis")
      expect(json().claudeAiOauth.accessToken).toBe("claude-at-1")
      child.stdin.end()
      yield* writing
      expect(json().claudeAiOauth.accessToken).toBe("ours")
      expect(fs.existsSync(lock)).toBe(false)
    }).pipe(Effect.scoped)
  )

  it.live("a write that waits in vain is told by the lock's path, and nothing is lost (F6)", () =>
    Effect.gen(function* () {
      const { folder, json, path } = yield* home(expired.claude())
      const lock = Path.join(folder, "x.lock")
      yield* holdDirectory(lock)
      const { storage } = yield* own(claude, path)
      const guarded = OwnerLocks.storage(storage, {
        owner: "Claude Code",
        locks: [{ path: lock, kind: "directory", during: "write", stale: 60_000, create: true }],
        wait: 50
      })
      const { entry, version } = Option.getOrThrow(yield* guarded.load)
      const error = yield* Effect.flip(guarded.commit(entry, Option.some(version)))
      expect(error).toMatchObject({ _tag: "StorageError", reason: "Unavailable", operation: "commit" })
      expect(error.message).toContain(lock)
      expect(json()).toEqual(expired.claude())
      expect(yield* Effect.flip(guarded.remove)).toMatchObject({ operation: "remove" })
    }).pipe(Effect.scoped)
  )
})

it.live("a logout where nothing is makes nothing", () =>
  Effect.gen(function* () {
    const { folder } = yield* home()
    for (const provider of [claude, codex]) {
      const { storage } = yield* own(provider, Path.join(folder, "none", "auth.json"))
      expect(yield* storage.remove).toBe(false)
    }
    expect(fs.readdirSync(folder)).toEqual([])
  }).pipe(Effect.scoped)
)

describeWith(flock, "a file that Codex locks", () => {
  const answer = { access_token: jwt({ exp: 4_000_000_000 }), refresh_token: "ours", id_token: jwt(account) }
  const codexHome = Effect.map(home(), ({ folder }) => {
    const path = Path.join(folder, "auth.json")
    fs.writeFileSync(path, JSON.stringify(expired.codex()), { mode: 0o600 })
    return { folder, path }
  })

  it.live.each(["auth.lock", "auth.json.lock"] as const)(
    "%s: is waited for, then what Codex wrote is adopted (F6)",
    (name) =>
      Effect.gen(function* () {
        const { folder, path } = yield* codexHome
        const child = yield* holdKernel(Path.join(folder, name))
        const { asked, layer } = answering({ body: answer })
        const { getAccessToken } = yield* manager(codex, path, layer)
        const asking = yield* Effect.fork(getAccessToken)
        yield* Effect.sleep("300 millis")
        expect(asked).toHaveLength(0)
        const written = files.codex(4_000_000_001)
        fs.writeFileSync(path, JSON.stringify(written))
        child.stdin.end()
        expect(Redacted.value(yield* asking)).toBe(written.tokens.access_token)
        expect(asked).toHaveLength(0)
      }).pipe(Effect.scoped)
  )

  it.live("a file that nobody locks is no lock; ours is seen by Codex, and ends with the lease (F6)", () =>
    Effect.gen(function* () {
      const { folder, path } = yield* codexHome
      const lock = Path.join(folder, "auth.lock")
      fs.writeFileSync(lock, "", { mode: 0o600 })
      const { lease, storage } = yield* OwnStorage.make(codex, { path })
      const isFree = Effect.promise(async () => {
        const child = spawn("flock", ["-x", "-n", lock, "true"])
        const [code] = (await once(child, "close")) as [number]
        return code === 0
      })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const held = yield* lease.acquire("a", "1 minute")
          expect(yield* held.isHeld).toBe(true)
          expect(yield* isFree).toBe(false)
          // A write of the holder's is a part of its refresh.
          const { entry, version } = Option.getOrThrow(yield* storage.load)
          yield* storage.commit(entry, Option.some(version))
        })
      )
      expect(yield* isFree).toBe(true)
      expect(fs.statSync(lock).mode & 0o777).toBe(0o600)
    }).pipe(Effect.scoped)
  )

  it.live.skipIf(process.platform !== "linux")(
    "where there is no command flock, a lock is honoured all the same",
    () =>
      Effect.gen(function* () {
        const { folder, path } = yield* codexHome
        const child = yield* holdKernel(Path.join(folder, "auth.lock"))
        const { lease } = yield* OwnStorage.make(codex, { path })
        const commands = process.env["PATH"]
        yield* Effect.acquireRelease(
          Effect.sync(() => void (process.env["PATH"] = folder)),
          () => Effect.sync(() => void (process.env["PATH"] = commands))
        )
        const busy = yield* Effect.flip(Effect.scoped(lease.acquire("a", "1 minute")))
        expect(busy.reason).toBe("Busy")
        expect(busy.message).toContain("auth.lock")
        child.stdin.end()
        yield* Effect.promise(() => once(child, "close"))
        yield* Effect.scoped(lease.acquire("a", "1 minute"))
      }).pipe(Effect.scoped)
  )

  it.live("beside another file than Codex's own, none is made that would stay", () =>
    Effect.gen(function* () {
      const { folder, path } = yield* home(expired.codex())
      const { asked, layer } = answering({ body: answer })
      const { getAccessToken } = yield* manager(codex, path, layer)
      yield* getAccessToken
      expect(asked).toHaveLength(1)
      expect(fs.readdirSync(folder).filter((name) => name.startsWith("auth"))).toEqual([])
    }).pipe(Effect.scoped)
  )
})
