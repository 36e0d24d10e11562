/** Key-value stores: where the editions of Effect differ in them. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { KeyValueStore, KeyValueStoreError } from "effect/persistence/KeyValueStore"
import { isPlatformError } from "effect/PlatformError"

/** The error of a store. */
export type StoreError = KeyValueStoreError

export const get = (store: KeyValueStore, key: string): Effect.Effect<Option.Option<string>, StoreError> =>
  Effect.map(store.get(key), Option.fromUndefinedOr)

/** Returns the kind and the place of a failure. Its message is left out, because it may quote the stored value. */
export const failureOf = (error: StoreError): { readonly kind: string; readonly where: string } =>
  isPlatformError(error.cause)
    ? { kind: error.cause.reason._tag, where: `${error.cause.reason.module}.${error.cause.reason.method}` }
    : {
        // An error without a cause means that the store refuses the key.
        kind: error.cause === undefined ? "BadArgument" : "Unknown",
        where: `KeyValueStore.${error.method}`
      }
