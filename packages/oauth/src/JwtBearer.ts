/**
 * The JWT bearer grant (RFC 7523 §2.1): exchanges a signed assertion for an access token, as service accounts
 * do.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import { millisOf } from "@latchkey/core/TokenConfig"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import { importSigningKey } from "./internal/keys.js"
import * as Target from "./internal/target.js"
import * as TokenEndpoint from "./TokenEndpoint.js"
import * as Wire from "./Wire.js"

/**
 * The claims of an assertion and the key that signs it. Each assertion has its own `jti`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Assertion {
  readonly key: oauth.CryptoKey | Redacted.Redacted<oauth.JWK>
  readonly kid?: string | undefined
  readonly issuer: string
  /** The user or account that the token is for. Default: the issuer. */
  readonly subject?: string | undefined
  /** The authorization server's issuer, or its token endpoint. */
  readonly audience: string
  /** Default: 60 s. */
  readonly lifetime?: Duration.DurationInput | undefined
  /** Further claims, such as Google's `scope`. */
  readonly claims?: Readonly<Record<string, oauth.JsonValue>> | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TokenEndpoint.Options {
  /** The assertion to sign, or an effect that gets an assertion signed by another service. */
  readonly assertion: Assertion | Effect.Effect<Redacted.Redacted, TokenRefresher.RefreshError>
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Where the access token will be used (RFC 8707): absolute URIs without a fragment. */
  readonly resource?: string | ReadonlyArray<string> | undefined
}

const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

/**
 * Creates a refresher that requests a new token each time, with a new assertion. It needs no credentials to
 * begin with.
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
    const given = options.assertion
    const sign = Effect.isEffect(given) ? () => given : yield* signer(given)
    return TokenRefresher.makeIndependent(
      (previous) =>
        endpoint.request({
          grantType,
          parameters: { scope: Target.scope(options.scopes), resource },
          signed: (serverAhead) =>
            Effect.map(sign(serverAhead), (assertion) => ({ assertion: Redacted.value(assertion) })),
          previous
        }),
      { ...endpoint.originOf(grantType, subjectOf(options.assertion)), serverAhead: endpoint.serverAhead }
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

/** The subject that the client names. Unknown if another service signs the assertion. */
const subjectOf = (assertion: Options["assertion"]): string | undefined =>
  Effect.isEffect(assertion) ? undefined : (assertion.subject ?? assertion.issuer)

/** Signs as `oauth4webapi` signs a client's assertion, which differs only in its subject and audience. */
const signer = (
  assertion: Assertion
): Effect.Effect<(serverAhead: number) => Effect.Effect<Redacted.Redacted>, OAuthConfigError> =>
  Effect.gen(function* () {
    const { audience, issuer, key: given, kid, lifetime = "60 seconds" } = assertion
    const millis = millisOf(lifetime)
    if (!(millis > 0 && Number.isFinite(millis))) {
      return yield* invalid("assertion.lifetime", "must be a finite duration above zero")
    }
    const key = Redacted.isRedacted(given)
      ? yield* importSigningKey("assertion.key", Redacted.value(given), "sign")
      : given
    const sign = (payload: Readonly<Record<string, oauth.JsonValue>>) =>
      oauth.PrivateKeyJwt(kid === undefined ? key : { key, kid }, {
        [oauth.modifyAssertion]: (_header, claims) => {
          Object.assign(claims, payload)
        }
      })
    yield* Effect.try({
      try: () => sign({}),
      catch: () => invalid("assertion.key", "must be a private key that can sign")
    })
    return (serverAhead) =>
      Effect.gen(function* () {
        // By the server's clock, because the server judges it.
        const now = (yield* Clock.currentTimeMillis) + serverAhead
        const skew = yield* Wire.clockSkew(now)
        return yield* Effect.promise(async () => {
          const exp = Math.floor(now / 1000) + Math.ceil(millis / 1000)
          const body = new URLSearchParams()
          const method = sign({ ...assertion.claims, sub: assertion.subject ?? issuer, exp })
          await method(
            { issuer: audience },
            { client_id: issuer, [oauth.clockSkew]: skew },
            body,
            new Headers()
          )
          return Redacted.make(body.get("client_assertion") ?? "")
        })
      })
  })
