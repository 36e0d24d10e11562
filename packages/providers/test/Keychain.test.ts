/** Claude's credentials in a file or in the keychain: which is read, which is written, what is told. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, TokenStorage } from "@latchkey/core"
import type { Context } from "effect"
import { Effect, Either, Option } from "effect"
import * as FileThenKeychain from "../src/internal/fileThenKeychain.js"

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

const world = (file: Option.Option<Entry.Entry>, keychain: Option.Option<Entry.Entry>) =>
  Effect.gen(function* () {
    const parts = {
      file: yield* TokenStorage.makeMemory(file),
      keychain: yield* TokenStorage.makeMemory(keychain)
    }
    return { ...parts, both: FileThenKeychain.make(parts.file, parts.keychain) }
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
  it.effect("file before keychain", () =>
    Effect.gen(function* () {
      const { both } = yield* world(inFile, inKeychain)
      expect(yield* entryOf(both)).toEqual(inFile)
    })
  )

  it.effect("success: the fall-back where the file holds none", () =>
    Effect.gen(function* () {
      const { both } = yield* world(none, inKeychain)
      expect(yield* entryOf(both)).toEqual(inKeychain)
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
    ["unavailable", "Unavailable", "No keychain can be reached here"],
    ["locked", "Denied", "The keychain is locked"],
    ["invalid JSON", "Malformed", "The record at keychain: x is no JSON"],
    ["not an object", "Malformed", "The record at keychain: x is no object"]
  ] as const)("%s: is told, and never 'not logged in' (12)", ([_, reason, message]) =>
    Effect.gen(function* () {
      const file = yield* TokenStorage.makeMemory()
      const both = FileThenKeychain.make(file, broken(reason, message))
      const error = yield* Effect.flip(both.load)
      expect(error).toMatchObject({ _tag: "StorageError", reason })
      expect(error.message).toBe(
        `There are no credentials at memory, and the keychain was looked into: ${message}`
      )
      expect(yield* Effect.either(both.commit(grant("new"), Option.none()))).toMatchObject({
        left: { reason }
      })
      expect(yield* file.load).toEqual(Option.none())
    })
  )

  it.effect(
    "exception: a file that cannot be read is told, and the keychain's grant is not taken for it",
    () =>
      Effect.gen(function* () {
        const { keychain } = yield* world(none, inKeychain)
        const both = FileThenKeychain.make(broken("Malformed", "the file is torn"), keychain)
        expect(yield* Effect.flip(both.load)).toMatchObject({
          reason: "Malformed",
          message: "the file is torn"
        })
      })
  )

  it.effect("both fail: the file's word counts", () =>
    Effect.gen(function* () {
      const both = FileThenKeychain.make(broken("Denied", "file"), broken("Unavailable", "keychain"))
      expect(yield* Effect.flip(both.load)).toMatchObject({ reason: "Denied", message: "file" })
      expect(yield* Effect.flip(both.remove)).toMatchObject({ reason: "Denied" })
    })
  )

  it.effect("round trip: what was found is written back where it was, a new login into the keychain", () =>
    Effect.gen(function* () {
      for (const [place, file, keychain] of [
        ["file", inFile, inKeychain],
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

  it.effect("a login that came into the file meanwhile wins over a commit to the keychain", () =>
    Effect.gen(function* () {
      const { both, file, keychain } = yield* world(none, inKeychain)
      const held = Option.getOrThrow(yield* both.load)
      yield* file.commit(grant("login"), Option.none())
      const late = yield* Effect.either(both.commit(grant("late"), Option.some(held.version)))
      expect(late).toMatchObject({ left: { _tag: "CommitRefused", reason: "Conflict" } })
      expect(Either.isLeft(yield* Effect.either(both.commit(grant("late"), Option.none())))).toBe(true)
      expect(yield* entryOf(keychain)).toEqual(inKeychain)
      expect(yield* entryOf(both)).toEqual(Option.some(grant("login")))
    })
  )

  it.effect("a logout leaves the grant in neither, though one of them fails", () =>
    Effect.gen(function* () {
      const { both, file, keychain } = yield* world(inFile, inKeychain)
      expect(yield* both.remove).toBe(true)
      expect([yield* file.load, yield* keychain.load]).toEqual([Option.none(), Option.none()])
      const half = yield* world(none, inKeychain)
      const failing = FileThenKeychain.make(broken("Denied", "read-only"), half.keychain)
      expect(yield* Effect.flip(failing.remove)).toMatchObject({ reason: "Denied" })
      expect(yield* half.keychain.load).toEqual(Option.none())
    })
  )
})
