/**
 * Revokes a grant (RFC 7009).
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import { millisOf } from "@latchkey/core/TokenConfig"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import * as ClientAuth from "./ClientAuth.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as SignedSender from "./internal/signedSender.js"
import type { OAuthError } from "./OAuthError.js"
import * as Server from "./Server.js"
import * as Wire from "./Wire.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly server: Server.Input
  readonly client: ClientAuth.Client
  /** The total number of attempts. Default: 3. */
  readonly attempts?: number | undefined
  /**
   * The longest wait between two attempts. If the server asks for longer, the revocation fails. Default: 10
   * s.
   */
  readonly maxWait?: Duration.DurationInput | undefined
  /** How long a request may take. Default and maximum: 30 s. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The port.
 *
 * @since 0.1.0
 * @category tags
 */
export class Revocation extends Context.Tag("@latchkey/oauth/Revocation")<
  Revocation,
  {
    /**
     * Revokes the refresh token, which ends the grant, and then the access token. A token that the server
     * does not know or calls invalid counts as revoked (§2.2): often the access token ends with the refresh
     * token. Once the refresh token is revoked, an access token that the server refuses to revoke is logged,
     * and is not a failure.
     *
     * Until it succeeds, treat the tokens as valid: a 503 means that they are (§2.2.1). The request is
     * repeated after a 503 and after a request without a response. Repeating it is safe.
     */
    readonly revoke: (credentials: Credentials) => Effect.Effect<void, OAuthError>
  }
>() {}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Context.Tag.Service<Revocation>, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const wire = yield* Wire.make({ timeout: options.timeout })
    const server = yield* Server.from(options.server)
    const auth = yield* ClientAuth.authenticate(options.client)
    const sender = SignedSender.make(wire, options.client.auth)
    const maxWait = millisOf(options.maxWait ?? "10 seconds")
    const attempts = options.attempts ?? 3
    if (Number.isNaN(maxWait)) return yield* invalid("maxWait", "must be a duration, not negative")
    if (!(Number.isSafeInteger(attempts) && attempts > 0)) {
      return yield* invalid("attempts", "must be a whole number, 1 at least")
    }
    const patience = { attempts, maxWait }

    const revokeOne = (token: Redacted.Redacted, hint: "refresh_token" | "access_token") =>
      Effect.gen(function* () {
        const metadata = yield* server.metadata
        const endpoint = yield* Server.endpoint(metadata, "revocation_endpoint")
        const answer = yield* sender.send(endpoint, auth.client, (client, common) =>
          oauth.revocationRequest(metadata, client, auth.method, Redacted.value(token), {
            ...common,
            additionalParameters: { token_type_hint: hint }
          })
        )
        if (Answer.isOk(answer)) return
        const error = Answer.toError(answer)
        if (!isInvalidAlready(error)) return yield* error
      })

    return Revocation.of({
      revoke: (credentials) =>
        Effect.gen(function* () {
          const revokeAccess = patiently(patience, revokeOne(credentials.accessToken, "access_token"))
          if (Option.isNone(credentials.refreshToken)) return yield* revokeAccess
          yield* patiently(patience, revokeOne(credentials.refreshToken.value, "refresh_token"))
          yield* Effect.catchIf(
            revokeAccess,
            (error) => !mayPass(error),
            ({ message }) =>
              Effect.logWarning(
                `The refresh token is revoked. The access token could not be revoked, and stays valid until it expires: ${message}`
              )
          )
        })
    })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Revocation, OAuthConfigError, HttpClient> =>
  Layer.effect(Revocation, make(options))

/**
 * {@link layer} from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Revocation, OAuthConfigError | ConfigError.ConfigError, HttpClient> =>
  Layer.effect(Revocation, Effect.flatMap(Config.unwrap(options), make))

/** Servers send this instead of the 200 that RFC 7009 §2.2 requires for an invalid token. */
const isInvalidAlready = ({ oauthError, status = 0 }: OAuthError): boolean =>
  status < 500 && (oauthError === "invalid_token" || oauthError === "invalid_grant")

const mayPass = ({ reason }: OAuthError): boolean =>
  reason === "Transient" || reason === "MaybeSent" || reason === "NotSent"

const patiently = (
  patience: { readonly attempts: number; readonly maxWait: number },
  revoke: Effect.Effect<void, OAuthError>,
  attempt = 1
): Effect.Effect<void, OAuthError> =>
  Effect.catchAll(revoke, (error) => {
    const wait = error.retryAfter ?? Duration.seconds(2 ** (attempt - 1))
    return mayPass(error) && attempt < patience.attempts && Duration.lessThanOrEqualTo(wait, patience.maxWait)
      ? Effect.delay(patiently(patience, revoke, attempt + 1), wait)
      : Effect.fail(error)
  })
