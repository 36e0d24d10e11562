import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import { Law, Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs/promises"
import { freshPath } from "./fixtures.js"

const text = (value: unknown) => Option.liftPredicate((v: unknown) => typeof v === "string")(value)

/** A program that keeps its login under `auth.oauth`, an API key beside it. */
const at = ["auth", "oauth"]
const decode: FileFormat.ForeignOptions["decode"] = (section) => {
  const token = text(section["access_token"])
  if (Option.isNone(token)) {
    return Either.left({
      reason: "NoGrant",
      path: "access_token",
      problem: "is missing: it holds an API key"
    })
  }
  const { expires } = section
  return Either.right(
    Option.some(
      Credentials.make({
        accessToken: token.value,
        refreshToken: Option.getOrUndefined(text(section["refresh_token"])),
        expiresAt: typeof expires === "number" ? expires : undefined
      })
    )
  )
}
const encode: FileFormat.ForeignOptions["encode"] = (credentials) => ({
  access_token: Redacted.value(credentials.accessToken),
  refresh_token: Option.getOrUndefined(Option.map(credentials.refreshToken, Redacted.value)),
  expires: Option.getOrUndefined(credentials.expiresAt)
})
const format = FileFormat.foreign({ at, decode, encode })

describe("a token type in another program's file", () => {
  const typed = FileFormat.foreign({
    at,
    encode,
    decode: (section) =>
      Either.right(
        Option.some(
          Credentials.make({ accessToken: "at-1", tokenType: Option.getOrUndefined(text(section["type"])) })
        )
      )
  })
  const read = (type: string) => typed.decode({ auth: { oauth: { type } } }, 0)

  it.each(["Bearer\r\nX-Evil: canary", "canary type", "canary\u202e", "", "\u001b[2Jcanary"])(
    "that could not stand in a header is refused, unquoted: %j (F52)",
    (type) => {
      const problem = Either.getOrThrow(Either.flip(read(type)))
      assert.deepStrictEqual(problem, {
        reason: "Malformed",
        path: "auth.oauth.the token type",
        problem: "is not a token type (RFC 9110 §5.6.2)"
      })
    }
  )

  it.each(["Bearer", "bearer", "DPoP", "N_A", "mac"])("that can is taken: %s", (type) =>
    assert.isTrue(Either.isRight(read(type)))
  )
})

const theirs = `{
    "version": 12345678901234567890,
    "auth": {
        "method": "oauth",
        "oauth": { "access_token": "at-1", "refresh_token": "rt-1", "expires": 1800000000000, "plan": { "tier": "pro" } }
    },
    "projects": { "/home/me": { "trusted": true } }
}
`

const foreignFile = Effect.gen(function* () {
  const path = yield* freshPath
  const write = (content: string) => Effect.promise(() => fs.writeFile(path, content, { mode: 0o600 }))
  const json = Effect.promise(async () => JSON.parse(await fs.readFile(path, "utf8")))
  const { storage } = yield* File.make({ path, format })
  return { path, write, json, storage }
})

const load = (storage: File.File["storage"]) => Effect.map(storage.load, Option.getOrThrow)

describe("another program's file", () => {
  it.effect("loads as a first entry of generation 0", () =>
    Effect.gen(function* () {
      const { storage, write } = yield* foreignFile
      yield* write(theirs)
      const { entry } = yield* load(storage)
      const credentials = Credentials.make({
        accessToken: "at-1",
        refreshToken: "rt-1",
        expiresAt: 1_800_000_000_000
      })
      yield* Law.checkSame("load", entry, Entry.first(credentials, 0))
    }).pipe(Effect.scoped)
  )

  it.effect("keeps what it does not know at every level, its layout too", () =>
    Effect.gen(function* () {
      const { path, storage, write } = yield* foreignFile
      yield* write(theirs)
      const before = yield* load(storage)
      const refreshed = Entry.refreshed(before.entry, Sample.plain("2").credentials)
      yield* storage.commit(refreshed, Option.some(before.version))
      const after = yield* Effect.promise(() => fs.readFile(path, "utf8"))
      assert.include(after, '\n    "version": 12345678901234567890,\n')
      const { latchkey, ...rest } = JSON.parse(after)
      const expected = JSON.parse(theirs)
      Object.assign(expected.auth.oauth, {
        access_token: "access-2",
        refresh_token: "refresh-2",
        expires: 1_800_003_600_000
      })
      assert.deepStrictEqual(rest, expected)
      assert.strictEqual(latchkey.generation, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("gives back our journal: family, generation, fence, intent, mark, when it was obtained", () =>
    Effect.gen(function* () {
      const { storage } = yield* foreignFile
      const { credentials } = Sample.plain("1")
      const entry = new Entry.Entry({
        ...Sample.full,
        credentials: new Credentials.Credentials({ ...credentials, scopes: [] })
      })
      yield* storage.commit(entry, Option.none())
      yield* Law.checkSame("load", (yield* load(storage)).entry, entry)
    }).pipe(Effect.scoped)
  )

  it.effect("is another grant after its program has logged in; only the fence is kept", () =>
    Effect.gen(function* () {
      const { storage, write, json } = yield* foreignFile
      yield* storage.commit(Sample.full, Option.none())
      const document = yield* json
      document.auth.oauth.refresh_token = "rt-of-another-login"
      yield* write(JSON.stringify(document))
      const { entry } = yield* load(storage)
      const credentials = Credentials.make({
        accessToken: "access-full ~!#",
        refreshToken: "rt-of-another-login",
        obtainedAt: 1_800_000_000_000,
        refreshAt: 1_800_003_000_000,
        expiresAt: 1_800_003_600_000
      })
      yield* Law.checkSame("load", entry, Entry.keepFence(Entry.first(credentials, 0), Sample.full.fence))
    }).pipe(Effect.scoped)
  )

  it.effect(
    "keeps its grant when only the access token is another's, which was obtained nobody knows when",
    () =>
      Effect.gen(function* () {
        const { storage, write, json } = yield* foreignFile
        yield* storage.commit(Sample.full, Option.none())
        const document = yield* json
        document.auth.oauth.access_token = "at-of-their-refresh"
        yield* write(JSON.stringify(document))
        const { entry } = yield* load(storage)
        assert.strictEqual(entry.generation, Sample.full.generation)
        assert.strictEqual(entry.family, Sample.full.family)
        assert.deepStrictEqual(entry.credentials.obtainedAt, Option.none())
      }).pipe(Effect.scoped)
  )

  it.effect("removes the keys that the codec says are gone", () =>
    Effect.gen(function* () {
      const { storage, write, json } = yield* foreignFile
      yield* write(theirs)
      const { version } = yield* load(storage)
      const credentials = Credentials.make({ accessToken: "only" })
      yield* storage.commit(Entry.first(credentials), Option.some(version))
      assert.deepStrictEqual((yield* json).auth.oauth, { access_token: "only", plan: { tier: "pro" } })
    }).pipe(Effect.scoped)
  )

  it.effect("loses its grant to remove, and nothing else", () =>
    Effect.gen(function* () {
      const { storage, write, json } = yield* foreignFile
      yield* write(theirs)
      const { entry, version } = yield* load(storage)
      yield* storage.commit(entry, Option.some(version))
      assert.isTrue(yield* storage.remove)
      const left = JSON.parse(theirs)
      delete left.auth.oauth
      assert.deepStrictEqual(yield* json, left)
      assert.deepStrictEqual(yield* storage.load, Option.none())
      assert.isFalse(yield* storage.remove)
      yield* storage.commit(Sample.plain("again"), Option.none())
      assert.strictEqual((yield* json).projects["/home/me"].trusted, true)
    }).pipe(Effect.scoped)
  )

  it.effect("at the top level goes with its grant, or keeps what the codec leaves", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const write = Effect.promise(() =>
        fs.writeFile(path, '{"access_token":"a","theme":"dark"}', { mode: 0o600 })
      )
      yield* write
      const whole = yield* File.make({ path, format: FileFormat.foreign({ at: [], decode, encode }) })
      assert.isTrue(yield* whole.storage.remove)
      assert.isFalse(
        yield* Effect.promise(() =>
          fs.access(path).then(
            () => true,
            () => false
          )
        )
      )
      yield* write
      const clear = ({ access_token: _, ...rest }: FileFormat.JsonObject) => Option.some(rest)
      const part = yield* File.make({ path, format: FileFormat.foreign({ at: [], decode, encode, clear }) })
      assert.isTrue(yield* part.storage.remove)
      assert.strictEqual(yield* Effect.promise(() => fs.readFile(path, "utf8")), '{"theme":"dark"}\n')
    }).pipe(Effect.scoped)
  )

  it.effect("that holds something else says so to those who look, and has room for a grant", () =>
    Effect.gen(function* () {
      const { path, json, storage, write } = yield* foreignFile
      yield* write('{"auth":{"oauth":{"api_key":"canary"}}}')
      const error = yield* Effect.flip(storage.load)
      assert.include(error, { _tag: "StorageError", reason: "NoGrant" })
      assert.include(error.message, `In ${path}, auth.oauth.access_token is missing: it holds an API key.`)
      assert.isFalse(yield* storage.remove)
      yield* storage.commit(Sample.plain("a"), Option.none())
      assert.include((yield* json).auth.oauth, { api_key: "canary", access_token: "access-a" })
      assert.isTrue(Option.isSome(yield* storage.load))
    }).pipe(Effect.scoped)
  )

  // Under the live clock: near the epoch, as under a test clock, small instants are right.
  it.live.each([
    [{ auth: "canary" }, "Malformed", "auth is not an object"],
    [{ auth: { oauth: ["canary"] } }, "Malformed", "auth.oauth is not an object"],
    [{ auth: { oauth: { access_token: " " } } }, "Malformed", "auth.oauth holds a blank or missing token"],
    [
      { auth: { oauth: { access_token: "canary", expires: 1_800_000_000 } } },
      "WrongUnit",
      "auth.oauth.expiresAt"
    ],
    [
      { auth: { oauth: { access_token: "canary" } }, latchkey: "canary" },
      "Malformed",
      "latchkey is not an object"
    ],
    [
      { auth: { oauth: { access_token: "canary" } }, latchkey: { format: 2 } },
      "NewerFormat",
      "latchkey.format"
    ],
    [
      { auth: { oauth: { access_token: "canary" } }, latchkey: { fence: "canary" } },
      "Malformed",
      "latchkey.fence"
    ]
  ] as const)("with %j is refused by its place", ([document, reason, message]) =>
    Effect.gen(function* () {
      const { path, storage, write } = yield* foreignFile
      yield* write(JSON.stringify(document))
      const loaded = yield* Effect.flip(storage.load)
      const committed = yield* Effect.flip(storage.commit(Sample.plain("a"), Option.none()))
      for (const error of [loaded, committed]) {
        assert.include(error, { _tag: "StorageError", reason })
        assert.include(error.message, message)
        assert.notInclude(error.message, "canary")
      }
      assert.strictEqual(yield* Effect.promise(() => fs.readFile(path, "utf8")), JSON.stringify(document))
    }).pipe(Effect.scoped)
  )

  it.effect.each([{}, { auth: {} }, { auth: null }, { auth: { oauth: null } }])(
    "with %j holds no grant",
    (document) =>
      Effect.gen(function* () {
        const { storage, write, json } = yield* foreignFile
        yield* write(JSON.stringify({ ...document, theme: "dark" }))
        assert.deepStrictEqual(yield* storage.load, Option.none())
        yield* storage.commit(Sample.plain("a"), Option.none())
        assert.strictEqual((yield* json).theme, "dark")
        assert.strictEqual((yield* json).auth.oauth.access_token, "access-a")
      }).pipe(Effect.scoped)
  )
})
