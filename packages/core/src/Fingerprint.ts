/**
 * What identifies a token without revealing it: the first 12 hex digits of its SHA-256.
 *
 * The digest is computed here, synchronously, because Web Crypto only offers it as a promise: a promise
 * in the refresh transaction would take it out of the hands of `TestClock`. It follows FIPS 180-4 and is
 * tested against the platform's own implementation.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Redacted from "effect/Redacted"

/**
 * Twelve lower-case hex digits. Safe to log, to store and to compare.
 *
 * @since 0.1.0
 * @category models
 */
export type Fingerprint = string & Brand.Brand<"@latchkey/core/Fingerprint">

/**
 * The fingerprint of a secret.
 *
 * @since 0.1.0
 * @category constructors
 */
export const of = (secret: Redacted.Redacted): Fingerprint =>
  sha256(new TextEncoder().encode(Redacted.value(secret))).slice(0, 12) as Fingerprint

/** The first 32 bits after the point: `>>>` drops what is beyond them on both sides. */
const fractionalBits = (x: number): number => (x * 0x100000000) >>> 0

const primes = (count: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p !== 0)) found.push(n)
  return found
}

const roundConstants = Uint32Array.from(primes(64), (p) => fractionalBits(Math.cbrt(p)))
const initialState = Uint32Array.from(primes(8), (p) => fractionalBits(Math.sqrt(p)))

const rotateRight = (x: number, n: number): number => (x >>> n) | (x << (32 - n))

const padded = (message: Uint8Array): DataView => {
  const bytes = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64)
  bytes.set(message)
  bytes[message.length] = 0x80
  const view = new DataView(bytes.buffer)
  view.setBigUint64(bytes.length - 8, BigInt(message.length) * 8n)
  return view
}

const compress = (state: Uint32Array, block: DataView, offset: number, w: Uint32Array): void => {
  for (let i = 0; i < 16; i++) w[i] = block.getUint32(offset + i * 4)
  for (let i = 16; i < 64; i++) {
    const w15 = w[i - 15]!
    const w2 = w[i - 2]!
    const s0 = rotateRight(w15, 7) ^ rotateRight(w15, 18) ^ (w15 >>> 3)
    const s1 = rotateRight(w2, 17) ^ rotateRight(w2, 19) ^ (w2 >>> 10)
    w[i] = w[i - 16]! + s0 + w[i - 7]! + s1
  }
  let a = state[0]!
  let b = state[1]!
  let c = state[2]!
  let d = state[3]!
  let e = state[4]!
  let f = state[5]!
  let g = state[6]!
  let h = state[7]!
  for (let i = 0; i < 64; i++) {
    const s1 = rotateRight(e, 6) ^ rotateRight(e, 11) ^ rotateRight(e, 25)
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + roundConstants[i]! + w[i]!) | 0
    const s0 = rotateRight(a, 2) ^ rotateRight(a, 13) ^ rotateRight(a, 22)
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
    ;[h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0]
  }
  ;[a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = state[i]! + word))
}

/**
 * SHA-256 in lower-case hex (FIPS 180-4).
 *
 * @since 0.1.0
 * @category hashing
 */
export const sha256 = (message: Uint8Array): string => {
  const state = initialState.slice()
  const blocks = padded(message)
  const schedule = new Uint32Array(64)
  for (let offset = 0; offset < blocks.byteLength; offset += 64) compress(state, blocks, offset, schedule)
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("")
}
