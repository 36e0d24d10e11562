/** Latchkey as a candidate besides its peers. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Credentials from "@latchkey/core/Credentials"
import * as PromiseManager from "@latchkey/core/PromiseManager"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { type Held, type Server, type Session, wallClock } from "../Peer.js"

export const credentialsOf = (held: Held): Credentials.Credentials =>
  Credentials.make({
    accessToken: held.accessToken,
    refreshToken: held.refreshToken,
    expiresAt: held.expiresAt
  })

type Client = Layer.Layer<HttpClient.HttpClient>
type Refresher = Layer.Layer<TokenRefresher.TokenRefresher>

const refresherOf = (server: Server, client: Client = FetchHttpClient.layer): Refresher =>
  Layer.orDie(
    Layer.provide(
      RefreshToken.layer({
        server: { tokenEndpoint: server.tokenEndpoint },
        client: { clientId: server.clientId }
      }),
      client
    )
  )

/** A manager that lives as long as the process. */
export const managerOf = (server: Server, held: Held, client?: Client): Promise<TokenManager.Manager> =>
  managerWith(held, refresherOf(server, client))

const managerWith = (held: Held, refresher: Refresher): Promise<TokenManager.Manager> => {
  const services = Layer.mergeAll(
    TokenStorage.layerMemory,
    RefreshLease.layerProcess,
    TokenConfig.layer({ credentialsTtl: "1 day" }),
    refresher
  )
  const make = Effect.tap(TokenManager.make({ watch: false }), (manager) => manager.save(credentialsOf(held)))
  return kept(Effect.flatMap(Layer.build(services), (context) => Effect.provide(make, context)))
}

/** For the life of the process. */
const kept = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Scope.extend(effect, Effect.runSync(Scope.make())))

/** A whole refresh without the request: the response is there at once. */
export const transactionOf = async (held: Held): Promise<Session["refresh"]> => {
  let answered = 0
  const refresh = () =>
    Effect.sync(() => {
      answered++
      return credentialsOf({
        accessToken: `access-${answered}`.padEnd(43, "x"),
        refreshToken: `refresh-${answered}`.padEnd(43, "x"),
        expiresAt: wallClock() + 3_600_000
      })
    })
  const refresher = Layer.succeed(TokenRefresher.TokenRefresher, TokenRefresher.make({ refresh }))
  return sessionOf(await managerWith(held, refresher)).refresh
}

/** The promise manager, for code outside Effect. */
export const sessionOf = (manager: TokenManager.Manager): Session => {
  const tokens = Effect.runSync(PromiseManager.make(manager))
  return {
    get: () => tokens.getAccessToken(),
    refresh: () => tokens.refresh(),
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
