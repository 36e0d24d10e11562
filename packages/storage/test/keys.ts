import * as EncryptionKeys from "@latchkey/storage/EncryptionKeys"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createHash } from "node:crypto"

/** A key that is always the same for the same name. */
export const keyOf = (name: string): Redacted.Redacted =>
  Redacted.make(createHash("sha256").update(name).digest("base64"))

/** Provides the keys of these names; the first one writes. */
export const withKeys =
  (first: string, ...others: ReadonlyArray<string>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideServiceEffect(
      effect,
      EncryptionKeys.EncryptionKeys,
      Effect.orDie(EncryptionKeys.make([keyOf(first), ...others.map(keyOf)]))
    )
