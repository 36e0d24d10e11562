/**
 * The login on another device (RFC 8628): the user enters a short code in any browser, while the program
 * polls the server.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import type { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import * as ClientAuth from "./ClientAuth.js"
import type { OAuthConfigError } from "./Endpoint.js"
import * as DeviceCode from "./internal/deviceCode.js"
import type { Prompt } from "./internal/deviceCode.js"
import * as LoginGrant from "./internal/loginGrant.js"
import * as SignedSender from "./internal/signedSender.js"
import * as Target from "./internal/target.js"
import { expired, fromRequest, type LoginError } from "./LoginError.js"
import type * as LoginEvent from "./LoginEvent.js"
import * as Server from "./Server.js"
import * as TokenEndpoint from "./TokenEndpoint.js"
import * as Wire from "./Wire.js"

export type { Prompt } from "./internal/deviceCode.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> extends TokenEndpoint.Options, LoginEvent.Options {
  /** Shows the user what to do. Polling begins when it completes. Its failure ends the login. */
  readonly prompt: (prompt: Prompt) => Effect.Effect<void, E, R>
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Where the access token will be used (RFC 8707): absolute URIs without a fragment. */
  readonly resource?: string | ReadonlyArray<string> | undefined
  /**
   * Parameters that the server requires at its device authorization endpoint in addition to the standard
   * ones.
   */
  readonly deviceParameters?: Readonly<Record<string, string>> | undefined
}

const grantType = "urn:ietf:params:oauth:grant-type:device_code"

/**
 * Logs in: requests a code, shows it, and polls until the user is done.
 *
 * The time between polls is the server's interval, 5 s by default. `slow_down` adds 5 s permanently (§3.5).
 * While the server does not respond, or responds that it cannot now, the interval doubles each time, up to a
 * minute or what `Retry-After` says. It resets once the server responds again. `Denied` and `Expired` end the
 * login; `Expired` comes at the code's end in any case. Interruption stops the polling.
 *
 * @since 0.1.0
 * @category constructors
 */
export const login = <E, R>(
  options: Options<E, R>
): Effect.Effect<Credentials, LoginError | OAuthConfigError | E, HttpClient | R> =>
  Effect.gen(function* () {
    const scopes = options.scopes ?? []
    const resource = yield* Target.resources(options.resource)
    const server = yield* Server.from(options.server)
    const endpoint = yield* TokenEndpoint.make(LoginGrant.withAccount({ ...options, server }))
    const device = yield* authorize(options, server, resource)
    yield* options.prompt(device.prompt)
    const credentials = yield* poll(
      endpoint.request({
        grantType,
        parameters: { device_code: Redacted.value(device.deviceCode), resource },
        previous: Option.none()
      }),
      device
    )
    const complete = LoginGrant.withScopes(scopes)(credentials)
    yield* LoginGrant.reportMissing({ endpoint: device.endpoint, scopes }, options)(complete)
    return complete
  })

/** Sends the device authorization request (§3.1). */
const authorize = (
  options: Options<unknown, unknown>,
  server: Effect.Effect.Success<ReturnType<typeof Server.from>>,
  resource: ReadonlyArray<string>
): Effect.Effect<
  DeviceCode.DeviceCode & { readonly endpoint: string },
  LoginError | OAuthConfigError,
  HttpClient
> =>
  Effect.gen(function* () {
    const wire = yield* Wire.make({ timeout: options.timeout })
    const auth = yield* ClientAuth.authenticate(options.client)
    const metadata = yield* Effect.mapError(server.metadata, fromRequest)
    const endpoint = yield* Either.mapLeft(
      Server.endpoint(metadata, "device_authorization_endpoint"),
      fromRequest
    )
    const scope = Target.scope(options.scopes)
    const parameters = new URLSearchParams({
      ...(scope !== undefined && { scope }),
      ...options.deviceParameters
    })
    for (const uri of resource) parameters.append("resource", uri)
    const requestedAt = yield* Clock.currentTimeMillis
    const sender = SignedSender.make(wire, options.client.auth)
    const answer = yield* Effect.mapError(
      sender.send(
        endpoint,
        auth.client,
        (client, common) =>
          oauth.deviceAuthorizationRequest(metadata, client, auth.method, parameters, {
            ...common,
            ...(options.headers !== undefined && { headers: { ...options.headers } })
          }),
        options.encoding
      ),
      fromRequest
    )
    const device = yield* Either.mapLeft(read(answer, requestedAt), fromRequest)
    return { ...device, endpoint }
  })

const read = (answer: Answer.Answer, requestedAt: number) => {
  if (!Answer.isOk(answer)) return Either.left(Answer.toError(answer))
  if (Option.isSome(answer.cut)) return Either.left(answer.cut.value)
  return Answer.json(answer).pipe(
    Either.mapLeft((problem) => Answer.malformed(answer, "device authorization", problem)),
    Either.flatMap((body) =>
      Option.isSome(Answer.oauthError(body))
        ? Either.left(Answer.toError(answer))
        : Either.mapLeft(DeviceCode.parse(body, requestedAt), (problem) =>
            Answer.malformed(answer, "device authorization", problem)
          )
    )
  )
}

/** What `slow_down` adds to the interval, in milliseconds. */
const slowDown = 5000

/** The longest back-off that this client chooses, in milliseconds. */
const longestBackOff = 60_000

/** The longest wait that a server can impose, in milliseconds. */
const longestRetryAfter = 86_400_000

const poll = (
  ask: Effect.Effect<Credentials, RefreshError>,
  device: DeviceCode.DeviceCode
): Effect.Effect<Credentials, LoginError> =>
  Effect.gen(function* () {
    let interval = device.interval
    let wait = interval
    while (true) {
      const left = device.prompt.expiresAt - (yield* Clock.currentTimeMillis)
      yield* Effect.sleep(Math.max(0, Math.min(wait, left)))
      if ((yield* Clock.currentTimeMillis) >= device.prompt.expiresAt) return yield* expired()
      const result = yield* Effect.either(ask)
      if (Either.isRight(result)) return result.right
      const error = result.left
      if (error.oauthError === "authorization_pending") wait = interval
      else if (error.oauthError === "slow_down") wait = interval += slowDown
      else if (isPassing(error)) {
        const asked = error.retryAfter === undefined ? 0 : Duration.toMillis(error.retryAfter)
        wait = Math.max(Math.min(asked, longestRetryAfter), interval, Math.min(wait * 2, longestBackOff))
      } else return yield* fromRequest(error)
    }
  })

/** No response, or one that means "not now": the code is still valid. */
const isPassing = ({ oauthError, reason }: RefreshError): boolean =>
  oauthError !== "access_denied" &&
  oauthError !== "expired_token" &&
  (reason === "NotSent" || reason === "MaybeSent" || reason === "Transient")
