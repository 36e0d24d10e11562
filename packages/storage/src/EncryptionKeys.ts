/**
 * The keys for {@link Encrypted}: the first one writes, all of them read.
 *
 * To rotate without down-time, give all processes the new key after the old one, then before it. Drop the old
 * one when nothing is encrypted with it any more (`Encrypted.reencrypt` ensures that).
 *
 * A key is 32 random bytes in base64: `openssl rand -base64 32`, or {@link generate}. Its ID is the first 12
 * hex digits of its SHA-256. The ID is not secret and is stored in every record.
 *
 * @since 0.1.0
 */
import * as Fingerprint from "@latchkey/core/Fingerprint"
import type * as Arr from "effect/Array"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Problems } from "@latchkey/core/internal-api"
import type { webcrypto } from "node:crypto"

/**
 * One key. Its bytes cannot be read from it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Key {
  readonly id: string
  readonly secret: webcrypto.CryptoKey
}

/**
 * The keys in use.
 *
 * @since 0.1.0
 * @category tags
 */
export class EncryptionKeys extends Context.Tag("@latchkey/storage/EncryptionKeys")<
  EncryptionKeys,
  {
    /** The key that writes. */
    readonly first: Key
    /** All keys that read, including the first one. */
    readonly all: ReadonlyArray<Key>
  }
>() {}

/**
 * Creates the keys from their base64, the one that writes first. Fails with a `ConfigError` if one is not
 * base64 or not of exactly 32 bytes. The error names `setting` and the position of the key, never its value.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  keys: Arr.NonEmptyReadonlyArray<Redacted.Redacted>,
  setting = "keys"
): Effect.Effect<Context.Tag.Service<EncryptionKeys>, ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const [first, ...others] = keys
    const of = (key: Redacted.Redacted, index: number) =>
      Effect.flatMap(
        Either.mapLeft(bytesOf(key), (problem) => invalid(setting, index, keys.length, problem)),
        importKey
      )
    const writes = yield* of(first, 0)
    const reads = yield* Effect.forEach(others, (key, index) => of(key, index + 1))
    return { first: writes, all: [writes, ...reads] }
  })

/**
 * Splits several keys in one text, separated by commas or white space. A blank text becomes one blank key,
 * which {@link make} refuses.
 *
 * @since 0.1.0
 * @category constructors
 */
export const split = (value: Redacted.Redacted): Arr.NonEmptyReadonlyArray<Redacted.Redacted> => {
  const [first = "", ...others] = Redacted.value(value)
    .trim()
    .split(/[\s,]+/)
  return [Redacted.make(first), ...others.map((key) => Redacted.make(key))]
}

/**
 * Generates a new key, in base64, with Web Crypto.
 *
 * @since 0.1.0
 * @category constructors
 */
export const generate: Effect.Effect<Redacted.Redacted> = Effect.sync(() =>
  Redacted.make(Encoding.encodeBase64(globalThis.crypto.getRandomValues(new Uint8Array(keyBytes))))
)

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  keys: Arr.NonEmptyReadonlyArray<Redacted.Redacted>
): Layer.Layer<EncryptionKeys, ConfigError.ConfigError> => Layer.effect(EncryptionKeys, make(keys))

/**
 * {@link layer}, with the keys from one setting, separated by commas or white space. Default setting:
 * `AUTH__ENCRYPTION_KEYS`. The keys themselves have no default.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  setting = "AUTH__ENCRYPTION_KEYS"
): Layer.Layer<EncryptionKeys, ConfigError.ConfigError> =>
  Layer.effect(
    EncryptionKeys,
    Effect.flatMap(required(setting), (value) => make(split(value), setting))
  )

/** Effect's own message for a missing secret is only "<redacted>". */
const required = (setting: string): Config.Config<Redacted.Redacted> =>
  Problems.mapSettings(Config.option(Config.redacted(setting)), (value) =>
    Either.fromOption(value, () =>
      Problems.missingSetting([setting], `Give ${setting}, the keys that encrypt the credentials. ${advice}`)
    )
  )

const keyBytes = 32

const advice = "Make one with: openssl rand -base64 32"

const bytesOf = (key: Redacted.Redacted): Either.Either<Uint8Array<ArrayBuffer>, string> => {
  const text = Redacted.value(key)
  if (text === "") return Either.left("is blank")
  return Either.flatMap(
    Either.mapLeft(Encoding.decodeBase64(text), () => "is not base64"),
    (bytes) =>
      bytes.length === keyBytes
        ? Either.right(Uint8Array.from(bytes))
        : Either.left(`is ${bytes.length} bytes long, but must be exactly ${keyBytes}`)
  )
}

const invalid = (setting: string, index: number, count: number, problem: string): ConfigError.ConfigError => {
  const which = count === 1 ? "the encryption key" : `encryption key ${index + 1} of ${count}`
  return Problems.invalidSetting([setting], `${setting}: ${which} ${problem}. ${advice}`)
}

const importKey = (bytes: Uint8Array<ArrayBuffer>): Effect.Effect<Key> =>
  Effect.map(
    Effect.promise(() =>
      globalThis.crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"])
    ),
    (secret) => ({ id: Fingerprint.sha256(bytes).slice(0, 12), secret })
  )
