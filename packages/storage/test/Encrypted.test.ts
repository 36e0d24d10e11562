import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as Encrypted from "@latchkey/storage/Encrypted"
import * as File from "@latchkey/storage/File"
import { Law, Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs/promises"
import { freshPath } from "./fixtures.js"
import { withKeys } from "./keys.js"

type Storage = Context.Tag.Service<TokenStorage.TokenStorage>

const me = { provider: "example", account: "me" }
const you = { provider: "example", account: "you" }

const held = (storage: Storage) => Effect.map(storage.load, Option.getOrThrow)
const heldEntry = (storage: Storage) => Effect.map(held(storage), ({ entry }) => entry)

/** Puts an entry in the place of whatever is there, behind the back of who encrypts. */
const plant = (inner: Storage, entry: Entry.Entry) =>
  Effect.andThen(inner.remove, inner.commit(entry, Option.none()))

const amended = (entry: Entry.Entry, token: string): Entry.Entry =>
  new Entry.Entry({
    ...entry,
    credentials: new Credentials.Credentials({ ...entry.credentials, accessToken: Redacted.make(token) })
  })

const tokenOf = (entry: Entry.Entry): string => Redacted.value(entry.credentials.accessToken)

const keyIdOf = (entry: Entry.Entry): string | undefined => tokenOf(entry).split(".")[2]

/** The inner storage, two accounts on stores of their own, and a sealed entry of each. */
const accounts = Effect.gen(function* () {
  const inner = yield* TokenStorage.makeMemory()
  const mine = yield* Encrypted.make(inner, me)
  yield* mine.commit(new Entry.Entry({ ...Sample.full, fence: 9 }), Option.none())
  return { inner, mine, sealed: yield* heldEntry(inner) }
})

const sealedFor = (options: Encrypted.Options, entry: Entry.Entry) =>
  Effect.gen(function* () {
    const inner = yield* TokenStorage.makeMemory()
    yield* (yield* Encrypted.make(inner, options)).commit(entry, Option.none())
    return yield* heldEntry(inner)
  })

describe("what the inner storage holds", () => {
  it.effect("is ciphertext, and what compare-and-set and the index need", () =>
    Effect.gen(function* () {
      const { sealed } = yield* accounts
      const { accessToken, ...rest } = Entry.toJson(sealed)
      assert.match(String(accessToken), /^latchkey-sealed\.1\.[0-9a-f]{12}\.[\w-]{16}\.[\w-]+$/)
      assert.deepStrictEqual(rest, {
        latchkey: 1,
        tokenType: "latchkey-sealed",
        scopes: [],
        extras: {},
        family: Sample.full.family,
        generation: Sample.full.generation,
        fence: 9,
        // When it is due, and that it can be renewed.
        expiresAt: 1_800_003_000_000,
        identity: { grantType: "latchkey-sealed" }
      })
    }).pipe(withKeys("a"))
  )

  it.effect("never has the same nonce or ciphertext twice", () =>
    Effect.gen(function* () {
      const all = yield* Effect.replicateEffect(sealedFor(me, Sample.full), 200)
      for (const part of [3, 4]) {
        assert.strictEqual(new Set(all.map((entry) => tokenOf(entry).split(".")[part])).size, 200)
      }
    }).pipe(withKeys("a"))
  )

  it.live("shows no secret in a file", () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const { storage } = yield* File.make({ path, backups: 2 })
      const encrypted = yield* Encrypted.make(storage, me)
      const version = yield* encrypted.commit(Sample.full, Option.none())
      yield* encrypted.commit(Sample.full, Option.some(version))
      const text = yield* Effect.promise(() => fs.readFile(path, "utf8"))
      for (const secret of [
        "access-full",
        "refresh-full",
        "id-full",
        "user@example.com",
        "nested",
        "1800003600"
      ]) {
        assert.notInclude(text, secret)
      }
    }).pipe(withKeys("a"), Effect.scoped)
  )
})

const flip = (text: string, at: number, bit: number): string =>
  text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << bit)) + text.slice(at + 1)

const seed = 20_250_301

/** Of a flip only what an inner storage would let through is of interest: visible ASCII. */
const randomFlip = (token: string): Effect.Effect<string> =>
  Effect.gen(function* () {
    const flipped = flip(
      token,
      yield* Random.nextIntBetween(0, token.length),
      yield* Random.nextIntBetween(0, 7)
    )
    // The format number is no secret and says nothing false: a later one is refused as such.
    const sound = Option.isNone(Credentials.tokenProblem(flipped)) && flipped.split(".")[1] === "1"
    return sound ? flipped : yield* randomFlip(token)
  })

describe("a record that is not what was written", () => {
  it.effect(`is refused, 40 of 40 (seed ${seed})`, () =>
    Effect.gen(function* () {
      const { inner, mine, sealed } = yield* accounts
      const older = yield* sealedFor(me, new Entry.Entry({ ...Sample.full, generation: 6 }))
      const swapped = [
        yield* sealedFor(you, Sample.full),
        yield* sealedFor({ ...me, provider: "other" }, Sample.full),
        yield* sealedFor({ provider: "me", account: "example" }, Sample.full),
        yield* sealedFor({ provider: 'example","me', account: "" }, Sample.full),
        yield* withKeys("b")(sealedFor(me, Sample.full)),
        amended(sealed, tokenOf(sealed).replace(keyIdOf(sealed)!, "0123456789ab")),
        amended(sealed, tokenOf(older)),
        new Entry.Entry({ ...older, generation: Sample.full.generation }),
        new Entry.Entry({ ...sealed, generation: sealed.generation + 1 }),
        new Entry.Entry({ ...sealed, family: "ba9876543210" }),
        new Entry.Entry({ ...sealed, fence: 8 }),
        new Entry.Entry({ ...sealed, fence: 0 }),
        amended(sealed, tokenOf(sealed).slice(0, -1)),
        amended(sealed, `${tokenOf(sealed)}A`),
        amended(sealed, `${tokenOf(sealed)}.AAAA`),
        amended(sealed, tokenOf(sealed).split(".").slice(0, 4).join(".")),
        amended(sealed, "an-access-token-in-clear")
      ]
      const flipped = yield* Effect.replicateEffect(randomFlip(tokenOf(sealed)), 40 - swapped.length)
      const all = [...swapped, ...flipped.map((token) => amended(sealed, token))]
      assert.strictEqual(all.length, 40)
      for (const [i, entry] of all.entries()) {
        yield* plant(inner, entry)
        const outcome = yield* Effect.either(mine.load)
        const reason = Either.isLeft(outcome) ? outcome.left.reason : "loaded"
        assert.strictEqual(reason, "WrongKey", `record ${i}: ${tokenOf(entry)}`)
      }
      yield* plant(inner, sealed)
      yield* Law.checkSame(
        "the sound one",
        yield* heldEntry(mine),
        new Entry.Entry({ ...Sample.full, fence: 9 })
      )
    }).pipe(withKeys("a"), Effect.withRandom(Random.make(seed)))
  )

  it.effect("is refused in another spelling of the same bytes", () =>
    Effect.gen(function* () {
      const { inner, mine } = yield* accounts
      let respelled = 0
      for (const name of ["", "x", "xx"]) {
        const sealed = yield* sealedFor(me, Sample.plain(name))
        const token = tokenOf(sealed)
        const bytes = (text: string) => Buffer.from(text.split(".")[4] ?? "", "base64url").toString("hex")
        const others = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
          .map((last) => token.slice(0, -1) + last)
          .filter((other) => other !== token && bytes(other) === bytes(token))
        for (const other of others) {
          yield* plant(inner, amended(sealed, other))
          assert.strictEqual((yield* Effect.flip(mine.load)).reason, "WrongKey")
          respelled++
        }
      }
      // One of three lengths leaves four bits unused, one two, one none.
      assert.strictEqual(respelled, 15 + 3)
    }).pipe(withKeys("a"))
  )

  it.live(`is refused or harmless, whichever bit of its file is flipped (seed ${seed})`, () =>
    Effect.gen(function* () {
      const path = yield* freshPath
      const { storage } = yield* File.make({ path })
      const encrypted = yield* Encrypted.make(storage, me)
      yield* encrypted.commit(Sample.full, Option.none())
      const sound = yield* Effect.promise(() => fs.readFile(path))
      let refused = 0
      for (let i = 0; i < 100; i++) {
        const bytes = Buffer.from(sound)
        bytes[yield* Random.nextIntBetween(0, bytes.length)]! ^= 1 << (yield* Random.nextIntBetween(0, 8))
        yield* Effect.promise(() => fs.writeFile(path, bytes))
        const outcome = yield* Effect.either(encrypted.load)
        if (Either.isLeft(outcome)) refused++
        else yield* Law.checkSame(`flip ${i}`, Option.getOrThrow(outcome.right).entry, Sample.full)
      }
      assert.isAbove(refused, 60)
    }).pipe(withKeys("a"), Effect.withRandom(Random.make(seed)), Effect.scoped)
  )

  it.effect("says what to do, and neither token nor key", () =>
    Effect.gen(function* () {
      const { inner, mine, sealed } = yield* accounts
      const expected = [
        { entry: yield* sealedFor(you, Sample.full), says: "cannot be decrypted for me at example" },
        { entry: yield* withKeys("b")(sealedFor(me, Sample.full)), says: "Add that key after the first one" },
        {
          entry: amended(sealed, tokenOf(sealed).replace(".1.", ".2.")),
          says: "upgrade",
          reason: "NewerFormat"
        },
        { entry: Sample.plain("canary"), says: "is not encrypted", reason: "Insecure" }
      ]
      for (const { entry, says, reason = "WrongKey" } of expected) {
        yield* plant(inner, entry)
        const error = yield* Effect.flip(mine.load)
        assert.strictEqual(error.reason, reason)
        assert.include(error.message, says)
        const shown = Inspectable.toStringUnknown(error) + String(error.stack)
        for (const part of tokenOf(entry).split(".").slice(3)) assert.notInclude(shown, part)
        assert.notInclude(shown, "canary")
        assert.isTrue(yield* mine.remove)
      }
    }).pipe(withKeys("a"))
  )

  it.effect("is told from a later one, where it is an earlier one put back", () =>
    Effect.gen(function* () {
      const { inner, mine, sealed } = yield* accounts
      const { entry, version } = yield* held(mine)
      const next = Entry.refreshed(entry, Sample.plain("next").credentials)
      yield* mine.commit(next, Option.some(version))
      yield* plant(inner, sealed)
      assert.isTrue(Entry.isRolledBack(yield* heldEntry(mine), next))
    }).pipe(withKeys("a"))
  )
})

describe("a fence", () => {
  it.effect("may rise in the inner storage", () =>
    Effect.gen(function* () {
      const { inner, mine, sealed } = yield* accounts
      yield* plant(inner, new Entry.Entry({ ...sealed, fence: 12 }))
      assert.strictEqual((yield* heldEntry(mine)).fence, 12)
    }).pipe(withKeys("a"))
  )
})

describe("rotation", () => {
  it.effect("has no moment in which a process cannot read", () =>
    Effect.gen(function* () {
      const inner = yield* TokenStorage.makeMemory()
      type Ring = readonly [string, ...ReadonlyArray<string>]
      const steps: ReadonlyArray<Ring> = [["old"], ["old", "new"], ["new", "old"], ["new"]]
      yield* withKeys("old")(
        Effect.flatMap(Encrypted.make(inner, me), (s) => s.commit(Sample.plain("0"), Option.none()))
      )
      for (const [i, keys] of steps.entries()) {
        // While one step is rolled out, processes of the step before it still run.
        const before = yield* withKeys(...steps[Math.max(0, i - 1)]!)(Encrypted.make(inner, me))
        const after = yield* withKeys(...keys)(Encrypted.make(inner, me))
        for (const storage of [before, after, before]) {
          const { version } = yield* held(storage)
          yield* storage.commit(Sample.plain(`${i}`), Option.some(version))
        }
        if (i === 2) {
          assert.isTrue(yield* withKeys(...keys)(Encrypted.reencrypt(inner, me)))
          assert.isFalse(yield* withKeys(...keys)(Encrypted.reencrypt(inner, me)))
        }
        yield* Law.checkSame(`step ${i}`, yield* heldEntry(after), Sample.plain(`${i}`))
      }
    })
  )

  it.effect("encrypts with the first key at the next commit", () =>
    Effect.gen(function* () {
      const { inner, sealed } = yield* withKeys("old")(accounts)
      const storage = yield* withKeys("new", "old")(Encrypted.make(inner, me))
      const { entry, version } = yield* held(storage)
      assert.strictEqual(keyIdOf(yield* heldEntry(inner)), keyIdOf(sealed))
      yield* storage.commit(entry, Option.some(version))
      assert.notStrictEqual(keyIdOf(yield* heldEntry(inner)), keyIdOf(sealed))
    })
  )

  it.effect("can be done now, and changes nothing else", () =>
    Effect.gen(function* () {
      const { inner } = yield* withKeys("old")(accounts)
      assert.isTrue(yield* Encrypted.reencrypt(inner, me))
      const storage = yield* withKeys("new")(Encrypted.make(inner, me))
      yield* Law.checkSame("it", yield* heldEntry(storage), new Entry.Entry({ ...Sample.full, fence: 9 }))
      const other = yield* TokenStorage.makeMemory()
      assert.isFalse(yield* Encrypted.reencrypt(other, me))
    }).pipe(withKeys("new", "old"))
  )

  it.live("needs no lease, even where one was granted since", () =>
    Effect.gen(function* () {
      const { storage, lease } = yield* File.make({ path: yield* freshPath })
      const old = yield* withKeys("old")(Encrypted.make(storage, me))
      yield* old.commit(new Entry.Entry({ ...Sample.full, fence: 5 }), Option.none())
      const { fence } = yield* Effect.scoped(lease.acquire("me", "1 minute"))
      assert.isTrue(yield* Encrypted.reencrypt(storage, me))
      assert.strictEqual((yield* heldEntry(storage)).fence, fence)
      yield* heldEntry(yield* withKeys("new")(Encrypted.make(storage, me)))
    }).pipe(withKeys("new", "old"), Effect.scoped)
  )

  it.effect("is refused where another writer came in between", () =>
    Effect.gen(function* () {
      const { inner } = yield* withKeys("old")(accounts)
      const other = yield* withKeys("old")(Encrypted.make(inner, me))
      const racing: Storage = {
        location: inner.location,
        load: Effect.tap(inner.load, () =>
          Effect.flatMap(held(other), ({ version }) =>
            other.commit(Sample.plain("other"), Option.some(version))
          )
        ).pipe(Effect.orDie),
        commit: inner.commit,
        remove: inner.remove,
        changes: inner.changes
      }
      const refused = yield* Effect.flip(Encrypted.reencrypt(racing, me))
      assert.strictEqual(refused.reason, "Conflict")
    }).pipe(withKeys("new", "old"))
  )
})

describe("records in clear", () => {
  it.effect("are adopted where that is asked for, and encrypted with the next commit", () =>
    Effect.gen(function* () {
      const inner = yield* TokenStorage.makeMemory(Option.some(Sample.full))
      const refusing = yield* Encrypted.make(inner, me)
      assert.strictEqual((yield* Effect.flip(refusing.load)).reason, "Insecure")
      const adopting = yield* Encrypted.make(inner, { ...me, clear: "adopt" })
      const { entry, version } = yield* held(adopting)
      yield* Law.checkSame("the adopted one", entry, Sample.full)
      yield* adopting.commit(entry, Option.some(version))
      yield* Law.checkSame("the encrypted one", yield* heldEntry(refusing), Sample.full)
    }).pipe(withKeys("a"))
  )

  it.effect("and encrypted at once by reencrypt", () =>
    Effect.gen(function* () {
      const inner = yield* TokenStorage.makeMemory(Option.some(Sample.full))
      assert.strictEqual((yield* Effect.flip(Encrypted.reencrypt(inner, me))).reason, "Insecure")
      assert.isTrue(yield* Encrypted.reencrypt(inner, { ...me, clear: "adopt" }))
      yield* Law.checkSame("it", yield* heldEntry(yield* Encrypted.make(inner, me)), Sample.full)
    }).pipe(withKeys("a"))
  )
})

it.effect("an entry that would not read back is refused before anything is written", () =>
  Effect.gen(function* () {
    const { mine } = yield* accounts
    const { entry, version } = yield* held(mine)
    const error = yield* Effect.flip(mine.commit(amended(entry, "canary\n"), Option.some(version)))
    assert.strictEqual(error.reason, "Malformed")
    assert.notInclude(error.message, "canary")
    assert.strictEqual((yield* held(mine)).version, version)
  }).pipe(withKeys("a"))
)

describe("the storages of many accounts", () => {
  it.effect("are each encrypted under their own name", () =>
    Effect.gen(function* () {
      const inner = yield* TokenStorages.makeMemory()
      const outer = yield* Effect.provide(
        TokenStorages.TokenStorages,
        Layer.provide(
          Encrypted.layerAccounts({ provider: "example" }),
          Layer.succeed(TokenStorages.TokenStorages, inner)
        )
      )
      const mine = Either.getOrThrow(outer.of("me"))
      yield* mine.commit(Sample.full, Option.none())
      assert.strictEqual(tokenOf(yield* heldEntry(mine)), tokenOf(Sample.full))
      const sealed = yield* heldEntry(Either.getOrThrow(inner.of("me")))
      assert.match(tokenOf(sealed), /^latchkey-sealed/)
      yield* plant(Either.getOrThrow(inner.of("you")), sealed)
      const moved = yield* Effect.flip(Either.getOrThrow(outer.of("you")).load)
      assert.strictEqual(moved.reason, "WrongKey")
      yield* mine.remove
      assert.deepStrictEqual(yield* mine.load, Option.none())
    }).pipe(withKeys("first"))
  )
})
