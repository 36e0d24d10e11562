/** Key-value stores that fail, with the errors of this edition of Effect. */
import * as PlatformError from "@effect/platform/Error"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Effect from "effect/Effect"
import type { StoreError } from "../../src/edition/KeyValues.js"

interface Details {
  readonly description: string
  readonly cause: Error
  readonly pathOrDescriptor?: string
}

const where = { module: "KeyValueStore", method: "set" } as const

export const systemError = (
  reason: "PermissionDenied" | "TimedOut" | "Unknown",
  details: Details
): StoreError => new PlatformError.SystemError({ reason, ...where, ...details })

export const badArgument = ({ cause, description }: Details): StoreError =>
  new PlatformError.BadArgument({ ...where, cause, description })

/** A store on which everything fails. */
export const failing = (error: () => StoreError): KeyValueStore.KeyValueStore => {
  const fail = Effect.failSync(error)
  return KeyValueStore.make({
    get: () => fail,
    getUint8Array: () => fail,
    set: () => fail,
    remove: () => fail,
    clear: fail,
    size: fail
  })
}
