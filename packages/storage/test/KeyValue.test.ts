import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { NodeContext } from "@effect/platform-node"
import * as KeyValue from "@latchkey/storage/KeyValue"
import { HistoryLaws, RecordLaws, Sample, StorageLaws } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as KeyValues from "../src/edition/KeyValues.js"
import { freshDirectory } from "./fixtures.js"
import * as Stores from "./support/Stores.js"

const key = "credentials"

const { KeyValueStore: Store } = KeyValueStore
type Store = KeyValueStore.KeyValueStore

const overMemory = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, KeyValueStore.layerMemory)

const overFiles = <A, E, R>(effect: Effect.Effect<A, E, R | Store>) =>
  Effect.flatMap(freshDirectory, (directory) =>
    Effect.provide(effect, Layer.provide(KeyValueStore.layerFileSystem(directory), NodeContext.layer))
  )

/** Two storages on one store, each made by itself. */
const two = Effect.all({ first: KeyValue.make({ key }), second: KeyValue.make({ key }) })

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const record = Effect.gen(function* () {
  const store = yield* Store
  return {
    storage: yield* KeyValue.make({ key }),
    write: (bytes: Uint8Array) => Effect.orDie(store.set(key, decoder.decode(bytes))),
    read: Effect.map(Effect.orDie(KeyValues.get(store, key)), (text) =>
      new TextEncoder().encode(Option.getOrElse(text, () => ""))
    )
  }
})

describe("a key of a store in memory", () => {
  const laws = [
    ...StorageLaws.laws({ make: overMemory(two), changes: false }),
    ...HistoryLaws.laws({ make: overMemory(two), histories: 50 }),
    // It holds strings: there is no UTF-8 to break.
    ...RecordLaws.laws({ make: overMemory(record), except: ["not UTF-8"] })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})

describe.concurrent("a key of a store in files", () => {
  const laws = [
    ...StorageLaws.laws({ make: overFiles(two), changes: false }),
    ...HistoryLaws.laws({ make: overFiles(two), histories: 10 })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})

/** A store whose `set` waits to be let on; it says when it is called. */
const slow = Effect.gen(function* () {
  const store = yield* Store
  const called = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const set = (name: string, value: string | Uint8Array) =>
    Deferred.succeed(called, undefined).pipe(
      Effect.andThen(Deferred.await(go)),
      Effect.andThen(store.set(name, value))
    )
  const storage = yield* Effect.provideService(KeyValue.make({ key }), Store, { ...store, set })
  return { storage, called: Deferred.await(called), go: Deferred.succeed(go, undefined) }
})

/** A store on which everything fails like this. */
const failing = (error: KeyValues.StoreError) =>
  Effect.provideService(
    KeyValue.make({ key }),
    Store,
    Stores.failing(() => error)
  )

const details = {
  description: "canary-description",
  pathOrDescriptor: "canary-path",
  cause: new Error("canary-cause")
}

describe("KeyValue", () => {
  it.effect("keeps what it does not know", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const storage = yield* KeyValue.make({ key })
      const version = yield* storage.commit(Sample.plain("a"), Option.none())
      yield* store.modify(key, (text) => text.replace("{", '{"of another": 12345678901234567890,'))
      yield* Effect.flip(storage.commit(Sample.plain("b"), Option.some(version)))
      const { version: changed } = Option.getOrThrow(yield* storage.load)
      yield* storage.commit(Sample.plain("b"), Option.some(changed))
      const text = Option.getOrThrow(yield* KeyValues.get(store, key))
      assert.include(text, '"of another":12345678901234567890')
      assert.include(text, "refresh-b")
    }).pipe(overMemory)
  )

  it.effect("keeps two keys, and two prefixes, apart", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const at = (prefix: string, name: string) =>
        Effect.provideService(KeyValue.make({ key: name }), Store, KeyValueStore.prefix(store, prefix))
      const all = yield* Effect.all([at("a/", "1"), at("a/", "2"), at("b/", "1")])
      for (const [i, storage] of all.entries()) yield* storage.commit(Sample.plain(`${i}`), Option.none())
      assert.isTrue(yield* all[0].remove)
      const left = yield* Effect.forEach(all, (storage) => storage.load)
      assert.deepStrictEqual(left.map(Option.isSome), [false, true, true])
      assert.strictEqual(yield* store.size, 2)
    }).pipe(overMemory)
  )

  it.effect("finishes a commit that is interrupted while it writes", () =>
    Effect.gen(function* () {
      const { storage, called, go } = yield* slow
      const commit = yield* Effect.fork(storage.commit(Sample.plain("a"), Option.none()))
      yield* called
      const interruption = yield* Effect.fork(Fiber.interrupt(commit))
      yield* go
      yield* Fiber.join(interruption)
      assert.isTrue(Option.isSome(yield* storage.load))
    }).pipe(overMemory)
  )

  it.effect("writes nothing when it is interrupted while it waits for its turn", () =>
    Effect.gen(function* () {
      const { storage, called, go } = yield* slow
      const first = yield* Effect.fork(storage.commit(Sample.plain("a"), Option.none()))
      yield* called
      const second = yield* Effect.fork(storage.remove)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(second)
      yield* go
      const version = yield* Fiber.join(first)
      assert.strictEqual(Option.getOrThrow(yield* storage.load).version, version)
    }).pipe(overMemory)
  )

  const failures = [
    { error: Stores.systemError("PermissionDenied", details), reason: "Denied" },
    { error: Stores.systemError("TimedOut", details), reason: "Unavailable" },
    { error: Stores.systemError("Unknown", details), reason: "Unavailable" },
    { error: Stores.badArgument(details), reason: "Malformed" }
  ]
  it.effect.each(failures)("fails with $reason where the store fails with $error", ({ error, reason }) =>
    Effect.gen(function* () {
      const storage = yield* failing(error)
      const found = yield* Effect.all([
        Effect.flip(storage.load),
        Effect.flip(storage.commit(Sample.plain("canary"), Option.none())),
        Effect.flip(storage.remove)
      ])
      assert.deepStrictEqual(
        found.map((failure) => ("operation" in failure ? failure.operation : failure._tag)),
        ["load", "commit", "remove"]
      )
      for (const failure of found) {
        assert.strictEqual(failure.reason, reason)
        assert.include(failure.message, "key-value store: credentials")
        assert.notInclude(Inspectable.toStringUnknown(failure) + String(failure.stack), "canary")
      }
    })
  )

  it.effect("refuses a record beyond its limit, to read and to write", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const storage = yield* KeyValue.make({ key, maxBytes: 500 })
      const long = Sample.plain("x".repeat(500))
      const denied = yield* Effect.flip(storage.commit(long, Option.none()))
      assert.strictEqual(denied.reason, "Denied")
      assert.include(denied.message, "500 are allowed")
      yield* storage.commit(Sample.plain("a"), Option.none())
      yield* store.modify(key, (text) => text + " ".repeat(500))
      assert.strictEqual((yield* Effect.flip(storage.load)).reason, "Malformed")
    }).pipe(overMemory)
  )

  it.effect.each([{ key: " " }, { key, maxBytes: 0 }, { key, maxBytes: Number.NaN }])(
    "refuses options that cannot work: %o",
    (options) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(KeyValue.make(options))
        assert.strictEqual(error.reason, "Malformed")
      }).pipe(overMemory)
  )

  it.effect("refuses an entry that would not read back, and says nothing of it", () =>
    Effect.gen(function* () {
      const storage = yield* KeyValue.make({ key })
      const blank = Sample.plain("canary")
      const entry = { ...blank, credentials: { ...blank.credentials, tokenType: "" } }
      const error = yield* Effect.flip(storage.commit(entry, Option.none()))
      assert.strictEqual(error.reason, "Malformed")
      assert.include(error.message, "Nothing was written.")
      assert.notInclude(error.message, "canary")
      assert.isTrue(Option.isNone(yield* storage.load))
    }).pipe(overMemory)
  )
})
