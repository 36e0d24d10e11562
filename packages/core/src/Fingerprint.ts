/**
 * Identifies a token without revealing it: the first 12 hex digits of its SHA-256.
 *
 * The digest is synchronous. Web Crypto offers only a promise, which `TestClock` could not control in the
 * refresh transaction.
 *
 * @since 0.1.0
 */
import { sha256 as digest } from "@noble/hashes/sha2.js"
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js"
import type * as Brand from "effect/Brand"
import * as Redacted from "effect/Redacted"

/**
 * Twelve lower-case hex digits. Safe to log, store and compare.
 *
 * @since 0.1.0
 * @category models
 */
export type Fingerprint = string & Brand.Brand<"@latchkey/core/Fingerprint">

/**
 * Returns the fingerprint of a secret.
 *
 * @since 0.1.0
 * @category constructors
 */
export const of = (secret: Redacted.Redacted): Fingerprint => {
  if (last?.secret !== secret) {
    last = { secret, fingerprint: sha256(utf8ToBytes(Redacted.value(secret))).slice(0, 12) as Fingerprint }
  }
  return last.fingerprint
}

/**
 * A refresh needs the same fingerprint several times in a row, and hashing a long token takes tens of
 * microseconds.
 */
let last: { readonly secret: Redacted.Redacted; readonly fingerprint: Fingerprint } | undefined

/**
 * SHA-256 in lower-case hex (FIPS 180-4).
 *
 * @since 0.1.0
 * @category hashing
 */
export const sha256 = (message: Uint8Array): string => bytesToHex(digest(message))
