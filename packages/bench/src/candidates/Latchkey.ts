/** Latchkey as a candidate beside its peers. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Credentials from "@latchkey/core/Credentials"
import * as PromiseDoor from "@latchkey/core/PromiseDoor"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { Held, Server, Session } from "../Peer.js"

export const credentialsOf = (held: Held): Credentials.Credentials =>
  Credentials.make({
    accessToken: held.accessToken,
    refreshToken: held.refreshToken,
    expiresAt: held.expiresAt
  })

/** A manager that lives as long as the process. */
export const managerOf = (
  server: Server,
  held: Held,
  client: Layer.Layer<HttpClient.HttpClient> = FetchHttpClient.layer
): Promise<TokenManager.Manager> => {
  const services = Layer.mergeAll(
    TokenStorage.layerMemory,
    RefreshLease.layerProcess,
    TokenConfig.layer({ credentialsTtl: "1 day" }),
    Layer.provide(
      RefreshToken.layer({
        server: { tokenEndpoint: server.tokenEndpoint },
        client: { clientId: server.clientId }
      }),
      client
    )
  )
  const make = Effect.tap(TokenManager.make({ watch: false }), (manager) => manager.save(credentialsOf(held)))
  return Effect.runPromise(
    Effect.flatMap(Layer.build(services), (context) => Effect.provide(make, context)).pipe(
      Scope.extend(Effect.runSync(Scope.make()))
    )
  )
}

/** By the door for code outside Effect. */
export const sessionOf = (manager: TokenManager.Manager): Session => {
  const door = Effect.runSync(PromiseDoor.make(manager))
  return {
    get: () => door.getAccessToken(),
    refresh: () => door.refresh(),
    held: () => {
      const credentials = Option.getOrThrow(Effect.runSync(manager.credentials))
      return {
        accessToken: Redacted.value(credentials.accessToken),
        refreshToken: Redacted.value(Option.getOrThrow(credentials.refreshToken)),
        expiresAt: Option.getOrThrow(credentials.expiresAt)
      }
    }
  }
}
