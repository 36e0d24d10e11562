/**
 * What talks to an account's server: how its grant is renewed, and the client for it.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type { HttpClient } from "@effect/platform/HttpClient"
import type { TokenRefresher } from "@latchkey/core/TokenRefresher"
import * as Refresher from "@latchkey/providers/Refresher"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Failure from "./Failure.js"
import { failed, providerWithSecret } from "./ProviderAccess.js"
import type { Session } from "./Session.js"
import type { Workspace } from "./Workspace.js"

/**
 * How the account's grant is renewed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const refresher = ({
  account
}: Session): Effect.Effect<Context.Tag.Service<TokenRefresher>, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.flatMap(providerWithSecret(account), (provider) =>
    withHttp(
      Effect.mapError(
        account.grant === "client-credentials" ? Refresher.forClient(provider) : Refresher.make(provider),
        failed
      )
    )
  )

/**
 * Runs what talks to servers.
 *
 * @since 0.1.0
 * @category running
 */
export const withHttp = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, HttpClient>> => Effect.provide(effect, http)

/**
 * What talking to servers takes.
 *
 * @since 0.1.0
 * @category models
 */
export type Http = HttpClient

const http: Layer.Layer<Http> = FetchHttpClient.layer
