/** Key-value stores that fail, and what a store says then in each edition of Effect. */
import * as Effect from "effect/Effect"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as PlatformError from "effect/PlatformError"
import type { StoreError } from "../../src/edition/KeyValues.js"

interface Details {
  readonly description: string
  readonly cause: Error
  readonly pathOrDescriptor?: string
}

const where = { module: "KeyValueStore", method: "set" }

const storeError = (cause: PlatformError.PlatformError, message: string): StoreError =>
  new KeyValueStore.KeyValueStoreError({ method: where.method, message, cause })

export const systemError = (
  kind: "PermissionDenied" | "TimedOut" | "Unknown",
  details: Details
): StoreError =>
  storeError(PlatformError.systemError({ _tag: kind, ...where, ...details }), details.description)

export const badArgument = ({ cause, description }: Details): StoreError =>
  storeError(PlatformError.badArgument({ ...where, cause, description }), description)

/** A store on which everything fails. */
export const failing = (error: () => StoreError): KeyValueStore.KeyValueStore => {
  const fail = Effect.failSync(error)
  return KeyValueStore.make({
    get: () => fail,
    getUint8Array: () => fail,
    set: () => fail,
    remove: () => fail,
    clear: fail,
    clearPrefix: () => fail,
    size: fail,
    keys: fail
  })
}
