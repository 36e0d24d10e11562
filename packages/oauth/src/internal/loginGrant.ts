/** What all logins do with the grant that they bring. */
import { Credentials, type Extras } from "@latchkey/core/Credentials"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as IdToken from "../IdToken.js"
import * as LoginEvent from "../LoginEvent.js"
import type * as TokenEndpoint from "../TokenEndpoint.js"
import * as OfflineAccess from "./offlineAccess.js"

const idTokenOf = (response: Extras): Option.Option<Redacted.Redacted> =>
  Option.map(
    Option.liftPredicate((v: unknown): v is string => typeof v === "string" && v !== "")(
      response["id_token"]
    ),
    Redacted.make
  )

/** The account is the subject of the ID token, unless the provider names it in another way. */
export const withAccount = <A extends TokenEndpoint.Options>(options: A): A => ({
  ...options,
  accountId:
    options.accountId ?? ((response: Extras) => Option.flatMap(idTokenOf(response), IdToken.subjectOf))
})

/** RFC 6749 §5.1: a scope that is left out is the requested one. */
export const withScopes =
  (asked: ReadonlyArray<string>) =>
  (credentials: Credentials): Credentials =>
    credentials.scopes.length > 0 ? credentials : new Credentials({ ...credentials, scopes: asked })

/** Reports a login that brought no refresh token at once, and not only when its access token expires. */
export const reportMissing =
  (asked: OfflineAccess.Asked, options: LoginEvent.Options) =>
  (credentials: Credentials): Effect.Effect<void> =>
    Option.match(OfflineAccess.missing(asked, credentials, options.expectsRefreshToken), {
      onNone: () => Effect.void,
      onSome: (event) => LoginEvent.report(options, event)
    })

/** How many seconds later than `max_age` allows a user may have logged in, for slow pages. */
const maxAgeSlack = 60

/**
 * Returns the problem with the ID token as the response to this login's request (OpenID Connect Core
 * §3.1.3.7).
 */
export const idTokenProblem =
  (asked: { readonly nonce: string | undefined; readonly maxAge: string | undefined }) =>
  (response: Extras): Option.Option<string> =>
    Option.flatMap(Option.flatMap(idTokenOf(response), IdToken.decode), (claims) => {
      if (asked.nonce !== undefined && claims["nonce"] !== asked.nonce) {
        return Option.some("has an id_token with another nonce than this login's")
      }
      if (asked.maxAge === undefined) return Option.none()
      const { auth_time: authTime, iat } = claims
      const recent =
        typeof authTime === "number" &&
        typeof iat === "number" &&
        iat - authTime <= Number(asked.maxAge) + maxAgeSlack
      return recent ? Option.none() : Option.some("has an id_token of a login longer ago than max_age allows")
    })
