/**
 * The token endpoint (RFC 6749 §3.2): sends one request for any grant type, and returns credentials or a
 * classified failure.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import { Credentials, type Extras, tokenProblem } from "@latchkey/core/Credentials"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import { millisOf } from "@latchkey/core/TokenConfig"
import { type Origin, RefreshError } from "@latchkey/core/TokenRefresher"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import * as ClientAuth from "./ClientAuth.js"
import * as DPoP from "./DPoP.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as IdToken from "./IdToken.js"
import * as ServerClock from "./internal/serverClock.js"
import * as SignedSender from "./internal/signedSender.js"
import { toRefreshError, type OAuthError } from "./OAuthError.js"
import * as Server from "./Server.js"
import * as TokenResponse from "./TokenResponse.js"
import * as Wire from "./Wire.js"

/**
 * The options that all grants have in common.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Answer.ErrorSettings {
  readonly server: Server.Input
  readonly client: ClientAuth.Client
  /** How the body is encoded. Default: `form`. */
  readonly encoding?: Wire.Encoding | undefined
  /** Parameters that the server requires in addition to the standard ones. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /** Headers that the server requires. Do not set `authorization` and `dpop` here. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Reads the account from the provider's response. A response for another account is refused. */
  readonly accountId?: ((response: Extras) => Option.Option<string>) | undefined
  /**
   * Converts a response of this server to the terms of the standard, if it departs from them: scopes
   * separated by commas, tokens in an inner object. Called for success responses only.
   */
  readonly adapt?: ((response: Extras) => Extras) | undefined
  /**
   * The token type if the response names none, against RFC 6749 §5.1: for example `Bearer`. Without it such a
   * response is refused.
   */
  readonly defaultTokenType?: string | undefined
  /** Whether to check an ID token in a response, if the issuer is known. Default: true. */
  readonly checkIdToken?: boolean | undefined
  /** Whether to bind tokens to a key (RFC 9449). A grant that is already bound stays bound in any case. */
  readonly dpop?: boolean | undefined
  /**
   * For servers that end a grant that is not used: a grant is refreshed after this time, even if its token is
   * still valid or has no known expiry. A day at least. Something must run for that: a `Renewer`, or a manager
   * that is asked for a token. Default: never.
   */
  readonly keepAlive?: Duration.DurationInput | undefined
  /** How long a request may take. Default and maximum: 30 s. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The content of one request: the grant type and its parameters. A list is sent as a repeated parameter.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly grantType: string
  readonly parameters: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  /**
   * Parameters that are signed anew for each request, such as an assertion. The argument is by how many
   * milliseconds the server's clock is ahead of ours; sign by the server's clock.
   */
  readonly signed?:
    ((serverAhead: number) => Effect.Effect<Readonly<Record<string, string>>, RefreshError>) | undefined
  /** The credentials that the response is merged into. A key that they are bound to is used. */
  readonly previous: Option.Option<Credentials>
  /** The key to bind the tokens to, if one is already in use. Otherwise a new one if `dpop` is on. */
  readonly key?: Option.Option<DPoP.Key> | undefined
  /** Token types that this grant can use, in addition to `Bearer`, or to `DPoP` if a key is bound. */
  readonly tokenTypes?: ReadonlyArray<string> | undefined
  /** An additional check of this grant's response. Returns the problem in words, if there is one. */
  readonly check?: ((response: Extras) => Option.Option<string>) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface TokenEndpoint {
  /**
   * Requests tokens. A signed value (a proof, an assertion) is made anew once, if the server wants its nonce
   * in it, or refuses it and shows a clock in `Date` that differs from the one that dated it. Nothing else is
   * repeated. Fails as {@link TokenResponse.judge} and {@link Wire.Wire} do.
   */
  readonly request: (request: Request) => Effect.Effect<Credentials, RefreshError>
  /**
   * By how many milliseconds the server's clock is ahead of ours, by its last response. See
   * {@link Answer.clockSkew}.
   */
  readonly serverAhead: () => number
  /**
   * The identity of the grants of a grant type: the server's and the client's, and a subject if the client
   * names one. Known without a request.
   */
  readonly originOf: (grantType: string, subject?: string) => Origin
}

/**
 * Creates a token endpoint over the `HttpClient` in the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<TokenEndpoint, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const wire = yield* Wire.make({ timeout: options.timeout })
    const server = yield* Server.from(options.server)
    const { auth: given, clientId } = options.client
    const supplied = given?._tag === "ClientAssertion" ? given.assertion : undefined
    const auth = yield* ClientAuth.authenticate(supplied === undefined ? options.client : { clientId })
    const http = yield* Effect.context<HttpClient>()
    const assertion =
      supplied === undefined
        ? Effect.succeed({})
        : Effect.map(Effect.provide(supplied, http), (token) => ({
            client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion: Redacted.value(token)
          }))
    const nonces = yield* DPoP.makeNonces
    const keepAlive = yield* checkKeepAlive(options.keepAlive)
    const clocks = ServerClock.make()
    const isSigned = SignedSender.signs(options.client.auth)
    let serverAhead = 0
    const checksIdToken = options.checkIdToken !== false && Option.isSome(server.issuer)

    const send = (metadata: Server.Metadata, asked: Request, key: Option.Option<DPoP.Key>) =>
      Effect.clockWith((clock) => {
        const endpoint = metadata.token_endpoint ?? metadata.issuer
        const requestedAt = clock.unsafeCurrentTimeMillis()
        const ahead = clocks.ahead(endpoint)
        const sendWith = (
          skew: number,
          proof: { readonly DPoP?: oauth.DPoPHandle },
          signed: Readonly<Record<string, string>>
        ) => {
          const parameters = toParameters({ ...asked.parameters, ...signed, ...options.parameters })
          const client = skew === 0 ? auth.client : { ...auth.client, [oauth.clockSkew]: skew }
          const extra = {
            ...(options.headers !== undefined && { headers: { ...options.headers } }),
            ...proof
          }
          const request = (common: Wire.SendOptions) =>
            oauth.genericTokenEndpointRequest(metadata, client, auth.method, asked.grantType, parameters, {
              ...common,
              ...extra
            })
          return Effect.map(wire.send(request, options.encoding), (answer) => {
            serverAhead = Answer.clockSkew(answer, requestedAt).ahead
            const wantsNonce =
              Option.isSome(key) && nonces.keep(endpoint, answer.headers) && DPoP.wantsNonce(answer)
            const { headers, receivedAt } = answer
            const wasMisdated = clocks.learn(endpoint, { headers, receivedAt, requestedAt })
            const code = wasMisdated ? Answer.toError(answer).oauthError : undefined
            const isRefused =
              wasMisdated &&
              !Answer.isOk(answer) &&
              (asked.signed !== undefined || isSigned || Option.isSome(key)) &&
              // If the grant is an assertion, it has not been spent.
              (ServerClock.refusesWhatIsSigned(code) ||
                (asked.signed !== undefined && code === "invalid_grant"))
            return { answer, requestedAt, again: wantsNonce || isRefused }
          })
        }
        return Effect.gen(function* () {
          const skew = yield* Wire.clockSkew(requestedAt + ahead)
          const signed = { ...(yield* asked.signed?.(ahead) ?? Effect.succeed({})), ...(yield* assertion) }
          const proof = Option.isNone(key)
            ? {}
            : { DPoP: yield* DPoP.handle(key.value, nonces.get(endpoint), ahead) }
          return yield* sendWith(skew, proof, signed)
        })
      })

    const request: (asked: Request) => Effect.Effect<Credentials, RefreshError> = Effect.fnUntraced(
      function* (asked) {
        const key =
          asked.key ?? (yield* Effect.mapError(keyFor(asked.previous, options.dpop === true), keyLost))
        const metadata = yield* Effect.mapError(server.metadata, undiscovered)
        yield* Either.mapLeft(Server.endpoint(metadata, "token_endpoint"), unsaved)
        const first = yield* Effect.mapError(send(metadata, asked, key), unsaved)
        const { answer, requestedAt } = first.again
          ? yield* Effect.mapError(send(metadata, asked, key), unsaved)
          : first
        const context: TokenResponse.Context = {
          previous: Option.map(asked.previous, attach(key)),
          requestedAt,
          // RFC 9449 §5: a token that was requested with a proof is not accepted without one.
          tokenTypes: [Option.isSome(key) ? "dpop" : "bearer", ...(asked.tokenTypes ?? [])],
          defaultTokenType: options.defaultTokenType,
          accountId: options.accountId,
          adapt: options.adapt,
          deadCodes: options.deadCodes,
          adaptError: options.adaptError
        }
        const { credentials, response } = yield* TokenResponse.judge(answer, context)
        const idToken = hasIdToken(response) ? credentials.idToken : Option.none()
        const problem = (asked.check?.(response) ?? Option.none()).pipe(
          Option.orElse(() => subjectProblem(asked.previous, idToken))
        )
        const refused =
          Option.isSome(problem) || !checksIdToken || Option.isNone(idToken)
            ? problem
            : yield* idTokenProblem(metadata, options.client.clientId, answer, idToken.value)
        if (Option.isSome(refused)) return yield* TokenResponse.unusable(answer, context, refused.value)
        // Attached again, because a field of the server's must not replace the key.
        return attach(key)(keptAlive(asAsked(credentials, response, asked), keepAlive))
      }
    )
    const originOf: TokenEndpoint["originOf"] = (grantType, subject) => ({
      identity: GrantIdentity.make({
        issuer: Option.getOrUndefined(server.issuer),
        tokenEndpoint: server.tokenEndpoint,
        clientId: options.client.clientId,
        grantType,
        subject
      }),
      formerly: server.formerly
    })
    return { request, serverAhead: () => serverAhead, originOf }
  })

const shortestKeepAlive = 86_400_000

const checkKeepAlive = (
  input: Duration.DurationInput | undefined
): Either.Either<Option.Option<number>, OAuthConfigError> => {
  if (input === undefined) return Either.right(Option.none())
  const millis = millisOf(input)
  return millis >= shortestKeepAlive && Number.isFinite(millis)
    ? Either.right(Option.some(millis))
    : Either.left(invalid("keepAlive", "must be a finite time, a day at least"))
}

/** Adds the time by which the grant must be used again, if the server wants no earlier renewal. */
const keptAlive = (credentials: Credentials, keepAlive: Option.Option<number>): Credentials => {
  if (Option.isNone(credentials.refreshToken)) return credentials
  const at = Option.zipWith(credentials.obtainedAt, keepAlive, (from, millis) => from + millis)
  if (Option.isNone(at)) return credentials
  const refreshAt = Math.min(at.value, ...Option.toArray(credentials.refreshAt))
  return new Credentials({ ...credentials, refreshAt: Option.some(refreshAt) })
}

const unsaved = (error: OAuthError | RefreshError): RefreshError =>
  error._tag === "RefreshError" ? error : toRefreshError(error, Option.none())

/** Nothing was redeemed yet, whatever happened to the request for the server's metadata. */
const undiscovered = (error: OAuthError): RefreshError =>
  new RefreshError({
    reason:
      error.reason === "NotSent" || error.reason === "MaybeSent"
        ? "NotSent"
        : error.reason === "Transient"
          ? "Transient"
          : "Misconfigured",
    message: `The server could not be discovered, and no token was sent. ${error.message}`,
    ...(error.status !== undefined && { status: error.status }),
    ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter })
  })

/** Returns the key that the grant is bound to, or a new one if binding is on and there is none yet. */
const keyFor = (
  previous: Option.Option<Credentials>,
  wanted: boolean
): Effect.Effect<Option.Option<DPoP.Key>, OAuthConfigError> => {
  const newKey = wanted ? Effect.asSome(DPoP.generate()) : Effect.succeedNone
  if (Option.isNone(previous)) return newKey
  const key = DPoP.keyOf(previous.value)
  return wanted
    ? Effect.flatMap(key, (known) => (Option.isNone(known) ? newKey : Effect.succeed(known)))
    : key
}

const keyLost = (error: OAuthConfigError): RefreshError =>
  new RefreshError({ reason: "Misconfigured", message: `${error.message}. Nothing was sent.` })

const attach =
  (key: Option.Option<DPoP.Key>) =>
  (credentials: Credentials): Credentials =>
    Option.match(key, { onNone: () => credentials, onSome: (k) => DPoP.attach(credentials, k) })

/**
 * RFC 6749 §5.1: a scope that is left out is the requested one, not that of an earlier token. A refresh keeps
 * the scope of the grant (§6).
 */
const asAsked = (credentials: Credentials, response: Extras, asked: Request): Credentials => {
  const { scope } = asked.parameters
  const told = response["scope"]
  return asked.grantType === "refresh_token" ||
    typeof scope !== "string" ||
    (typeof told === "string" && told.trim() !== "") ||
    (Array.isArray(told) && told.length > 0 && credentials.scopes.length > 0)
    ? credentials
    : new Credentials({ ...credentials, scopes: scope.split(" ") })
}

const hasIdToken = (response: Extras): boolean => {
  const value = Object.hasOwn(response, "id_token") ? response["id_token"] : undefined
  return Option.isNone(tokenProblem(value))
}

/** OpenID Connect Core §12.2: the subject must be the same as before. */
const subjectProblem = (
  previous: Option.Option<Credentials>,
  idToken: Option.Option<Redacted.Redacted>
): Option.Option<string> => {
  if (Option.isNone(idToken)) return Option.none()
  const before = Option.flatMap(previous, IdToken.subject)
  const after = IdToken.subjectOf(idToken.value)
  return Option.isSome(before) && Option.isSome(after) && before.value !== after.value
    ? Option.some("has an id_token for another account than the grant that was refreshed")
    : Option.none()
}

const idTokenProblem = (
  metadata: Server.Metadata,
  clientId: string,
  answer: Answer.Answer,
  idToken: Redacted.Redacted
): Effect.Effect<Option.Option<string>> =>
  Effect.map(
    IdToken.problem(metadata, clientId, idToken, Answer.serverTime(answer)),
    Option.map((problem) => `has an id_token that is refused: ${problem}`)
  )

const toParameters = (parameters: Request["parameters"]): URLSearchParams => {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) {
    if (typeof value === "string") form.append(name, value)
    else for (const each of value ?? []) form.append(name, each)
  }
  return form
}
