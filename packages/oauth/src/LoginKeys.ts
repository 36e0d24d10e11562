/**
 * The keys that seal the cookies and links of web logins: the first one seals, all of them open. All instances
 * of a web application need the same keys.
 *
 * A key is 32 random bytes in base64: `openssl rand -base64 32`. To rotate without down-time, give all
 * instances the new key after the old one, then before it. Drop the old one when no link sealed with it is
 * valid any more. One key is safe for 2^32 logins, because each seals with a random nonce of 96 bits.
 *
 * Each use has its own AES-256 key, derived with HKDF (RFC 5869). So a cookie does not open as a link, and the
 * same 32 bytes may also be a key of `EncryptionKeys`: what visitors cause to be sealed does not count towards
 * the number of records that are safe with a key there.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as Sealing from "./internal/sealing.js"

/**
 * One key. Its bytes cannot be read from it. The ID is the first 12 hex digits of the SHA-256 of its bytes, and
 * is not secret.
 *
 * @since 0.1.0
 * @category models
 */
export type Key = Sealing.Key

/**
 * The keys in use.
 *
 * @since 0.1.0
 * @category tags
 */
export class LoginKeys extends Context.Tag("@latchkey/oauth/LoginKeys")<LoginKeys, Sealing.Keys>() {}

/**
 * Creates the keys from their base64, the one that seals first. Fails with an {@link OAuthConfigError} if one is
 * not base64 or not of exactly 32 bytes. The error names the position of the key, never its value.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  keys: Arr.NonEmptyReadonlyArray<Redacted.Redacted>
): Effect.Effect<Context.Tag.Service<LoginKeys>, OAuthConfigError> =>
  Effect.gen(function* () {
    const [first, ...others] = keys
    const of = (key: Redacted.Redacted, index: number) =>
      Effect.flatMap(
        Either.mapLeft(bytesOf(key), (problem) =>
          invalid(`keys[${index}]`, `${problem}: make a key with openssl rand -base64 32`)
        ),
        Sealing.importKey
      )
    const seals = yield* of(first, 0)
    const opens = yield* Effect.forEach(others, (key, index) => of(key, index + 1))
    return { first: seals, all: [seals, ...opens] }
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  keys: Arr.NonEmptyReadonlyArray<Redacted.Redacted>
): Layer.Layer<LoginKeys, OAuthConfigError> => Layer.effect(LoginKeys, make(keys))

/**
 * {@link layer}, with the keys from one setting, separated by commas or white space. Default setting:
 * `AUTH__LOGIN_KEYS`. The keys themselves have no default.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  setting = "AUTH__LOGIN_KEYS"
): Layer.Layer<LoginKeys, OAuthConfigError | ConfigError.ConfigError> =>
  Layer.effect(
    LoginKeys,
    Effect.flatMap(Config.redacted(setting), (value) => make(split(Redacted.value(value))))
  )

const split = (value: string): Arr.NonEmptyReadonlyArray<Redacted.Redacted> => {
  const [first = "", ...others] = value.trim().split(/[\s,]+/)
  return [Redacted.make(first), ...others.map((key) => Redacted.make(key))]
}

const keyBytes = 32

const bytesOf = (key: Redacted.Redacted): Either.Either<Uint8Array<ArrayBuffer>, string> =>
  Either.flatMap(
    Either.mapLeft(Encoding.decodeBase64(Redacted.value(key)), () => "is not base64"),
    (bytes) =>
      bytes.length === keyBytes
        ? Either.right(Uint8Array.from(bytes))
        : Either.left(`is ${bytes.length} bytes long, but must be exactly ${keyBytes}`)
  )
