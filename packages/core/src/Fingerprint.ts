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
export const of = (secret: Redacted.Redacted): Fingerprint => {
  if (secret === last.secret) return last.fingerprint
  const [first, second] = digest(utf8(Redacted.value(secret)))
  // 48 bits, which a number holds.
  const bits = (first! >>> 0) * 0x10000 + (second! >>> 16)
  const fingerprint = bits.toString(16).padStart(12, "0") as Fingerprint
  last = { secret, fingerprint }
  return fingerprint
}

/** What one step of a refresh tells of a token the next one mostly asks for again. */
let last: { readonly secret?: Redacted.Redacted; readonly fingerprint: Fingerprint } = {
  fingerprint: "" as Fingerprint
}

const encoder = new TextEncoder()

/** What is in ASCII, as tokens are, is there sooner than an encoder can be called. */
const utf8 = (text: string): Uint8Array => {
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code > 0x7f) return encoder.encode(text)
    bytes[at] = code
  }
  return bytes
}

const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0")

/** The first 32 bits after the point: `>>>` drops what is beyond them on both sides. */
const fractionalBits = (x: number): number => (x * 0x100000000) >>> 0

const primes = (count: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p !== 0)) found.push(n)
  return found
}

/** Words are signed here, which is nothing to the sums and much to the engine: it keeps them as integers. */
const roundConstants = Int32Array.from(primes(64), (p) => fractionalBits(Math.cbrt(p)))
const initialState = Int32Array.from(primes(8), (p) => fractionalBits(Math.sqrt(p)))

const rotateRight = (x: number, n: number): number => (x >>> n) | (x << (32 - n))

const padded = (message: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64)
  bytes.set(message)
  bytes[message.length] = 0x80
  setWord(bytes, bytes.length - 8, Math.floor(message.length / 0x20000000))
  setWord(bytes, bytes.length - 4, message.length << 3)
  return bytes
}

const setWord = (bytes: Uint8Array, at: number, word: number): void => {
  for (let i = 0; i < 4; i++) bytes[at + i] = word >>> (24 - 8 * i)
}

const wordAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!

/** The message schedule of the block at hand. */
const w = new Int32Array(64)

const compress = (state: Int32Array, bytes: Uint8Array, offset: number): void => {
  for (let i = 0; i < 16; i++) w[i] = wordAt(bytes, offset + i * 4)
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
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + t2) | 0
  }
  state[0]! += a
  state[1]! += b
  state[2]! += c
  state[3]! += d
  state[4]! += e
  state[5]! += f
  state[6]! += g
  state[7]! += h
}

/**
 * SHA-256 in lower-case hex (FIPS 180-4).
 *
 * @since 0.1.0
 * @category hashing
 */
export const sha256 = (message: Uint8Array): string => Array.from(digest(message), hex).join("")

const digest = (message: Uint8Array): Int32Array => {
  const state = initialState.slice()
  const blocks = padded(message)
  for (let offset = 0; offset < blocks.length; offset += 64) compress(state, blocks, offset)
  return state
}
