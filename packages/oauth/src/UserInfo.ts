/**
 * Finds out whose grant it is, from the UserInfo endpoint (OpenID Connect Core §5.3) or from the ID token. It
 * is a `ProfileSource` of the core.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import * as Profile from "@latchkey/core/Profile"
import * as Config from "effect/Config"
import * as Clock from "effect/Clock"
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import * as DPoP from "./DPoP.js"
import type { OAuthConfigError } from "./Endpoint.js"
import * as IdToken from "./IdToken.js"
import * as ServerClock from "./internal/serverClock.js"
import { quote } from "./internal/text.js"
import type { OAuthError } from "./OAuthError.js"
import * as Server from "./Server.js"
import * as Wire from "./Wire.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly server: Server.Input
  /** The provider's name in the profile. */
  readonly provider: string
  /** How long a request may take. Default and maximum: 30 s. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Creates a source that sends the access token, with DPoP if the token is bound. A response for another
 * subject than the ID token's is refused (§5.3.2). `quick` reads the ID token, or the credentials themselves.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Context.Tag.Service<Profile.ProfileSource>, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const wire = yield* Wire.make({ timeout: options.timeout })
    const server = yield* Server.from(options.server)
    const nonces = yield* DPoP.makeNonces
    const clocks = ServerClock.make()

    const ask = (metadata: Server.Metadata, credentials: Credentials, key: Option.Option<DPoP.Key>) =>
      Effect.gen(function* () {
        const endpoint = yield* Server.endpoint(metadata, "userinfo_endpoint")
        const requestedAt = yield* Clock.currentTimeMillis
        const extra = Option.isSome(key) && {
          DPoP: yield* DPoP.handle(key.value, nonces.get(endpoint), clocks.ahead(endpoint))
        }
        const answer = yield* wire.send((common) =>
          oauth.userInfoRequest(metadata, { client_id: "unused" }, Redacted.value(credentials.accessToken), {
            ...common,
            ...extra
          })
        )
        const wantsNonce =
          Option.isSome(key) && nonces.keep(endpoint, answer.headers) && DPoP.wantsNonce(answer)
        const { headers, receivedAt } = answer
        const wasMisdated = clocks.learn(endpoint, { headers, receivedAt, requestedAt })
        // A 401 to a wrongly dated proof: the server did not look at the token.
        const again = wantsNonce || (Option.isSome(key) && wasMisdated && answer.status === 401)
        return { answer, again }
      })

    return Profile.ProfileSource.of({
      quick: (credentials) =>
        Option.match(Option.flatMap(credentials.idToken, IdToken.decode), {
          onNone: () => Profile.fromCredentials(options.provider, credentials),
          onSome: (claims) => IdToken.toProfile(options.provider, claims)
        }),
      fetch: (credentials) =>
        Effect.gen(function* () {
          yield* understood(credentials)
          const key = yield* Effect.mapError(DPoP.keyOf(credentials), (e) => failed("Rejected", e.message))
          const metadata = yield* Effect.mapError(server.metadata, fromOAuth)
          const first = yield* Effect.mapError(ask(metadata, credentials, key), fromOAuth)
          const { answer } = first.again
            ? yield* Effect.mapError(ask(metadata, credentials, key), fromOAuth)
            : first
          const claims = yield* read(answer)
          const subject = IdToken.subject(credentials)
          if (Option.isSome(subject) && claims["sub"] !== subject.value) {
            return yield* failed(
              "Malformed",
              `${answer.endpoint} answered for another subject than the grant's.`
            )
          }
          return IdToken.toProfile(options.provider, claims)
        })
    })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Profile.ProfileSource, OAuthConfigError, HttpClient> =>
  Layer.effect(Profile.ProfileSource, make(options))

/**
 * {@link layer} from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Profile.ProfileSource, OAuthConfigError | ConfigError.ConfigError, HttpClient> =>
  Layer.effect(Profile.ProfileSource, Effect.flatMap(Config.unwrap(options), make))

const failed = (reason: Profile.ProfileError["reason"], message: string): Profile.ProfileError =>
  new Profile.ProfileError({ reason, message })

/** RFC 6749 §7.1: a token of another type is not sent as if it were one of these. */
const understood = ({ tokenType }: Credentials): Either.Either<void, Profile.ProfileError> =>
  ["bearer", "dpop"].includes(tokenType.toLowerCase())
    ? Either.right(undefined)
    : Either.left(
        failed(
          "Rejected",
          `The token is of the type ${quote(tokenType, [])}, which this client does not understand, and was not sent.`
        )
      )

const fromOAuth = (error: OAuthError): Profile.ProfileError =>
  failed(
    error.reason === "Malformed" || error.reason === "Misconfigured" ? "Malformed" : "Unavailable",
    error.message
  )

const read = (answer: Answer.Answer): Either.Either<IdToken.Claims, Profile.ProfileError> => {
  if (answer.status === 401 || answer.status === 403) {
    return Either.left(
      failed(
        "Rejected",
        `${answer.endpoint} answered ${answer.status}: refresh the token, or log in with the scopes that it requires.`
      )
    )
  }
  if (!Answer.isOk(answer)) return Either.left(fromOAuth(Answer.toError(answer)))
  if (Option.isSome(answer.cut)) return Either.left(fromOAuth(answer.cut.value))
  return Either.mapLeft(Answer.json(answer), (problem) =>
    failed("Malformed", Answer.malformed(answer, "user info", problem).message)
  )
}
