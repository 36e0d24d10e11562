/**
 * The refresh grant (RFC 6749 §6) as the core's `TokenRefresher`.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import { userGrant } from "@latchkey/core/GrantIdentity"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { OAuthConfigError } from "./Endpoint.js"
import * as Target from "./internal/target.js"
import * as TokenEndpoint from "./TokenEndpoint.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TokenEndpoint.Options {
  /**
   * Scopes of the access token. By default none are sent and the server gives the granted ones. They are sent
   * unchanged, whatever an earlier token held: a token's scopes are not those of the grant (RFC 6749 §6), and
   * servers leave some out or spell them differently. The server refuses scopes that were not granted:
   * `Misconfigured`.
   */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Where the access token will be used (RFC 8707): absolute URIs without a fragment. */
  readonly resource?: string | ReadonlyArray<string> | undefined
  /** What the server does with a spent refresh token. Default: rotating, no replay window. */
  readonly rotation?: TokenRefresher.RotationPolicy | undefined
}

/**
 * Creates a refresher that redeems the refresh token of the credentials it receives. This must happen once at
 * a time for a grant (RFC 9700 §4.14). The manager ensures it.
 *
 * `GrantDead` is `invalid_grant`, a code that requires the user (`interaction_required` and the like), and
 * whatever `deadCodes` and `adaptError` add. If an unusable response brought a new refresh token, the error
 * carries it as `salvaged`.
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
    const scopes = options.scopes ?? []
    return TokenRefresher.make({
      ...endpoint.originOf(userGrant),
      ...(options.rotation !== undefined && { rotation: options.rotation }),
      serverAhead: endpoint.serverAhead,
      refresh: (credentials, refreshToken) =>
        endpoint.request({
          grantType: "refresh_token",
          parameters: {
            refresh_token: Redacted.value(refreshToken),
            scope: Target.scope(scopes),
            resource
          },
          previous: Option.some(credentials)
        })
    })
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
