/**
 * The requests to an account's server: how its grant is renewed, and the HTTP client.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type { TokenRefresher } from "@latchkey/core/TokenRefresher"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import * as Refresher from "@latchkey/providers/Refresher"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Account } from "./Account.js"
import type * as Failure from "./Failure.js"
import { failed, providerOf, providerWithSecret } from "./ProviderAccess.js"
import type { Session } from "./Store.js"
import type { Workspace } from "./Workspace.js"

/**
 * Returns the refresher of the account's grant.
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
 * Provides the HTTP client to an effect.
 *
 * @since 0.1.0
 * @category running
 */
export const withHttp = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, HttpClient.HttpClient>> => Effect.provide(effect, http)

/** How long a server may take to show its clock. */
const clockPatience = "5 seconds"

/**
 * By how many milliseconds the clock of the account's server is ahead of ours, by the `Date` of a response.
 * Only the part counts that is certain, however long the response took. None if the server sends no `Date`,
 * or cannot be reached. Sends nothing secret.
 *
 * @since 0.1.0
 * @category lookup
 */
export const serverAhead = (
  account: Account
): Effect.Effect<Option.Option<{ readonly server: string; readonly ahead: number }>, never, Workspace> =>
  Effect.gen(function* () {
    const { refresh, server } = yield* providerOf(account)
    const own = "tokenEndpoint" in server ? server.tokenEndpoint : server.issuer
    const url = yield* Endpoint.check("server", refresh.by === "exchange" ? refresh.endpoint : own)
    const requestedAt = yield* Clock.currentTimeMillis
    const { headers } = yield* withHttp(HttpClient.head(url.origin)).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
      Effect.timeout(clockPatience)
    )
    const receivedAt = yield* Clock.currentTimeMillis
    const date = Date.parse(headers["date"] ?? "")
    if (Number.isNaN(date)) return Option.none()
    // Later than the response, or earlier than the request.
    const ahead = Math.max(0, date - receivedAt) + Math.min(0, date - requestedAt)
    return Option.some({ server: url.origin, ahead })
  }).pipe(Effect.catchAll(() => Effect.succeed(Option.none())))

/**
 * The services that requests need.
 *
 * @since 0.1.0
 * @category models
 */
export type Http = HttpClient.HttpClient

const http: Layer.Layer<Http> = FetchHttpClient.layer
