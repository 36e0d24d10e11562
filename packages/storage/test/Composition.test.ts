import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { NodeContext } from "@effect/platform-node"
import * as Credentials from "@latchkey/core/Credentials"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import type { TokenStorage } from "@latchkey/core/TokenStorage"
import { ScriptedRefresher } from "@latchkey/core/testing"
import * as Encrypted from "@latchkey/storage/Encrypted"
import * as EncryptionKeys from "@latchkey/storage/EncryptionKeys"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as KeyValue from "@latchkey/storage/KeyValue"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { freshDirectory } from "./fixtures.js"
import { keyOf } from "./keys.js"
import * as Edition from "../../core/test/support/Edition.js"

type Backend<E> = Layer.Layer<TokenStorage | RefreshLease.RefreshLease, E>

/** A manager as a process of its own would have it: all of its layers are built for it alone. */
const manager = <E>(backend: Backend<E>) =>
  Effect.flatMap(Layer.build(Layer.fresh(Layer.merge(backend, TokenConfig.layer()))), (context) =>
    Effect.provide(TokenManager.make({ account: "example/me", watch: false }), context)
  )

/** The token that two managers give when it is due, and how many requests that took. */
const refreshedByTwo = <E>(backend: Backend<E>) =>
  Effect.gen(function* () {
    const managers = [yield* manager(backend), yield* manager(backend)]
    const tokens = yield* Effect.forEach(managers, (m) => m.getAccessToken, { concurrency: "unbounded" })
    const { count, mostAtOnce } = yield* ScriptedRefresher.RefreshCalls
    assert.strictEqual(yield* count, 1)
    assert.strictEqual(yield* mostAtOnce, 1)
    assert.deepStrictEqual(tokens.map(Redacted.value), ["access-new", "access-new"])
  })

const refresher = ScriptedRefresher.layer([
  ScriptedRefresher.answer({ accessToken: "access-new", refreshToken: "refresh-new", expiresIn: 3_600_000 })
])

const expired = Effect.map(Clock.currentTimeMillis, (now) =>
  Credentials.make({ accessToken: "access-old", refreshToken: "refresh-old", expiresAt: now - 1_000 })
)

const textOf = (path: string) => Effect.promise(() => fs.readFile(path, "utf8"))
const namesIn = (path: string) => Effect.promise(async () => (await fs.readdir(path)).sort())

/** How some provider's own program keeps its login. */
const providersOwn = FileFormat.foreign({
  at: ["login"],
  decode: (login) =>
    Either.right(
      Option.some(
        Credentials.make({
          accessToken: String(login["access"]),
          refreshToken: String(login["refresh"]),
          expiresAt: Number(login["expires"])
        })
      )
    ),
  encode: ({ accessToken, expiresAt, refreshToken }) => ({
    access: Redacted.value(accessToken),
    refresh: Option.getOrUndefined(Option.map(refreshToken, Redacted.value)),
    expires: Option.getOrUndefined(expiresAt)
  })
})

describe("composed", () => {
  it.live("a provider's own file, guarded by a lease kept elsewhere", () =>
    Effect.gen(function* () {
      const home = yield* freshDirectory
      const elsewhere = yield* freshDirectory
      const path = Path.join(home, "auth.json")
      const login = { access: "access-old", refresh: "refresh-old", expires: 1_700_000_000_000, plan: "pro" }
      yield* Effect.promise(() =>
        fs.writeFile(path, JSON.stringify({ theme: "dark", login }, undefined, 4), { mode: 0o600 })
      )
      yield* refreshedByTwo(
        Layer.merge(
          File.layerStorage({ path, format: providersOwn }),
          File.layerLease({ path: Path.join(elsewhere, "example") })
        )
      )
      const after = JSON.parse(yield* textOf(path)) as {
        readonly theme: unknown
        readonly login: Readonly<Record<string, unknown>>
      }
      assert.strictEqual(after.theme, "dark")
      assert.deepInclude(after.login, { access: "access-new", refresh: "refresh-new", plan: "pro" })
      assert.deepStrictEqual(yield* namesIn(home), ["auth.json", "auth.json.latchkey.lock"])
      assert.include(yield* namesIn(elsewhere), "example.latchkey.lease")
    }).pipe(Effect.provide(refresher), Effect.scoped)
  )

  it.live("a file that is encrypted, with its lease, and keys from the configuration", () =>
    Effect.gen(function* () {
      const home = yield* freshDirectory
      const path = Path.join(home, "credentials.json")
      const who = { provider: "example", account: "me" }
      const backend = (key: string) =>
        Encrypted.layer(who).pipe(
          Layer.provideMerge(File.layer({ path })),
          Layer.provide(EncryptionKeys.layerConfig()),
          Layer.provide(
            Layer.setConfigProvider(
              ConfigProvider.fromMap(new Map([["AUTH__ENCRYPTION_KEYS", Redacted.value(keyOf(key))]]))
            )
          )
        )
      yield* (yield* manager(backend("a"))).save(yield* expired)
      yield* refreshedByTwo(backend("a"))
      const text = yield* textOf(path)
      for (const token of ["access-", "refresh-old", "refresh-new"]) assert.notInclude(text, token)
      const keyless = yield* manager(backend("b"))
      const error = yield* Effect.flip(keyless.getAccessToken)
      assert.strictEqual(error.reason, "WrongKey")
      assert.strictEqual(yield* textOf(path), text)
    }).pipe(Effect.provide(refresher), Edition.silent, Effect.scoped)
  )

  it.live("a key-value store that is encrypted, with the lease of the process", () =>
    Effect.gen(function* () {
      const home = yield* freshDirectory
      // One store and one lease, which all who are in the process share.
      const shared = yield* Layer.build(
        Layer.merge(
          Layer.provide(KeyValueStore.layerFileSystem(home), NodeContext.layer),
          RefreshLease.layerProcess
        )
      )
      const backend = Encrypted.layer({ provider: "example", account: "me" }).pipe(
        Layer.provide(KeyValue.layer({ key: "example/me" })),
        Layer.provide(EncryptionKeys.layer([keyOf("a")])),
        Layer.provideMerge(Layer.succeedContext(shared))
      )
      yield* (yield* manager(backend)).save(yield* expired)
      yield* refreshedByTwo(backend)
      const [name = ""] = yield* namesIn(home)
      assert.notInclude(yield* textOf(Path.join(home, name)), "refresh-new")
    }).pipe(Effect.provide(refresher), Effect.scoped)
  )
})
