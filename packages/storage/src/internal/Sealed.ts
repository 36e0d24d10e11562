/** A text sealed with AES-256-GCM, as one compact string of visible ASCII that can stand in for a token. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import type { Key } from "../EncryptionKeys.js"

/** Data that is authenticated with the text and must be the same to open it. */
export type Identity = ReadonlyArray<string | number>

/** The parts of a sealed text. */
export interface Parts {
  readonly keyId: string
  readonly nonce: Uint8Array<ArrayBuffer>
  readonly ciphertext: Uint8Array<ArrayBuffer>
}

/** It does not open with this key and identity. Web Crypto does not say why. */
export class NotOpened extends Data.TaggedError("NotOpened") {}

const mark = "latchkey-sealed"
const format = 1
const nonceBytes = 12

/** Whether a token has the form of a sealed text. */
export const looksSealed = (token: string): boolean => token.startsWith(`${mark}.`)

export const parse = (token: string): Either.Either<Parts, "Damaged" | "NewerFormat"> => {
  const [first, version, keyId = "", ...rest] = token.split(".")
  const [nonce, ciphertext, ...more] = rest.map(bytesOf)
  if (first === mark && /^[1-9]\d*$/.test(version ?? "") && Number(version) > format) {
    return Either.left("NewerFormat")
  }
  return first === mark &&
    version === `${format}` &&
    nonce?.length === nonceBytes &&
    ciphertext &&
    !more.length
    ? Either.right({ keyId, nonce, ciphertext })
    : Either.left("Damaged")
}

export const seal = (key: Key, identity: Identity, text: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const nonce = globalThis.crypto.getRandomValues(new Uint8Array(nonceBytes))
    const bytes = new TextEncoder().encode(text)
    const sealed = await globalThis.crypto.subtle.encrypt(settings(nonce, identity), key.secret, bytes)
    const parts = [nonce, new Uint8Array(sealed)].map((part) => Encoding.encodeBase64Url(part))
    return [mark, format, key.id, ...parts].join(".")
  })

export const open = (key: Key, identity: Identity, parts: Parts): Effect.Effect<string, NotOpened> =>
  Effect.tryPromise({
    try: async () => {
      const { nonce, ciphertext } = parts
      const opened = await globalThis.crypto.subtle.decrypt(settings(nonce, identity), key.secret, ciphertext)
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(opened)
    },
    catch: () => new NotOpened()
  })

const settings = (iv: Uint8Array<ArrayBuffer>, identity: Identity) => ({
  name: "AES-GCM",
  iv,
  // JSON keeps the fields apart, so no two identities have the same text.
  additionalData: new TextEncoder().encode(JSON.stringify([mark, format, ...identity])),
  tagLength: 128
})

/** Accepts only the canonical encoding of the bytes, so that a changed text never has the same meaning. */
const bytesOf = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  const bytes = Either.getOrUndefined(Encoding.decodeBase64Url(text))
  return bytes !== undefined && Encoding.encodeBase64Url(bytes) === text ? Uint8Array.from(bytes) : undefined
}
