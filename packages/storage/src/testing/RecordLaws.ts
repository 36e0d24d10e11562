/**
 * What a storage must do with a record that was damaged behind its back: fail with the right type, name the
 * place and no value, and leave the record unchanged. For storages that keep an entry as one JSON text. See
 * {@link Law} for how to run the laws.
 *
 * @since 0.1.0
 */
import type { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as Entry from "@latchkey/core/Entry"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { check, type Law, law, LawBroken } from "./Law.js"
import * as Sample from "./Sample.js"

/**
 * One unused store, and direct access to the bytes of its record.
 *
 * @since 0.1.0
 * @category models
 */
export interface Backend<E> {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, E>
  readonly read: Effect.Effect<Uint8Array, E>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E> {
  readonly make: Effect.Effect<Backend<E>, E, Scope.Scope>
  /** Names of {@link damages} that cannot occur in this backend. */
  readonly except?: ReadonlyArray<string> | undefined
}

/**
 * A way to damage a record, and the results that the storage may then return.
 *
 * @since 0.1.0
 * @category models
 */
export interface Damage {
  readonly name: string
  readonly reasons: ReadonlyArray<StorageError["reason"]>
  /** Returns the bytes that replace a sound record. */
  readonly apply: (sound: Uint8Array) => Uint8Array
}

const encoder = new TextEncoder()
const textOf = (bytes: Uint8Array): string =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).trimEnd()
const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array =>
  Uint8Array.from(parts.flatMap((p) => [...p]))

const damage = (
  name: string,
  apply: (sound: string) => string,
  reasons: Damage["reasons"] = ["Malformed"]
): Damage => ({ name, reasons, apply: (sound) => encoder.encode(apply(textOf(sound))) })

/** Replaces a field's value, wherever the field is in the record. */
const setting = (field: string, value: string) => (sound: string) =>
  sound.replace(new RegExp(`("${field}"\\s*:\\s*)("[^"]*"|-?[\\d.]+)`), (_, before: string) => before + value)

/** One level in the text for each of 10,000 in the value. */
const deep = "[".repeat(10_000) + "]".repeat(10_000)

/**
 * The damages of a JSON record. The fields are those of `Entry.toJson`.
 *
 * @since 0.1.0
 * @category inputs
 */
export const damages: ReadonlyArray<Damage> = [
  damage("empty", () => ""),
  damage("blank", () => " \n"),
  damage("truncated", (sound) => sound.slice(0, sound.length / 2)),
  damage("truncated by one byte", (sound) => sound.slice(0, -1)),
  { name: "filled with NUL", reasons: ["Malformed"], apply: (sound) => new Uint8Array(sound.length) },
  {
    name: "NUL in its second half",
    reasons: ["Malformed"],
    apply: (sound) => sound.map((byte, i) => (i < sound.length / 2 ? byte : 0))
  },
  damage("trailing data", (sound) => `${sound}}`),
  damage("two records", (sound) => `${sound}\n${sound}`),
  {
    name: "byte order mark",
    reasons: ["Malformed"],
    apply: (sound) => concat(Uint8Array.of(0xef, 0xbb, 0xbf), sound)
  },
  {
    name: "UTF-16",
    reasons: ["Malformed"],
    apply: (sound) =>
      concat(Uint8Array.of(0xff, 0xfe), Uint8Array.from([...sound].flatMap((byte) => [byte, 0])))
  },
  {
    name: "not UTF-8",
    reasons: ["Malformed"],
    apply: (sound) => sound.map((byte, i) => (i === sound.length - 10 ? 0xff : byte))
  },
  damage("array at top level", (sound) => `[${sound}]`),
  damage("string at top level", () => '"canary-damaged"'),
  damage("duplicate key", (sound) => sound.replace("{", '{"accessToken":"canary-damaged",')),
  damage("__proto__", (sound) => sound.replace("{", '{"__proto__":{"accessToken":"canary-damaged"},')),
  damage("newer format", setting("latchkey", "2"), ["NewerFormat"]),
  damage("no format", setting("latchkey", '"canary-damaged"')),
  damage("10,000 levels deep", (sound) => sound.replace("{", `{"deep":${deep},`)),
  damage("a token of another type", setting("accessToken", "12345678")),
  damage("a blank token", setting("accessToken", '""')),
  damage('the token "undefined"', setting("accessToken", '"undefined"')),
  damage('the refresh token "null"', setting("refreshToken", '"null"')),
  damage("a token with a line feed", setting("accessToken", '"canary-damaged\\n"')),
  damage("expiry in seconds", setting("expiresAt", "1800003600"), ["WrongUnit"]),
  damage("expiry in microseconds", setting("expiresAt", "1800003600000000"), ["WrongUnit"]),
  damage("expiry that is no number", setting("expiresAt", '"canary-damaged"'))
]

/**
 * @since 0.1.0
 * @category laws
 */
export const laws = <E>(options: Options<E>): ReadonlyArray<Law> => {
  const define = law(options.make)
  return [
    ...damages
      .filter(({ name }) => !options.except?.includes(name))
      .map((d) => define(`a damaged record: ${d.name}`, (backend) => checkDamage(backend, d))),
    define("a restored older record is loaded as what it is", (backend) =>
      Effect.gen(function* () {
        const { storage } = backend
        const old = Sample.plain("old")
        const v1 = yield* storage.commit(old, Option.none())
        const bytes = yield* backend.read
        const next = Entry.refreshed(old, Sample.plain("new").credentials)
        const v2 = yield* storage.commit(next, Option.some(v1))
        yield* backend.write(bytes)
        const loaded = yield* Effect.either(storage.load)
        if (Either.isLeft(loaded)) {
          return yield* check(loaded.left.reason === "RolledBack", `load failed with ${loaded.left.reason}`)
        }
        if (Option.isNone(loaded.right)) return yield* new LawBroken({ message: "load found nothing" })
        yield* check(loaded.right.value.version !== v2, "the older record has the newer one's version")
        yield* check(
          Entry.isRolledBack(loaded.right.value.entry, next),
          "it cannot be told from the newer one"
        )
      })
    )
  ]
}

const checkDamage = <E>(backend: Backend<E>, d: Damage) =>
  Effect.gen(function* () {
    const { storage } = backend
    const version = yield* storage.commit(Sample.plain("canary-sound"), Option.none())
    const sound = yield* backend.read
    const damaged = d.apply(sound)
    yield* check(textOf(damaged) !== textOf(sound), "the damage does not fit this backend's record")
    yield* backend.write(damaged)
    const failures = yield* Effect.all([
      Effect.flip(storage.load),
      Effect.flip(storage.commit(Sample.plain("other"), Option.none())),
      Effect.flip(storage.commit(Sample.plain("other"), Option.some(version)))
    ]).pipe(
      Effect.mapError(() => new LawBroken({ message: "a damaged record was taken as sound, or as absent" }))
    )
    for (const failure of failures) {
      const said = Inspectable.toStringUnknown(failure) + failure.message
      yield* check(!said.includes("canary"), "the error quotes what the record holds")
      if (failure._tag === "CommitRefused") continue
      yield* check(
        d.reasons.includes(failure.reason),
        `it failed with ${failure.reason}, ${d.reasons.join(" or ")} was due: ${failure.message}`
      )
    }
    yield* check(failures[0]._tag === "StorageError", "load did not fail")
    const after = yield* backend.read
    yield* check(textOf(after) === textOf(damaged), "the damaged record was changed")
    yield* backend.write(sound)
    yield* check(Option.isSome(yield* storage.load), "the sound record, put back, is not found")
  })
