/**
 * The client credentials grant (RFC 6749 §4.4): a token for the client itself, without a refresh token.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { OAuthConfigError } from "./Endpoint.js"
import * as Target from "./internal/target.js"
import * as TokenEndpoint from "./TokenEndpoint.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TokenEndpoint.Options {
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Where the access token will be used (RFC 8707): absolute URIs without a fragment. */
  readonly resource?: string | ReadonlyArray<string> | undefined
  /** The audience by name, for servers that use one instead. */
  readonly audience?: string | undefined
}

const grantType = "client_credentials"

/**
 * Creates a refresher that requests a new token each time. It needs no credentials to begin with, and
 * repeating a request is always safe.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Context.Tag.Service<TokenRefresher.TokenRefresher>, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const endpoint = yield* TokenEndpoint.make(options)
    const resource = yield* Target.resources(options.resource)
    return TokenRefresher.makeIndependent(
      (previous) =>
        endpoint.request({
          grantType,
          parameters: { scope: Target.scope(options.scopes), audience: options.audience, resource },
          previous
        }),
      { ...endpoint.originOf(grantType), serverAhead: endpoint.serverAhead }
    )
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<TokenRefresher.TokenRefresher, OAuthConfigError, HttpClient> =>
  Layer.effect(TokenRefresher.TokenRefresher, make(options))

/**
 * {@link layer} from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<TokenRefresher.TokenRefresher, OAuthConfigError | ConfigError.ConfigError, HttpClient> =>
  Layer.effect(TokenRefresher.TokenRefresher, Effect.flatMap(Config.unwrap(options), make))
