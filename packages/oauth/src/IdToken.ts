/**
 * ID tokens (OpenID Connect Core §2): their claims, and whether to trust them.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import * as Profile from "@latchkey/core/Profile"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Jwt from "./Jwt.js"
import type { Metadata } from "./Server.js"
import * as Wire from "./Wire.js"

/**
 * @since 0.1.0
 * @category models
 */
export type Claims = Jwt.Claims

/**
 * Returns the claims of an ID token, unchecked. None if it is not a JWT.
 *
 * @since 0.1.0
 * @category getters
 */
export const decode: (idToken: Redacted.Redacted) => Option.Option<Claims> = Jwt.claims

/**
 * Returns the subject of the ID token in the given credentials.
 *
 * @since 0.1.0
 * @category getters
 */
export const subject = (credentials: Credentials): Option.Option<string> =>
  Option.flatMap(credentials.idToken, subjectOf)

/**
 * Returns the subject of an ID token.
 *
 * @since 0.1.0
 * @category getters
 */
export const subjectOf = (idToken: Redacted.Redacted): Option.Option<string> =>
  Option.flatMap(decode(idToken), textClaim("sub"))

const textClaim =
  (name: string) =>
  (claims: Claims): Option.Option<string> =>
    Option.liftPredicate((v: unknown): v is string => typeof v === "string" && v !== "")(claims[name])

/**
 * Checks an ID token that came directly from the token endpoint (OpenID Connect Core §3.1.3.7): issuer,
 * audience, times, authorized party and algorithm. TLS vouches for its signature. `now` is epoch
 * milliseconds, by the server's clock if that is known, so that a wrong clock on this machine is no reason to
 * refuse it. Returns the problem, if there is one.
 *
 * @since 0.1.0
 * @category validation
 */
export const problem = (
  metadata: Metadata,
  clientId: string,
  idToken: Redacted.Redacted,
  now: number
): Effect.Effect<Option.Option<string>> =>
  Effect.flatMap(Wire.clockSkew(now), (skew) =>
    Effect.promise(async () => {
      const client: oauth.Client = { client_id: clientId, [oauth.clockSkew]: skew }
      const body = JSON.stringify({
        access_token: "none",
        token_type: "bearer",
        id_token: Redacted.value(idToken)
      })
      try {
        await oauth.processGenericTokenEndpointResponse(metadata, client, new Response(body))
        return Option.none()
      } catch (error) {
        // The library's messages name claims and hold no values.
        const known =
          error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError
        return Option.some(known ? error.message : "it is not a JWT")
      }
    })
  )

/**
 * Converts claims (OpenID Connect Core §5.1) to a profile. Claims without a field there go to `extras`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toProfile = (provider: string, claims: Claims): Profile.Profile => {
  const { sub: _sub, email: _email, name: _name, ...extras } = claims
  const text = (name: string) => Option.getOrUndefined(textClaim(name)(claims))
  return Profile.make({
    provider,
    accountId: text("sub"),
    email: text("email"),
    displayName: text("name") ?? text("preferred_username"),
    extras
  })
}
