/**
 * The accounts of a provider's grants: the core's `ProfileSource` for a provider.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials, Extras } from "@latchkey/core/Credentials"
import * as Profile from "@latchkey/core/Profile"
import * as Jwt from "@latchkey/oauth/Jwt"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type { OAuthError } from "@latchkey/oauth/OAuthError"
import * as Resource from "@latchkey/oauth/Resource"
import * as UserInfo from "@latchkey/oauth/UserInfo"
import * as Wire from "@latchkey/oauth/Wire"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { isPending } from "./internal/pending.js"
import { textAt } from "./internal/json.js"
import type { Provider } from "./Provider.js"

/**
 * Creates a profile from the provider's response or claims. All of it is kept in `extras`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromDocument = ({ name, profile }: Provider, document: Extras): Profile.Profile =>
  Profile.make({
    provider: name,
    accountId: Option.getOrUndefined(textAt(document, profile.accountId)),
    email: Option.getOrUndefined(textAt(document, profile.email)),
    displayName: Option.getOrUndefined(
      Option.firstSomeOf(profile.displayName.map((path) => textAt(document, path)))
    ),
    extras: document
  })

/**
 * Creates a profile from the credentials alone: the ID token's claims, or the account. No I/O.
 *
 * @since 0.1.0
 * @category conversions
 */
export const quick = (provider: Provider, credentials: Credentials): Profile.Profile =>
  Option.match(Option.flatMap(credentials.idToken, Jwt.claims), {
    onNone: () => Profile.fromCredentials(provider.name, credentials),
    onSome: (claims) => {
      const claimed = fromDocument(provider, claims)
      return new Profile.Profile({
        ...claimed,
        accountId: Option.orElse(credentials.accountId, () => claimed.accountId)
      })
    }
  })

/**
 * Creates the source of a provider's profiles.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  provider: Provider
): Effect.Effect<Context.Tag.Service<Profile.ProfileSource>, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const { endpoint, from, headers, token } = provider.profile
    if (from === "userinfo") {
      const source = yield* UserInfo.make({ server: provider.server, provider: provider.name })
      return Profile.ProfileSource.of({ fetch: source.fetch, quick: source.quick })
    }
    const own = (credentials: Credentials) => quick(provider, credentials)
    if (from !== "endpoint" || endpoint === undefined) {
      return Profile.ProfileSource.of({ quick: own, fetch: (c) => Effect.succeed(own(c)) })
    }
    const wire = yield* Wire.make()
    return Profile.ProfileSource.of({
      quick: own,
      fetch: (credentials) =>
        Effect.gen(function* () {
          const shown = yield* tokenFor(token, credentials)
          const answer = yield* Resource.get(wire, { url: endpoint, token: shown, headers })
          return fromDocument(provider, yield* Resource.document(answer, "profile"))
        }).pipe(Effect.mapError((error) => (error._tag === "OAuthError" ? fromOAuth(error) : error)))
    })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (provider: Provider): Layer.Layer<Profile.ProfileSource, OAuthConfigError, HttpClient> =>
  Layer.effect(Profile.ProfileSource, make(provider))

const tokenFor = (which: "accessToken" | "refreshToken", credentials: Credentials) =>
  which === "refreshToken"
    ? Effect.mapError(credentials.refreshToken, () => noToken("refresh token"))
    : isPending(credentials)
      ? Effect.fail(noToken("access token"))
      : Effect.succeed(credentials.accessToken)

const noToken = (what: string): Profile.ProfileError =>
  new Profile.ProfileError({ reason: "Rejected", message: `There is no ${what} to ask with: log in again.` })

const fromOAuth = (error: OAuthError): Profile.ProfileError => {
  const rejected = error.status === 401 || error.status === 403
  return new Profile.ProfileError({
    reason: rejected
      ? "Rejected"
      : error.reason === "Malformed" || error.reason === "Misconfigured"
        ? "Malformed"
        : "Unavailable",
    message: rejected
      ? `${error.endpoint} answered ${error.status}: refresh the token, or log in with the scopes that it requires.`
      : error.message
  })
}
