/**
 * The refresh grant (RFC 6749 §6) as the core's `TokenRefresher`.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
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
  /** Scopes to narrow the access token to; never more than were granted. All of them unless given. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Where the access token is to be used (RFC 8707): absolute, without fragment. */
  readonly resource?: string | ReadonlyArray<string> | undefined
  /** What the server does with a refresh token once used; rotating without a window unless given. */
  readonly rotation?: TokenRefresher.RotationPolicy | undefined
}

/**
 * Redeems the refresh token of the credentials it is given, which is to be done once at a time for a grant
 * (RFC 9700 §4.14): the manager sees to that.
 *
 * `GrantDead` is `invalid_grant` alone (and `deadCodes`); an answer that cannot be used but brought a new
 * refresh token carries it as `salvaged`.
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
      ...(options.rotation !== undefined && { rotation: options.rotation }),
      serverAhead: endpoint.serverAhead,
      refresh: (credentials, refreshToken) =>
        Option.getOrElse(notGranted(scopes, credentials), () =>
          endpoint.request({
            grantType: "refresh_token",
            parameters: {
              refresh_token: Redacted.value(refreshToken),
              scope: Target.scope(scopes),
              resource
            },
            previous: Option.some(credentials)
          })
        )
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

/** RFC 6749 §6: no more than was granted, which is known unless the grant came without its scopes. */
const notGranted = (
  scopes: ReadonlyArray<string>,
  granted: Credentials
): Option.Option<TokenRefresher.RefreshError> => {
  const missing = granted.scopes.length === 0 ? [] : scopes.filter((s) => !granted.scopes.includes(s))
  return missing.length === 0
    ? Option.none()
    : Option.some(
        new TokenRefresher.RefreshError({
          reason: "Misconfigured",
          message: `The grant does not hold ${missing.join(" ")}: ask for less, or log in again for more. Nothing was sent.`
        })
      )
}
