/** Seals texts with AES-256-GCM for cookies and links, with a key for each use (RFC 5869). */
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Redacted from "effect/Redacted"
import type { webcrypto } from "node:crypto"

/** What a text is sealed for. A text that was sealed for one use does not open for another. */
export type Use = "attempt" | "link"

export interface Key {
  readonly id: string
  readonly secrets: Readonly<Record<Use, webcrypto.CryptoKey>>
}

export interface Keys {
  /** The key that seals. */
  readonly first: Key
  /** All keys that open, including the first one. */
  readonly all: ReadonlyArray<Key>
}

/** It was not sealed for this use with one of the keys, or was changed since. Web Crypto does not say why. */
class NotOpened extends Data.TaggedError("NotOpened") {}

const format = 1
const nonceBytes = 12
const mark = "latchkey login"

const utf8 = (text: string) => new TextEncoder().encode(text)

export const importKey = (bytes: Uint8Array<ArrayBuffer>): Effect.Effect<Key> =>
  Effect.promise(async () => {
    const id = Fingerprint.sha256(bytes).slice(0, 12)
    const base = await hkdf(bytes)
    return { id, secrets: { attempt: await derive(base, "attempt"), link: await derive(base, "link") } }
  })

const hkdf = (bytes: Uint8Array<ArrayBuffer>) =>
  globalThis.crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveKey", "deriveBits"])

const hkdfFor = (info: string) => ({
  name: "HKDF",
  hash: "SHA-256",
  salt: new Uint8Array(),
  info: utf8(`${mark} ${format} ${info}`)
})

const derive = (base: webcrypto.CryptoKey, info: string) =>
  globalThis.crypto.subtle.deriveKey(hkdfFor(info), base, { name: "AES-GCM", length: 256 }, false, [
    "encrypt",
    "decrypt"
  ])

/** `1.<key id>.<nonce>.<ciphertext>`, fit for a cookie and for a query. */
export const seal = ({ first }: Keys, use: Use, text: Redacted.Redacted): Effect.Effect<string> =>
  Effect.map(
    encrypt(first.secrets[use], `${use} ${first.id}`, text),
    (sealed) => `${format}.${first.id}.${sealed}`
  )

export const open = (keys: Keys, use: Use, sealed: string): Effect.Effect<Redacted.Redacted, NotOpened> => {
  const [version, id = "", ...parts] = sealed.split(".")
  const key = keys.all.find((one) => one.id === id)
  return version === `${format}` && key !== undefined
    ? decrypt(key.secrets[use], `${use} ${id}`, parts.join("."))
    : Effect.fail(new NotOpened())
}

/** A place in a store, and the key of its contents. Only a ticket leads to them, and the store does not have it. */
export interface Locker {
  readonly place: string
  readonly seal: (text: Redacted.Redacted) => Effect.Effect<string>
  readonly open: (sealed: string) => Effect.Effect<Redacted.Redacted, NotOpened>
}

const ticketBytes = 32

/** A new ticket: 256 random bits. */
export const newTicket: Effect.Effect<string> = Effect.sync(() =>
  Encoding.encodeBase64Url(globalThis.crypto.getRandomValues(new Uint8Array(ticketBytes)))
)

export const lockerOf = (ticket: string): Effect.Effect<Locker, NotOpened> =>
  Effect.gen(function* () {
    const bytes = bytesOf(ticket)
    if (bytes?.length !== ticketBytes) return yield* new NotOpened()
    const { key, place } = yield* Effect.promise(async () => {
      const base = await hkdf(bytes)
      const bits = await globalThis.crypto.subtle.deriveBits(hkdfFor("place"), base, 256)
      return { key: await derive(base, "locker"), place: Encoding.encodeBase64Url(new Uint8Array(bits)) }
    })
    return {
      place,
      seal: (text) => encrypt(key, place, text),
      open: (sealed) => decrypt(key, place, sealed)
    }
  })

const encrypt = (key: webcrypto.CryptoKey, context: string, text: Redacted.Redacted): Effect.Effect<string> =>
  Effect.promise(async () => {
    const nonce = globalThis.crypto.getRandomValues(new Uint8Array(nonceBytes))
    const bytes = utf8(Redacted.value(text))
    const sealed = await globalThis.crypto.subtle.encrypt(settings(nonce, context), key, bytes)
    return [nonce, new Uint8Array(sealed)].map((part) => Encoding.encodeBase64Url(part)).join(".")
  })

const decrypt = (
  key: webcrypto.CryptoKey,
  context: string,
  sealed: string
): Effect.Effect<Redacted.Redacted, NotOpened> => {
  const [nonce, ciphertext, ...more] = sealed.split(".").map(bytesOf)
  return nonce?.length === nonceBytes && ciphertext !== undefined && more.length === 0
    ? Effect.tryPromise({
        try: async () => {
          const opened = await globalThis.crypto.subtle.decrypt(settings(nonce, context), key, ciphertext)
          return Redacted.make(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(opened))
        },
        catch: () => new NotOpened()
      })
    : Effect.fail(new NotOpened())
}

const settings = (iv: Uint8Array<ArrayBuffer>, context: string) => ({
  name: "AES-GCM",
  iv,
  additionalData: utf8(`${mark} ${format} ${context}`),
  tagLength: 128
})

/** Accepts only the canonical encoding of the bytes, so that a changed text never has the same meaning. */
const bytesOf = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  const bytes = Either.getOrUndefined(Encoding.decodeBase64Url(text))
  return bytes !== undefined && Encoding.encodeBase64Url(bytes) === text ? Uint8Array.from(bytes) : undefined
}
