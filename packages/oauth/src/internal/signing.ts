/** Signs and verifies messages as Standard Webhooks says: HMAC-SHA-256 over `id.timestamp.body`. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import type { webcrypto } from "node:crypto"

type Key = webcrypto.CryptoKey

interface Signed {
  readonly id: string
  /** Epoch seconds. */
  readonly timestamp: number
  readonly body: string
}

/** How old or new a message may be, in seconds. A copy of a message is of no use later. */
const tolerance = 300

const algorithm = { name: "HMAC", hash: "SHA-256" }

export const importKey = (bytes: Uint8Array<ArrayBuffer>): Effect.Effect<Key> =>
  Effect.promise(() => globalThis.crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign", "verify"]))

const content = ({ body, id, timestamp }: Signed) => new TextEncoder().encode(`${id}.${timestamp}.${body}`)

export const headers = (
  keys: ReadonlyArray<Key>,
  signed: Signed
): Effect.Effect<Readonly<Record<string, string>>> =>
  Effect.map(
    Effect.forEach(keys, (key) =>
      Effect.promise(() => globalThis.crypto.subtle.sign("HMAC", key, content(signed)))
    ),
    (signatures) => ({
      "webhook-id": signed.id,
      "webhook-timestamp": `${signed.timestamp}`,
      "webhook-signature": signatures
        .map((bytes) => `v1,${Encoding.encodeBase64(new Uint8Array(bytes))}`)
        .join(" ")
    })
  )

export const verify = (
  keys: ReadonlyArray<Key>,
  given: Readonly<Record<string, string | undefined>>,
  body: string,
  now: number
): Effect.Effect<boolean> => {
  const id = given["webhook-id"] ?? ""
  const time = given["webhook-timestamp"] ?? ""
  const timestamp = Number(time)
  const isNow = /^\d{1,12}$/.test(time) && Math.abs(now / 1000 - timestamp) <= tolerance
  if (id === "" || !isNow) return Effect.succeed(false)
  const signatures = (given["webhook-signature"] ?? "").split(" ").flatMap((part) => {
    const [version, text = ""] = part.split(",")
    const bytes = version === "v1" ? Either.getOrUndefined(Encoding.decodeBase64(text)) : undefined
    return bytes === undefined ? [] : [Uint8Array.from(bytes)]
  })
  const pairs = keys.flatMap((key) => signatures.map((signature) => ({ key, signature })))
  // The platform compares in constant time.
  const compared = Effect.forEach(pairs, ({ key, signature }) =>
    Effect.promise(() =>
      globalThis.crypto.subtle.verify("HMAC", key, signature, content({ id, timestamp, body }))
    )
  )
  return Effect.map(compared, (all) => all.includes(true))
}
