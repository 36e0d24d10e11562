/**
 * Renews a provider's grants: the core's `TokenRefresher`.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import { RefreshError, TokenRefresher } from "@latchkey/core/TokenRefresher"
import * as ClientCredentials from "@latchkey/oauth/ClientCredentials"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Identity from "./Identity.js"
import * as Exchange from "./internal/exchange.js"
import * as Wire from "./internal/wire.js"
import type { Provider, ProviderError } from "./Provider.js"

/**
 * Creates the refresher of a provider. Sends nothing yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  provider: Provider
): Effect.Effect<Context.Tag.Service<TokenRefresher>, ProviderError | OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const { refresh, rotation, scopes } = provider
    const origin = Identity.of(provider)
    if (refresh.by === "none") return neverRefreshed(provider)
    if (refresh.by === "exchange")
      return yield* Exchange.make(refresh, Wire.exchangeKey(provider), Wire.errorsOf(provider), origin)
    if (refresh.by === "clientCredentials") return yield* forClient(provider)
    const http = yield* Effect.context<HttpClient>()
    const asked = refresh.sendScopes ? scopesOf(scopes, refresh.scopes) : []
    const forClientId = (clientId: string | undefined) =>
      Effect.gen(function* () {
        const endpoint = yield* Wire.endpointOf(
          clientId === undefined ? provider : Wire.withClientId(provider, clientId)
        )
        return yield* RefreshToken.make({ ...endpoint, rotation, scopes: asked })
      })
    const usual = yield* forClientId(undefined)
    return TokenRefresher.of({
      identity: origin.identity,
      formerly: origin.formerly,
      clientIdIn: origin.clientIdIn,
      needsRefreshToken: usual.needsRefreshToken,
      rotation: usual.rotation,
      refresh: (previous: Option.Option<Credentials>) =>
        Effect.gen(function* () {
          // A grant is valid for the client that it was issued to, and its program may have used another
          // client.
          const clientId = Option.getOrUndefined(
            Option.flatMap(previous, (c) => Identity.clientIdIn(provider, c))
          )
          const inner = clientId === undefined ? usual : yield* Effect.mapError(forClientId(clientId), misfit)
          return Wire.finish(provider)(yield* inner.refresh(previous))
        }).pipe(Effect.provide(http))
    })
  })

/**
 * Returns the scopes of `some` that a login also requests, because a user may have reduced the provider's
 * scopes.
 */
const scopesOf = (all: ReadonlyArray<string>, some: ReadonlyArray<string> = all) =>
  some.filter((scope) => all.includes(scope))

const misfit = ({ message }: ProviderError | OAuthConfigError): RefreshError =>
  new RefreshError({ reason: "Misconfigured", message })

/**
 * Creates the refresher of a provider by client credentials, whatever else renews its grants.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forClient = (
  provider: Provider,
  scopes: ReadonlyArray<string> = provider.scopes
): Effect.Effect<Context.Tag.Service<TokenRefresher>, ProviderError | OAuthConfigError, HttpClient> =>
  Effect.flatMap(Wire.endpointOf(provider), (endpoint) => ClientCredentials.make({ ...endpoint, scopes }))

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  provider: Provider
): Layer.Layer<TokenRefresher, ProviderError | OAuthConfigError, HttpClient> =>
  Layer.effect(TokenRefresher, make(provider))

const neverRefreshed = (provider: Provider): Context.Tag.Service<TokenRefresher> => {
  const { displayName, rotation } = provider
  const { formerly, identity } = Identity.of(provider)
  return TokenRefresher.of({
    identity,
    formerly,
    needsRefreshToken: true,
    rotation,
    refresh: () =>
      Effect.fail(
        new RefreshError({
          reason: "NotSent",
          message: `${displayName} does not renew its tokens: log in again for a new one.`
        })
      )
  })
}
