/** Canaries in stores: sound stores, and stores with canaries in wrong places. */
import { KeyValueStore } from "@effect/platform"
import { SystemError } from "@effect/platform/Error"
import { Credentials, Entry, RefreshLease, TokenStorage } from "@latchkey/core"
import { Encrypted, EncryptionKeys, File, FileFormat, KeyValue } from "@latchkey/storage"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { Effect, Either, Layer, Option, Redacted, type Scope } from "effect"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Canaries, Scenario } from "../../../core/test/support/Canaries.js"

const directory = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(join(tmpdir(), "latchkey-canary-"))),
  (path) => Effect.promise(() => fs.rm(path, { recursive: true, force: true }))
)

const grant = (canaries: Canaries) =>
  Credentials.make({
    accessToken: canaries.take(),
    refreshToken: canaries.take(),
    idToken: canaries.take(),
    extras: { device_secret: canaries.take() }
  })

/** All that a storage does, and all that it says of it. */
const everything = (canaries: Canaries) =>
  Effect.gen(function* () {
    const storage = yield* TokenStorage.TokenStorage
    const seen: Array<unknown> = [storage]
    const keep = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.flatMap(Effect.exit(effect), (exit) => Effect.sync(() => void seen.push(exit)))
    const held = yield* Effect.either(storage.load)
    yield* keep(storage.load)
    const version = Either.isRight(held) ? Option.map(held.right, (h) => h.version) : Option.none()
    const entry = Entry.first(grant(canaries))
    yield* keep(storage.commit(entry, version))
    yield* keep(storage.commit(entry, Option.some("no version" as TokenStorage.Version)))
    yield* keep(storage.load)
    yield* keep(storage.remove)
    yield* keep(storage.load)
    const lease = yield* Effect.serviceOption(RefreshLease.RefreshLease)
    if (Option.isSome(lease)) {
      yield* keep(Effect.scoped(lease.value.acquire("account", "1 minute")))
      yield* keep(Effect.scoped(lease.value.acquire("account", 0)))
    }
    return seen
  })

/** Documents with a secret wherever one may come to stand. */
const documents: Readonly<Record<string, (canary: () => string) => string>> = {
  "nothing there": () => "",
  "not JSON": (c) => c(),
  "cut off": (c) =>
    JSON.stringify(Entry.toJson(Entry.first(Credentials.make({ accessToken: c() })))).slice(0, -3),
  "a secret as a key": (c) => JSON.stringify({ latchkey: 1, [c()]: { [c()]: c() } }),
  "a key twice": (c) => `{"latchkey":1,"${c()}":1,"accessToken":"${c()}","accessToken":"${c()}"}`,
  "an access token of a wrong type": (c) => JSON.stringify({ latchkey: 1, accessToken: { token: c() } }),
  "an expiry that is a token": (c) => JSON.stringify({ latchkey: 1, accessToken: c(), expiresAt: c() }),
  "a wrong unit": (c) => JSON.stringify({ latchkey: 1, accessToken: c(), expiresAt: 1_700_000_000 }),
  "a later format": (c) => JSON.stringify({ latchkey: 99, accessToken: c(), more: c() }),
  "an array": (c) => JSON.stringify([c(), c()]),
  "a blank token": (c) => JSON.stringify({ latchkey: 1, accessToken: "undefined", refreshToken: c() }),
  "trailing data": (c) => `{"latchkey":1}${c()}`,
  "a line break in a token": (c) => JSON.stringify({ latchkey: 1, accessToken: `${c()}\n${c()}` })
}

const foreign = FileFormat.foreign({
  at: ["auth"],
  decode: (section) =>
    typeof section["token"] === "string"
      ? Either.right(Option.some(Credentials.make({ accessToken: section["token"] })))
      : Either.left({ reason: "NoGrant", path: "token", problem: "is missing" }),
  encode: (credentials) => ({ token: Redacted.value(credentials.accessToken) })
})

type Built = Layer.Layer<TokenStorage.TokenStorage, unknown, Scope.Scope>

/** How each store comes to hold a document. */
const stores = (
  canaries: Canaries
): Readonly<Record<string, (document: string) => Effect.Effect<Built, unknown, Scope.Scope>>> => {
  const fileWith = (document: string, mode = 0o600) =>
    Effect.flatMap(directory, (at) =>
      Effect.promise(async () => {
        const path = join(at, "credentials.json")
        await fs.writeFile(path, document, { mode })
        return path
      })
    )
  const keys = EncryptionKeys.layer([
    Redacted.make(Buffer.from(canaries.take().slice(0, 32)).toString("base64"))
  ])
  return {
    "a file": (document) => Effect.map(fileWith(document), (path) => File.layer({ path })),
    "a file for all to read": (document) =>
      Effect.map(fileWith(document, 0o644), (path) => File.layer({ path })),
    "another program's file": (document) =>
      Effect.map(fileWith(`{"auth":${document || "null"}}`), (path) => File.layer({ path, format: foreign })),
    "an encrypted file": (document) =>
      Effect.map(fileWith(document), (path) =>
        Encrypted.layer({ provider: "example", account: "me" }).pipe(
          Layer.provide(File.layer({ path })),
          Layer.provide(keys)
        )
      ),
    "a key-value store": (document) =>
      Effect.succeed(
        KeyValue.layer({ key: "grant" }).pipe(
          Layer.provide(
            Layer.effect(
              KeyValueStore.KeyValueStore,
              Effect.tap(KeyValueStore.KeyValueStore, (store) => store.set("grant", document))
            ).pipe(Layer.provide(KeyValueStore.layerMemory))
          )
        )
      ),
    "a key-value store whose errors quote": () =>
      Effect.succeed(
        KeyValue.layer({ key: "grant" }).pipe(
          Layer.provide(Layer.succeed(KeyValueStore.KeyValueStore, quoting(canaries)))
        )
      ),
    "SQLite that is no database": (document) =>
      Effect.map(fileWith(document), (filename) => Sqlite.layer({ account: "me", filename }))
  }
}

const quoting = (canaries: Canaries): KeyValueStore.KeyValueStore => {
  const fail = () =>
    new SystemError({
      module: "KeyValueStore",
      method: "set",
      reason: "Unknown",
      description: `could not handle ${canaries.take()}`,
      cause: new Error(`value: ${canaries.take()}`)
    })
  return KeyValueStore.make({
    get: () => Effect.failSync(fail),
    getUint8Array: () => Effect.failSync(fail),
    set: () => Effect.failSync(fail),
    remove: () => Effect.failSync(fail),
    clear: Effect.failSync(fail),
    size: Effect.failSync(fail)
  })
}

export const scenarios = (canaries: Canaries): ReadonlyArray<Scenario> =>
  Object.entries(stores(canaries)).flatMap(([store, open]) =>
    Object.entries(documents).map(([what, document]) => ({
      name: `storage, ${store}, ${what}`,
      play: Effect.scoped(
        Effect.flatMap(
          Effect.suspend(() => open(document(() => canaries.take()))),
          (layer) => Effect.provide(everything(canaries), layer)
        )
      )
    }))
  )
