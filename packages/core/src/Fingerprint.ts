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
  sha256(utf8.encode(Redacted.value(secret))).slice(0, 12) as Fingerprint

const utf8 = new TextEncoder()

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
  view.setUint32(bytes.length - 8, Math.floor(message.length / 0x20000000))
  view.setUint32(bytes.length - 4, message.length << 3)
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
    h = g
    g = f
    f = e
    e = (d + t1) | 0
    d = c
    c = b
    b = a
    a = (t1 + t2) | 0
  }
  state.set([
    state[0]! + a,
    state[1]! + b,
    state[2]! + c,
    state[3]! + d,
    state[4]! + e,
    state[5]! + f,
    state[6]! + g,
    state[7]! + h
  ])
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
  let hex = ""
  for (const word of state) hex += word.toString(16).padStart(8, "0")
  return hex
}
