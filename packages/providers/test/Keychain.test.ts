/** Credentials in the keychain or in a file: which one is read, which one is written, and the errors. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, TokenStorage } from "@latchkey/core"
import type { Context } from "effect"
import { Effect, Either, Option } from "effect"
import * as KeychainThenFile from "../src/internal/keychainThenFile.js"

type Storage = Context.Tag.Service<TokenStorage.TokenStorage>

const grant = (name: string) =>
  Entry.first(Credentials.make({ accessToken: `at-${name}`, refreshToken: `rt-${name}`, expiresAt: 1 }))

const broken = (reason: TokenStorage.StorageError["reason"], message: string): Storage => {
  const error = (operation: "load" | "commit" | "remove") =>
    new TokenStorage.StorageError({ reason, operation, location: "there", message })
  return TokenStorage.TokenStorage.of({
    location: "there",
    load: error("load"),
    commit: () => error("commit"),
    remove: error("remove"),
    changes: Option.none()
  })
}

/** The two places; `empty` makes an item of the keychain that is there without a grant. */
const world = (
  file: Option.Option<Entry.Entry>,
  keychain: Option.Option<Entry.Entry>,
  options: Partial<KeychainThenFile.Options> & { readonly empty?: boolean } = {}
) =>
  Effect.gen(function* () {
    const parts = {
      file: yield* TokenStorage.makeMemory(file),
      keychain: yield* TokenStorage.makeMemory(keychain)
    }
    const exists = Effect.map(parts.keychain.load, (held) => Option.isSome(held) || options.empty === true)
    const both = KeychainThenFile.make({
      ...{ ...parts, exists, fallBack: "absent", removesFile: false },
      ...options
    })
    return { ...parts, both }
  })

const none = Option.none<Entry.Entry>()
const inFile = Option.some(grant("file"))
const inKeychain = Option.some(grant("keychain"))
const entryOf = (storage: Storage) =>
  Effect.map(
    storage.load,
    Option.map(({ entry }) => entry)
  )

describe("keychain", () => {
  it.effect("keychain before file: what lies beside a live item is a former grant (F7)", () =>
    Effect.gen(function* () {
      const { both, file, keychain } = yield* world(inFile, inKeychain)
      const held = Option.getOrThrow(yield* both.load)
      expect(held.entry).toEqual(grant("keychain"))
      // What a refresh brings goes to where its owner reads it.
      yield* both.commit(grant("new"), Option.some(held.version))
      expect([yield* entryOf(keychain), yield* entryOf(file)]).toEqual([Option.some(grant("new")), inFile])
    })
  )

  it.effect("an item without a grant is the owner's word that nobody is logged in (F7)", () =>
    Effect.gen(function* () {
      const { both, keychain } = yield* world(inFile, none, { empty: true })
      expect(yield* both.load).toEqual(Option.none())
      yield* both.commit(grant("new"), Option.none())
      expect(yield* entryOf(keychain)).toEqual(Option.some(grant("new")))
    })
  )

  it.effect("success: the file, where the keychain has no such item", () =>
    Effect.gen(function* () {
      const { both } = yield* world(inFile, none)
      expect(yield* entryOf(both)).toEqual(inFile)
    })
  )

  it.effect("not found: in neither is no error", () =>
    Effect.gen(function* () {
      const { both } = yield* world(none, none)
      expect(yield* both.load).toEqual(Option.none())
      expect(yield* both.remove).toBe(false)
    })
  )

  it.effect.each([
    ["unavailable", "Unavailable", "No keychain can be reached here."],
    ["locked", "Denied", "The keychain is locked."],
    ["invalid JSON", "Malformed", "The record at keychain: x is no JSON."],
    ["not an object", "Malformed", "The record at keychain: x is not an object."],
    ["an API key alone", "NoGrant", "The record holds an API key."]
  ] as const)(
    "%s: is told, never 'not logged in' (12), and the file's grant is not taken for it",
    ([_, reason, message]) =>
      Effect.gen(function* () {
        const { both, file } = yield* world(inFile, none, { keychain: broken(reason, message) })
        const error = yield* Effect.flip(both.load)
        expect(error).toMatchObject({ _tag: "StorageError", reason })
        expect(error.message).toBe(
          reason === "Unavailable" || reason === "Denied"
            ? `${message} The file memory is not read instead, because it may hold a spent grant; to use only the file, set credentials.keychain to false.`
            : message
        )
        expect(yield* Effect.either(both.commit(grant("new"), Option.none()))).toMatchObject({
          _tag: "Left",
          left: { reason }
        })
        expect(yield* entryOf(file)).toEqual(inFile)
      })
  )

  it.effect("exception: a file that cannot be read is told, where the keychain has no item", () =>
    Effect.gen(function* () {
      const { both } = yield* world(none, none, { file: broken("Malformed", "the file is torn") })
      expect(yield* Effect.flip(both.load)).toMatchObject({
        reason: "Malformed",
        message: "the file is torn"
      })
    })
  )

  it.effect("both fail: the keychain's word counts", () =>
    Effect.gen(function* () {
      const { both } = yield* world(none, none, {
        file: broken("Denied", "file"),
        keychain: broken("Unavailable", "keychain")
      })
      expect(yield* Effect.flip(both.load)).toMatchObject({ reason: "Unavailable" })
      expect(yield* Effect.flip(both.remove)).toMatchObject({ reason: "Unavailable" })
    })
  )

  it.effect("round trip: what was found is written back where it was, a new login into the keychain", () =>
    Effect.gen(function* () {
      for (const [place, file, keychain] of [
        ["file", inFile, none],
        ["keychain", none, inKeychain],
        ["keychain", none, none]
      ] as const) {
        const here = yield* world(file, keychain)
        const held = yield* here.both.load
        const version = yield* here.both.commit(
          grant("new"),
          Option.map(held, (h) => h.version)
        )
        expect(yield* entryOf(here[place])).toEqual(Option.some(grant("new")))
        expect(yield* here.both.load).toEqual(Option.some({ entry: grant("new"), version }))
        if (place === "keychain") expect(yield* here.file.load).toEqual(Option.none())
      }
    })
  )

  it.effect("a login that came into the keychain meanwhile wins over a commit to the file", () =>
    Effect.gen(function* () {
      const { both, file, keychain } = yield* world(inFile, none)
      const held = Option.getOrThrow(yield* both.load)
      yield* keychain.commit(grant("login"), Option.none())
      const late = yield* Effect.either(both.commit(grant("late"), Option.some(held.version)))
      expect(late).toMatchObject({ _tag: "Left", left: { _tag: "CommitRefused", reason: "Conflict" } })
      expect(Either.isLeft(yield* Effect.either(both.commit(grant("late"), Option.none())))).toBe(true)
      expect(yield* entryOf(file)).toEqual(inFile)
      expect(yield* entryOf(both)).toEqual(Option.some(grant("login")))
    })
  )

  it.effect("a logout leaves the grant in neither, though one of them fails", () =>
    Effect.gen(function* () {
      const { both, file, keychain } = yield* world(inFile, inKeychain)
      expect(yield* both.remove).toBe(true)
      expect([yield* file.load, yield* keychain.load]).toEqual([Option.none(), Option.none()])
      const half = yield* world(none, inKeychain, { file: broken("Denied", "read-only") })
      expect(yield* Effect.flip(half.both.remove)).toMatchObject({ reason: "Denied" })
      expect(yield* half.keychain.load).toEqual(Option.none())
    })
  )
})

describe("the keychain alone, as a program is told to use it", () => {
  const alone = { fallBack: "never", removesFile: true } as const

  it.effect("a file beside it is not read, and goes with the next write (F15)", () =>
    Effect.gen(function* () {
      const empty = yield* world(inFile, none, alone)
      expect(yield* empty.both.load).toEqual(Option.none())
      const { both, file, keychain } = yield* world(inFile, inKeychain, alone)
      const held = Option.getOrThrow(yield* both.load)
      expect(held.entry).toEqual(grant("keychain"))
      yield* both.commit(grant("new"), Option.some(held.version))
      expect(yield* entryOf(keychain)).toEqual(Option.some(grant("new")))
      expect(yield* entryOf(file)).toEqual(none)
    })
  )

  it.effect("one that is locked is told", () =>
    Effect.gen(function* () {
      const { both } = yield* world(inFile, none, { ...alone, keychain: broken("Denied", "locked") })
      expect(yield* Effect.flip(both.load)).toMatchObject({ reason: "Denied", message: "locked" })
    })
  )
})

describe("the keychain where there is one, as a program chooses by itself", () => {
  const either = { fallBack: "unreadable", removesFile: true } as const

  it.effect.each(["Unavailable", "Denied"] as const)(
    "where the keychain is %s, the file is read and written (F15)",
    (reason) =>
      Effect.gen(function* () {
        for (const before of [inFile, none]) {
          const { both, file } = yield* world(before, none, { ...either, keychain: broken(reason, "x") })
          const held = yield* both.load
          expect(Option.map(held, ({ entry }) => entry)).toEqual(before)
          yield* both.commit(
            grant("new"),
            Option.map(held, ({ version }) => version)
          )
          expect(yield* entryOf(file)).toEqual(Option.some(grant("new")))
          expect(yield* both.remove).toBe(true)
        }
      })
  )

  it.effect("an item that is damaged is told, and the file is not taken for it", () =>
    Effect.gen(function* () {
      const { both } = yield* world(inFile, none, { ...either, keychain: broken("Malformed", "torn") })
      expect(yield* Effect.flip(both.load)).toMatchObject({ reason: "Malformed", message: "torn" })
    })
  )
})
