/** A manager in a separate process, whose storage fails for a while after its refresh. */
import { FaultyStorage } from "@latchkey/core/testing"
import * as Credentials from "@latchkey/core/Credentials"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Context from "effect/Context"
import * as Edition from "../../core/test/support/Edition.js"

export interface Store {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<RefreshLease>
}

/** What the leases are called. */
export const account = "me"

/** Shorter than storage fails: the lease lives by being renewed. */
const config = {
  refreshTimeout: 1000,
  leaseTtl: 1200,
  leaseWait: 30_000,
  coolDownBase: 200,
  coolDownMax: 400
}

/** A refresh is a request to `endpoint`, whose answer is the next refresh token. */
export const manage = (store: Store, endpoint: string, failing: number) => {
  const refresher = TokenRefresher.make({
    refresh: (_, refreshToken) =>
      Effect.tryPromise({
        try: async () => {
          const response = await fetch(endpoint, { method: "POST", body: Redacted.value(refreshToken) })
          if (!response.ok) throw new Error("refused")
          return response.text()
        },
        catch: () => new TokenRefresher.RefreshError({ reason: "GrantDead", message: "invalid_grant" })
      }).pipe(
        Effect.map((next) => {
          const now = Date.now()
          const tokens = { accessToken: `of-${next}`, refreshToken: next }
          return Credentials.make({ ...tokens, obtainedAt: now, expiresAt: now + 3_600_000 })
        })
      )
  })
  const storage = FaultyStorage.make(store.storage, [
    { operation: "commit", call: (n) => n > 1 && n <= 1 + failing }
  ])
  return Effect.provide(
    // What fails is logged, and the parent reads what its children say.
    Edition.silent(TokenManager.make({ account })),
    Layer.mergeAll(
      Layer.succeed(TokenStorage, storage),
      Layer.succeed(RefreshLease, store.lease),
      Layer.succeed(TokenRefresher.TokenRefresher, refresher),
      TokenConfig.layer(config)
    )
  )
}
