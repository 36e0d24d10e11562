/**
 * Token exchange (RFC 8693): exchanges a token for another one.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Extras } from "@latchkey/core/Credentials"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { OAuthConfigError } from "./Endpoint.js"
import * as Target from "./internal/target.js"
import * as TokenEndpoint from "./TokenEndpoint.js"

/**
 * The kind of a token, for `subject_token_type` and similar parameters (RFC 8693 §3).
 *
 * @since 0.1.0
 * @category models
 */
export const tokenType = {
  accessToken: "urn:ietf:params:oauth:token-type:access_token",
  refreshToken: "urn:ietf:params:oauth:token-type:refresh_token",
  idToken: "urn:ietf:params:oauth:token-type:id_token",
  saml1: "urn:ietf:params:oauth:token-type:saml1",
  saml2: "urn:ietf:params:oauth:token-type:saml2",
  jwt: "urn:ietf:params:oauth:token-type:jwt"
} as const

/**
 * A token to exchange and its kind: `tokenType`, or a URI of the server's own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Subject {
  readonly token: Redacted.Redacted
  readonly type: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TokenEndpoint.Options {
  /** Called for each exchange: the token of another manager, a file that is renewed, an assertion. */
  readonly subject: Effect.Effect<Subject, TokenRefresher.RefreshError>
  /** The party that acts for the subject, if that is another. */
  readonly actor?: Effect.Effect<Subject, TokenRefresher.RefreshError> | undefined
  /** The kind of token to request. Default: an access token. */
  readonly requestedTokenType?: string | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly audience?: string | ReadonlyArray<string> | undefined
  /** Where the token will be used (RFC 8707): absolute URIs without a fragment. */
  readonly resource?: string | ReadonlyArray<string> | undefined
}

const grantType = "urn:ietf:params:oauth:grant-type:token-exchange"

/**
 * Creates a refresher that exchanges the subject token each time. It needs no credentials to begin with. A
 * response that does not say what it issued, or issued something else, is `Malformed` (RFC 8693 §2.2.1).
 *
 * An ID token, a SAML assertion or any other token that is not an access token becomes the `accessToken` of
 * the credentials, with `tokenType` `N_A`. Pass it on as what it is: a parameter of a login, an assertion of
 * another grant. No client here sends it as a bearer token.
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
        Effect.gen(function* () {
          const subject = yield* options.subject
          const actor = options.actor === undefined ? undefined : yield* options.actor
          return yield* endpoint.request({
            grantType,
            parameters: {
              subject_token: Redacted.value(subject.token),
              subject_token_type: subject.type,
              actor_token: actor && Redacted.value(actor.token),
              actor_token_type: actor?.type,
              requested_token_type: options.requestedTokenType,
              scope: Target.scope(options.scopes),
              audience: options.audience,
              resource
            },
            previous,
            tokenTypes: ["N_A"],
            check: (response) => issuedProblem(options.requestedTokenType, response)
          })
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
 * A JWT also counts as an access token, unless another kind was requested by name. An access token has a type
 * by which it is used (RFC 8693 §2.2.1).
 */
const issuedProblem = (requested: string | undefined, response: Extras): Option.Option<string> => {
  const issued = response["issued_token_type"]
  const accepted: ReadonlyArray<unknown> =
    requested === undefined ? [tokenType.accessToken, tokenType.jwt] : [requested]
  if (issued === undefined) return Option.some("does not say what it issued (issued_token_type)")
  if (!accepted.includes(issued)) {
    return Option.some("issued another type of token than was asked for (issued_token_type)")
  }
  const type = response["token_type"]
  return issued === tokenType.accessToken && typeof type === "string" && type.toUpperCase() === "N_A"
    ? Option.some("issued an access token of the token_type N_A, with which none can be used")
    : Option.none()
}
