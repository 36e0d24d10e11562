/** Key-value stores: where the editions of Effect differ in them. */
import type { PlatformError } from "@effect/platform/Error"
import type { KeyValueStore } from "@effect/platform/KeyValueStore"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

/** The error of a store. */
export type StoreError = PlatformError

export const get = (store: KeyValueStore, key: string): Effect.Effect<Option.Option<string>, StoreError> =>
  store.get(key)

/** Returns the kind and the place of a failure. Its message is left out, because it may quote the stored value. */
export const failureOf = (error: StoreError): { readonly kind: string; readonly where: string } => ({
  kind: error._tag === "SystemError" ? error.reason : error._tag,
  where: `${error.module}.${error.method}`
})
