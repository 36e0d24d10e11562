/** The checks of the keychain, by the state of the session. keyringChild.ts runs them in each state. */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { type CommitRefused, StorageError } from "@latchkey/core/TokenStorage"
import * as Encrypted from "@latchkey/storage/Encrypted"
import * as EncryptionKeys from "@latchkey/storage/EncryptionKeys"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as Keyring from "@latchkey/storage/Keyring"
import {
  FencingLaws,
  HistoryLaws,
  Law,
  LeaseLaws,
  RecordLaws,
  Sample,
  StorageLaws
} from "@latchkey/storage/testing"
import { AsyncEntry } from "@napi-rs/keyring"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { ConfigError } from "effect/ConfigError"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import assert from "node:assert/strict"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs/promises"
import { homedir } from "node:os"
import * as Path from "node:path"
import { keyOf } from "./keys.js"

/** The connection of the daemon that has the name of the keychain. */
const owner = () =>
  run("dbus-send", [
    ...["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/"],
    ...["org.freedesktop.DBus.GetNameOwner", "string:org.freedesktop.secrets"]
  ]).then(
    (reply) => /string "(:[^"]+)"/.exec(reply)?.[1],
    () => undefined
  )

/**
 * A daemon that has the password of the keyring from the start; in a fresh home it makes the keyring. It
 * takes the place of another, and for a moment there may be none.
 */
const unlocked = Effect.promise(async () => {
  const before = await owner()
  await run("gnome-keyring-daemon", ["--unlock", "--replace", "--components=secrets"])
  // By its connection: a question to a name without an owner has the bus start a daemon that is locked.
  const isOpen = (daemon: string) =>
    run("dbus-send", [
      ...["--session", "--print-reply", `--dest=${daemon}`],
      ...["/org/freedesktop/secrets/collection/login", "org.freedesktop.DBus.Properties.Get"],
      ...["string:org.freedesktop.Secret.Collection", "string:Locked"]
    ]).then(
      (reply) => reply.includes("boolean false"),
      () => false
    )
  for (;;) {
    const now = await owner()
    if (now !== undefined && now !== before && (await isOpen(now)) && (await owner()) === now) return
    await Effect.runPromise(Effect.sleep("20 millis"))
  }
})

/** A daemon without a password. */
const untold = Effect.asVoid(
  Effect.promise(() => run("gnome-keyring-daemon", ["--start", "--components=secrets"]))
)

const lock = Effect.promise(() =>
  run("dbus-send", [
    ...["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"],
    "org.freedesktop.Secret.Service.Lock",
    "array:objpath:/org/freedesktop/secrets/collection/login"
  ])
)

const signal = (name: NodeJS.Signals) =>
  Effect.promise(async () => {
    const reply = await run("dbus-send", [
      ...["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/"],
      "org.freedesktop.DBus.GetConnectionUnixProcessID",
      "string:org.freedesktop.secrets"
    ])
    process.kill(Number(/uint32 (\d+)/.exec(reply)?.[1]), name)
  })

const run = (command: string, args: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = ChildProcess.spawn(command, args, { stdio: ["pipe", "pipe", "ignore"] })
    let output = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.on("error", reject)
    child.on("close", (code) => (code === 0 ? resolve(output) : reject(new Error(`${command}: ${code}`))))
    // Who takes no password may be gone before it is written.
    child.stdin.on("error", () => {})
    child.stdin.end("password")
  })

/** One item of its own for each check; the child's home is its own too. */
const fresh = (options: Partial<Keyring.Options> = {}): Keyring.Options => ({
  account: `me ${++serial}`,
  directory: Path.join(homedir(), "locks"),
  ...options
})
let serial = 0

const item = (account: string) => new AsyncEntry("latchkey", account, { linux: { store: "secret-service" } })

const handles = Effect.suspend(() => {
  const options = fresh()
  return Effect.all({
    first: Keyring.make(options),
    second: Keyring.make(options),
    options: Effect.succeed(options)
  })
})
const stores = Effect.map(handles, ({ first, second }) => ({ first: first.storage, second: second.storage }))
const leases = Effect.map(handles, ({ first, second }) => ({ first: first.lease, second: second.lease }))
const fenced = Effect.map(handles, ({ first, second }) => ({ first, second, account: "grant" }))
const record = Effect.map(handles, ({ first, options }) => ({
  storage: first.storage,
  write: (bytes: Uint8Array) =>
    Effect.promise(() =>
      item(options.account).setPassword(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes))
    ),
  read: Effect.promise(async () =>
    new TextEncoder().encode((await item(options.account).getPassword()) ?? "")
  )
}))

type Storage = Keyring.Keyring["storage"]

/** What each operation says when none of them works. */
const refusals = (storage: Storage) =>
  Effect.all([
    Effect.flip(storage.load),
    Effect.flip(storage.commit(Sample.plain("canary"), Option.none())),
    Effect.flip(storage.remove)
  ])

const allRefused = (storage: Storage, reason: string, ...says: ReadonlyArray<string>) =>
  Effect.map(refusals(storage), (errors) => {
    for (const error of errors) {
      assert.equal(error.reason, reason, error.message)
      for (const words of says) assert.ok(error.message.includes(words), error.message)
      assert.ok(!JSON.stringify(error).includes("canary"))
    }
    assert.deepEqual(
      errors.map((error) => ("operation" in error ? error.operation : error._tag)),
      ["load", "commit", "remove"]
    )
  })

const define = <E>(name: string, check: Effect.Effect<void, E>): Law.Law => ({
  name,
  effect: Law.live(check)
})

const keysOf = (options: Keyring.Options) =>
  Effect.provide(EncryptionKeys.EncryptionKeys, Keyring.layerEncryptionKeys(options))

const ringOf = (options: Keyring.Options) => Effect.map(keysOf(options), ({ all }) => all.map(({ id }) => id))

/** A program that keeps a token or a key under `login`. */
const foreignFormat = FileFormat.foreign({
  at: ["login"],
  decode: ({ token }) =>
    typeof token === "string"
      ? Either.right(Option.some(Credentials.make({ accessToken: token })))
      : Either.left({ reason: "NoGrant", path: "token", problem: "is missing: it holds a key" }),
  encode: ({ accessToken }) => ({ token: Redacted.value(accessToken) })
})

const open: ReadonlyArray<Law.Law> = [
  ...StorageLaws.laws({ make: stores, changes: false }),
  ...HistoryLaws.laws({ make: stores, histories: 15 }),
  ...LeaseLaws.laws({ make: leases, ttl: "1 second" }),
  ...FencingLaws.laws({ make: fenced, ttl: "1 second" }),
  // It holds strings: there is no UTF-8 to break.
  ...RecordLaws.laws({ make: record, except: ["not UTF-8"] }),
  define(
    "a record beyond its limit is refused, and told where to go",
    Effect.gen(function* () {
      const { storage } = yield* Keyring.make(fresh({ maxBytes: 300 }))
      const error = yield* Effect.flip(storage.commit(Sample.plain("x".repeat(300)), Option.none()))
      assert.equal(error.reason, "Denied")
      assert.match(error.message, /300 are allowed.*Keyring\.layerEncryptionKeys/)
      assert.ok(Option.isNone(yield* storage.load))
    })
  ),
  define(
    "where no lock file can be made, what is there is read, and a write names the directory and the option",
    Effect.gen(function* () {
      for (const directory of unusable) {
        const options = fresh()
        const first = yield* Keyring.updateEncryptionKeys(options, (keys) => keys)
        const keys = Keyring.layerEncryptionKeys({ ...options, directory })
        const { all } = yield* Effect.scoped(Effect.provide(EncryptionKeys.EncryptionKeys, keys))
        assert.equal(all.length, first.length)
        const fails: ReadonlyArray<Effect.Effect<unknown, StorageError | CommitRefused | ConfigError>> = [
          Keyring.updateEncryptionKeys(fresh({ directory }), (made) => made),
          Effect.scoped(Layer.build(Keyring.layerEncryptionKeys(fresh({ directory })))),
          Effect.flatMap(Keyring.make(fresh({ directory })), ({ storage }) =>
            storage.commit(Sample.plain("a"), Option.none())
          )
        ]
        for (const one of fails) {
          const error = yield* Effect.flip(one)
          assert.ok(error instanceof StorageError)
          assert.equal(error.reason, "Denied")
          assert.ok(error.message.includes(directory), error.message)
          assert.match(error.message, /set another `directory`/)
        }
      }
    })
  ),
  define(
    "100 KB are kept",
    Effect.gen(function* () {
      const { storage } = yield* Keyring.make(fresh())
      const long = Sample.plain("x".repeat(100_000))
      yield* storage.commit(long, Option.none())
      yield* Law.checkSame("it", Option.getOrThrow(yield* storage.load).entry, long)
    })
  ),
  define(
    "several processes lose no increment of each other's",
    Effect.gen(function* () {
      const options = fresh()
      const args = [process.argv[1] ?? "", "increment", JSON.stringify(options)]
      yield* Effect.promise(() => Promise.all(["a", "b", "c"].map(() => run(process.execPath, args))))
      const { storage } = yield* Keyring.make(options)
      assert.equal(Option.getOrThrow(yield* storage.load).entry.generation, 3 * increments)
    })
  ),
  define(
    "another program's item keeps what is not ours, and shares its lease with a file",
    Effect.gen(function* () {
      const path = Path.join(homedir(), "beside", "credentials.json")
      const options = fresh({ format: foreignFormat, beside: path })
      const theirs = (login: object) => JSON.stringify({ theme: "dark", login })
      yield* Effect.promise(() => item(options.account).setPassword('{"theme":"dark"}'))
      const { storage } = yield* Keyring.make(options)
      assert.ok(Option.isNone(yield* storage.load))
      yield* Effect.promise(() => item(options.account).setPassword(theirs({ key: "canary" })))
      assert.equal((yield* Effect.flip(storage.load)).reason, "NoGrant")

      yield* Effect.promise(() => item(options.account).setPassword(theirs({ token: "at-0" })))
      const held = Option.getOrThrow(yield* storage.load)
      const { lease } = yield* File.make({ path, format: foreignFormat })
      const { fence } = yield* lease.acquire("grant", Duration.seconds(10)).pipe(Effect.scoped)
      const late = Entry.keepFence(Entry.first(held.entry.credentials), fence - 1)
      const refused = yield* Effect.flip(storage.commit(late, Option.some(held.version)))
      assert.equal(refused.reason, "Fenced")
      const next = Entry.keepFence(Entry.refreshed(held.entry, Sample.plain("1").credentials), fence)
      yield* storage.commit(next, Option.some(held.version))
      const text = yield* Effect.promise(() => item(options.account).getPassword())
      const document = JSON.parse(text ?? "")
      assert.deepEqual([document.theme, document.login], ["dark", { token: "access-1" }])
      assert.equal(document.latchkey.fence, fence)
      assert.ok(yield* storage.remove)
      const left = yield* Effect.promise(() => item(options.account).getPassword())
      assert.deepEqual(JSON.parse(left ?? ""), { theme: "dark" })
    })
  ),
  define(
    "encryption keys are made once, and open what was encrypted with them",
    Effect.gen(function* () {
      const options = fresh()
      const rings = yield* Effect.all([ringOf(options), ringOf(options), ringOf(options)], {
        concurrency: "unbounded"
      })
      assert.deepEqual(rings[1], rings[0])
      assert.deepEqual(rings[2], rings[0])
      const { storage } = yield* File.make({ path: Path.join(homedir(), "encrypted", "credentials.json") })
      const who = { provider: "example", account: "me" }
      const opened = Effect.provide(Encrypted.make(storage, who), Keyring.layerEncryptionKeys(options))
      yield* (yield* opened).commit(Sample.full, Option.none())
      yield* Law.checkSame("it", Option.getOrThrow(yield* (yield* opened).load).entry, Sample.full)
    })
  ),
  define(
    "encryption keys are added, put first and dropped",
    Effect.gen(function* () {
      const options = fresh()
      const before = yield* ringOf(options)
      const added = yield* Keyring.updateEncryptionKeys(options, (keys) => [keys[0], keyOf("new")])
      assert.equal(added.length, 2)
      const [old, next] = yield* ringOf(options)
      assert.equal(old, before[0])
      yield* Keyring.updateEncryptionKeys(options, ([first, ...others]) => [others[0] ?? first, first])
      assert.deepEqual(yield* ringOf(options), [next, old])
      yield* Keyring.updateEncryptionKeys(options, ([first]) => [first])
      assert.deepEqual(yield* ringOf(options), [next])
    })
  ),
  define(
    "an encryption key that is none is refused, by the name of its item",
    Effect.gen(function* () {
      const options = fresh()
      yield* Effect.promise(() => item(options.account).setPassword("canary"))
      const error = yield* Effect.flip(keysOf(options))
      assert.match(String(error), /keychain: latchkey\/me \d+: the encryption key is not base64/)
      assert.ok(!String(error).includes("canary"))
    })
  ),
  define(
    "its lock files are private and hold no secret, its items have the name that was given",
    Effect.gen(function* () {
      const options = fresh({
        account: "user@example.com",
        service: "a service",
        directory: `${homedir()}/private`
      })
      const { storage, lease } = yield* Keyring.make(options)
      yield* storage.commit(Sample.plain("canary"), Option.none())
      yield* Effect.scoped(lease.acquire("grant", "1 minute"))
      assert.equal(storage.location, "keychain: a service/user@example.com")
      const stat = yield* Effect.promise(() => fs.stat(`${homedir()}/private`))
      assert.equal(stat.mode & 0o777, 0o700)
      for (const name of yield* Effect.promise(() => fs.readdir(`${homedir()}/private`))) {
        const text = yield* Effect.promise(() => fs.readFile(Path.join(homedir(), "private", name), "utf8"))
        assert.ok(!/canary|user@/.test(name + text), name)
      }
      const entry = new AsyncEntry("a service", "user@example.com", { linux: { store: "secret-service" } })
      assert.match((yield* Effect.promise(() => entry.getPassword())) ?? "", /canary/)
    })
  )
]

const restarted: ReadonlyArray<Law.Law> = [
  define(
    "a service that was restarted is found again",
    Effect.gen(function* () {
      const { storage } = yield* Keyring.make(fresh())
      const version = yield* storage.commit(Sample.plain("a"), Option.none())
      yield* unlocked
      assert.equal(Option.getOrThrow(yield* storage.load).version, version)
      yield* unlocked
      yield* storage.commit(Sample.plain("b"), Option.some(version))
      yield* unlocked
      assert.ok(yield* storage.remove)
    })
  )
]

const locked: ReadonlyArray<Law.Law> = [
  define(
    "locked is told from absent, and nothing is lost by it",
    Effect.gen(function* () {
      const [there, absent] = [yield* Keyring.make(fresh()), yield* Keyring.make(fresh())]
      const version = yield* there.storage.commit(Sample.plain("a"), Option.none())
      assert.ok(Option.isNone(yield* absent.storage.load))
      yield* lock
      for (const { storage } of [there, absent]) yield* allRefused(storage, "Denied", "locked", "`File`")
      // The first one of another service has no second item yet that would show it.
      const other = yield* Keyring.make(fresh({ service: "other" }))
      yield* allRefused(other.storage, "Denied", "locked")
      const keys = yield* Effect.flip(keysOf(fresh()))
      assert.ok(keys._tag === "StorageError" && keys.reason === "Denied")
      yield* unlocked
      assert.equal(Option.getOrThrow(yield* there.storage.load).version, version)
      assert.ok(Option.isNone(yield* absent.storage.load))
    })
  )
]

const untouched: ReadonlyArray<Law.Law> = [
  define(
    "a keychain that was never set up is refused as such",
    Effect.flatMap(Keyring.make(fresh()), ({ storage }) =>
      allRefused(storage, "Denied", "never set up", "`File`", "`Encrypted`")
    )
  )
]

/** Directories that cannot be made, by no user. */
const unusable = [process.execPath, "/proc"].map((home) => Path.join(home, "state", "latchkey"))

const none: ReadonlyArray<Law.Law> = [
  define(
    "where there is no keychain the alternatives are named",
    Effect.flatMap(Keyring.make(fresh()), ({ storage }) =>
      allRefused(storage, "Unavailable", "No keychain can be reached here", "`File`", "`Encrypted`")
    )
  ),
  define(
    "the same where no lock file can be made either",
    Effect.gen(function* () {
      for (const directory of unusable) {
        const { storage } = yield* Keyring.make(fresh({ directory }))
        yield* allRefused(storage, "Unavailable", "No keychain can be reached here")
        const keys = Effect.scoped(Layer.build(Keyring.layerEncryptionKeys(fresh({ directory }))))
        const error = yield* Effect.flip(keys)
        assert.match(error.message, /No keychain can be reached here/)
      }
    })
  ),
  define(
    "and a lease can be had all the same, since it is kept in a file",
    Effect.flatMap(Keyring.make(fresh()), ({ lease }) =>
      Effect.scoped(Effect.asVoid(lease.acquire("grant", "1 minute")))
    )
  )
]

const hanging: ReadonlyArray<Law.Law> = [
  define(
    "a call that is not answered ends in time, without holding up the process, and all is sound after it",
    Effect.gen(function* () {
      const options = fresh({ timeout: "1 second" })
      const { storage } = yield* Keyring.make(options)
      const version = yield* storage.commit(Sample.plain("a"), Option.none())
      yield* signal("SIGSTOP")
      const ticks = yield* Ref.make(0)
      const ticking = Effect.forever(
        Effect.andThen(
          Effect.sleep("10 millis"),
          Ref.update(ticks, (n) => n + 1)
        )
      )
      const start = yield* Clock.currentTimeMillis
      const late = yield* Effect.race(
        Effect.all(
          [
            Effect.flip(storage.load),
            Effect.flip(storage.commit(Sample.plain("b"), Option.some(version))),
            Effect.flip(storage.remove),
            Effect.flip(storage.load)
          ],
          { concurrency: "unbounded" }
        ),
        ticking
      )
      const took = (yield* Clock.currentTimeMillis) - start
      for (const error of late) {
        assert.equal(error.reason, "Unavailable")
        assert.match(error.message, /did not answer within 1000 ms|stays locked by another process/)
      }
      assert.ok(took < 10_000, `${took} ms`)
      assert.ok((yield* Ref.get(ticks)) > 5)
      yield* signal("SIGCONT")
      // The late calls have been given up or end by themselves: then it answers again.
      const patient = yield* Keyring.make({ ...options, timeout: "20 seconds" })
      const found = Option.getOrThrow(yield* patient.storage.load)
      yield* Law.checkSame("it", found.entry, Sample.plain("a"))
      yield* patient.storage.commit(Sample.plain("c"), Option.some(found.version))
    })
  )
]

/** What is checked in a state of the keychain, and how it is brought about. */
export const suites = {
  untouched: { before: untold, checks: untouched },
  open: { before: unlocked, checks: open },
  restarted: { before: unlocked, checks: restarted },
  locked: { before: unlocked, checks: locked },
  hanging: { before: unlocked, checks: hanging },
  none: { before: Effect.void, checks: none }
}

export type Suite = keyof typeof suites

/** How many times each process of several counts up. */
const increments = 15

/** Counts the generation of an item up, along with other processes. */
export const increment = (options: Keyring.Options) =>
  Effect.gen(function* () {
    const { storage } = yield* Keyring.make(options)
    for (let done = 0; done < increments;) {
      const held = yield* storage.load
      const generation = Option.match(held, { onNone: () => 1, onSome: ({ entry }) => entry.generation + 1 })
      const entry = new Entry.Entry({ ...Sample.plain("a"), generation })
      const outcome = yield* Effect.either(
        storage.commit(
          entry,
          Option.map(held, ({ version }) => version)
        )
      )
      if (Either.isRight(outcome)) done++
      else if (outcome.left._tag === "StorageError") return yield* outcome.left
    }
  })
