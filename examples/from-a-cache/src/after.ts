/**
 * The same with a manager. The state of the cache is saved once, like a login. `getAccessToken` replaces the
 * function. The grace, the single request, the lease, the journal and the errors are included.
 */
import { RefreshLease, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { Effect, Layer } from "effect"

export const Session = (tokenEndpoint: string) =>
  TokenManager.layer().pipe(
    // Use `File.layer({ path })` of @latchkey/storage in a program: then a restart loses nothing.
    Layer.provide([TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()]),
    Layer.provide(RefreshToken.layer({ server: { tokenEndpoint }, client: { clientId: "example" } }))
  )

export const getAccessToken = Effect.flatMap(TokenManager.TokenManager, (manager) => manager.getAccessToken)
