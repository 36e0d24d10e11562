/** Key-value stores: where the editions of Effect differ in them. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { KeyValueStore, KeyValueStoreError } from "effect/persistence/KeyValueStore"
import { isPlatformError } from "effect/PlatformError"

/** What a store fails with. */
export type StoreError = KeyValueStoreError

export const get = (store: KeyValueStore, key: string): Effect.Effect<Option.Option<string>, StoreError> =>
  Effect.map(store.get(key), Option.fromUndefinedOr)

/** What failed, and in what way: not its words, which may quote what was to be written. */
export const failureOf = (error: StoreError): { readonly kind: string; readonly where: string } =>
  isPlatformError(error.cause)
    ? { kind: error.cause.reason._tag, where: `${error.cause.reason.module}.${error.cause.reason.method}` }
    : {
        // A store says nothing of a cause where it refuses the key itself.
        kind: error.cause === undefined ? "BadArgument" : "Unknown",
        where: `KeyValueStore.${error.method}`
      }
