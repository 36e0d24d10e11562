/** Key-value stores: where the editions of Effect differ in them. */
import type { PlatformError } from "@effect/platform/Error"
import type { KeyValueStore } from "@effect/platform/KeyValueStore"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

/** What a store fails with. */
export type StoreError = PlatformError

export const get = (store: KeyValueStore, key: string): Effect.Effect<Option.Option<string>, StoreError> =>
  store.get(key)

/** What failed, and in what way: not its words, which may quote what was to be written. */
export const failureOf = (error: StoreError): { readonly kind: string; readonly where: string } => ({
  kind: error._tag === "SystemError" ? error.reason : error._tag,
  where: `${error.module}.${error.method}`
})
