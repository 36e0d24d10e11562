/**
 * The authorization code grant (RFC 6749 §4.1) with PKCE (RFC 7636, S256 only): where to send the user, and
 * how to process the response. `BrowserLogin`, `ManualLogin`, `WebLogin`, or a web server of your own brings
 * the response back.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import { millisOf } from "@latchkey/core/TokenConfig"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as DPoP from "./DPoP.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as AuthorizationResponse from "./internal/authorizationResponse.js"
import * as LoginGrant from "./internal/loginGrant.js"
import { unreadable } from "./internal/loginProblem.js"
import * as OfflineAccess from "./internal/offlineAccess.js"
import * as PushedRequest from "./internal/pushedRequest.js"
import * as Target from "./internal/target.js"
import * as LoginAttempt from "./LoginAttempt.js"
import { fromRequest, LoginError } from "./LoginError.js"
import type * as LoginEvent from "./LoginEvent.js"
import * as Server from "./Server.js"
import * as ReturnAddress from "./ReturnAddress.js"
import * as TokenEndpoint from "./TokenEndpoint.js"

/**
 * The options of a login by code.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends TokenEndpoint.Options, LoginEvent.Options {
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Where the access token will be used (RFC 8707): absolute URIs without a fragment. */
  readonly resource?: string | ReadonlyArray<string> | undefined
  /**
   * Parameters of the authorization URL in addition to the standard ones: `prompt`, `login_hint`, those of a
   * step-up challenge (RFC 9470: `acr_values`, `max_age`), a provider's own.
   */
  readonly authorizationParameters?: Readonly<Record<string, string>> | undefined
  /**
   * Whether to send `prompt=consent` with the scope `offline_access`. Without it a server must ignore that
   * scope (OpenID Connect Core §11). A `prompt` among the parameters replaces it. Default: true, except at
   * servers that give refresh tokens without it (Entra, Auth0, Okta) or do not name it in
   * `prompt_values_supported`.
   */
  readonly promptForConsent?: boolean | undefined
  /**
   * Whether to send the request to the server's pushed authorization request endpoint first (RFC 9126), so
   * that the URL holds only the client ID and a reference. Default: if the server's metadata requires it.
   */
  readonly pushAuthorizationRequest?: boolean | undefined
  /** Whether to send the state when the code is redeemed, which some servers require. Default: false. */
  readonly sendState?: boolean | undefined
}

/**
 * What one login has in addition to the options of all.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoginOptions {
  /** Parameters of this login's authorization URL, for example `login_hint`. They replace those of all. */
  readonly authorizationParameters?: Readonly<Record<string, string>> | undefined
  /** Where the browser goes afterwards: a path of the same site, see `ReturnAddress`. */
  readonly returnTo?: string | undefined
  /** The account to store the grant under, if that is decided before the login. */
  readonly account?: string | undefined
  /** The account at the server that must log in. Another one is refused with `OtherAccount`. */
  readonly expectedAccount?: string | undefined
  /** The fingerprint of the stored grant that the login replaces. See `LoginAttempt.grantProblem`. */
  readonly replaces?: string | undefined
  /** The session that may finish the login: the ID of the session or of the user. */
  readonly session?: string | undefined
  /** How long the user may take, if {@link Logins.finish} ends the login. Default: 10 minutes. */
  readonly timeToLive?: Duration.DurationInput | undefined
}

/**
 * One login in progress, with its own state, nonce and verifier.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attempt {
  /** Where to send the user. Valid for this attempt only. Do not log it, because it holds the state. */
  readonly url: URL
  readonly redirectUri: string
  /** The login as data, for another instance that finishes it. Keep it with `AttemptStore`. */
  readonly login: LoginAttempt.LoginAttempt
  /** If the request was pushed: until when the URL must be opened, in epoch milliseconds (RFC 9126 §2.2). */
  readonly openBefore: Option.Option<number>
  /** Whether a response carries the state of this login. Any other response does not belong to it. */
  readonly isAnswer: (response: URLSearchParams) => boolean
  /**
   * Redeems the code in the parameters with which the server sent the user back. It checks the state first
   * (valid once), then the issuer (RFC 9207), then whether the response is an error.
   *
   * The credentials are ready to save. Their scopes are as granted, or as requested if the server left them
   * out. The account comes from `accountId`, or else from the ID token. Interruption abandons the login.
   */
  readonly redeem: (response: URLSearchParams) => Effect.Effect<Credentials, LoginError>
  /** Redeems a bare code without a state, for a user who copied it by hand. */
  readonly redeemCode: (code: Redacted.Redacted) => Effect.Effect<Credentials, LoginError>
}

/**
 * The logins of one client at one server.
 *
 * @since 0.1.0
 * @category models
 */
export interface Logins {
  /**
   * Begins a login whose response goes to `redirectUri`, which is sent unchanged. It sends only the discovery
   * request, and the authorization request itself if it is pushed (RFC 9126). Fails with a {@link LoginError}
   * if either is refused.
   */
  readonly begin: (
    redirectUri: string,
    login?: LoginOptions
  ) => Effect.Effect<Attempt, OAuthConfigError | LoginError>
  /**
   * Finishes a login that this instance or another one began, as {@link Attempt.redeem} does. Before that, it
   * checks time, session, server and client, see `LoginAttempt.problem`. Nothing is sent to a server that the
   * login was not begun at.
   *
   * It does not know whether the same login was finished before: take the login from an `AttemptStore`. The
   * server refuses a code that was redeemed before (RFC 6749 §4.1.2).
   */
  readonly finish: (
    login: LoginAttempt.LoginAttempt,
    response: URLSearchParams,
    options?: { readonly session?: string | undefined }
  ) => Effect.Effect<Credentials, LoginError>
}

/**
 * Prepares logins over the `HttpClient` in context. Sends nothing yet. All logins share the server's discovery.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Logins, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    yield* checkParameters(options.authorizationParameters)
    const resources = yield* Target.resources(options.resource)
    const server = yield* Server.from(options.server)
    const endpoint = yield* TokenEndpoint.make(LoginGrant.withAccount({ ...options, server }))
    const context = yield* Effect.context<HttpClient>()
    const scopes = options.scopes ?? []

    const find = Effect.gen(function* () {
      const metadata = yield* Effect.mapError(server.metadata, fromRequest)
      const party: LoginAttempt.Party = {
        issuer: server.issuer,
        tokenEndpoint: Option.fromNullable(metadata.token_endpoint),
        clientId: options.client.clientId
      }
      return { metadata, party, authorizationEndpoint: yield* usableEndpoint(metadata) }
    })

    const askedWith = (
      { authorizationEndpoint, metadata }: Effect.Effect.Success<typeof find>,
      parameters: Readonly<Record<string, string>>
    ): OfflineAccess.Asked & { readonly parameters: Readonly<Record<string, string>> } => {
      const asked = {
        endpoint: authorizationEndpoint,
        scopes,
        parameters,
        promptForConsent: options.promptForConsent,
        prompts: metadata.prompt_values_supported
      }
      const prompt = OfflineAccess.promptOf(asked)
      return { ...asked, parameters: { ...(prompt !== undefined && { prompt }), ...parameters } }
    }

    const redeemCode = (
      login: LoginAttempt.LoginAttempt,
      asked: OfflineAccess.Asked,
      code: Redacted.Redacted
    ): Effect.Effect<Credentials, LoginError> =>
      Effect.gen(function* () {
        const key = yield* keyOf(login)
        const credentials = yield* endpoint
          .request({
            grantType: "authorization_code",
            parameters: {
              code: Redacted.value(code),
              redirect_uri: login.redirectUri,
              code_verifier: Redacted.value(login.verifier),
              state: options.sendState === true ? Redacted.value(login.state) : undefined,
              resource: login.resources
            },
            previous: Option.none(),
            ...(Option.isSome(key) && { key }),
            check: LoginGrant.idTokenProblem({
              nonce: Option.getOrUndefined(Option.map(login.nonce, Redacted.value)),
              maxAge: Option.getOrUndefined(login.maxAge)
            })
          })
          .pipe(Effect.mapBoth({ onFailure: fromRequest, onSuccess: LoginGrant.withScopes(login.scopes) }))
        const other = LoginAttempt.accountProblem(login, credentials.accountId)
        if (Option.isSome(other)) return yield* other.value
        yield* LoginGrant.reportMissing(asked, options)(credentials)
        return credentials
      })

    const codeIn = (
      response: URLSearchParams,
      metadata: Server.Metadata
    ): Either.Either<Redacted.Redacted, LoginError> =>
      AuthorizationResponse.code(response, {
        issuer: server.issuer,
        sendsIssuer: metadata.authorization_response_iss_parameter_supported === true
      })

    const begin = (
      redirectUri: string,
      login: LoginOptions = {}
    ): Effect.Effect<Attempt, OAuthConfigError | LoginError, HttpClient> =>
      Effect.gen(function* () {
        yield* checkRedirect(redirectUri)
        yield* checkParameters(login.authorizationParameters)
        const returnTo = yield* checkReturn(login.returnTo)
        const lifetime = yield* checkLifetime(login.timeToLive)
        const found = yield* find
        const asked = askedWith(found, {
          ...options.authorizationParameters,
          ...login.authorizationParameters
        })
        const secrets = yield* makeSecrets(scopes.includes("openid"))
        const parameters = listed([
          ["response_type", "code"],
          ["client_id", options.client.clientId],
          ["redirect_uri", redirectUri],
          ["scope", Target.scope(scopes)],
          ["state", Redacted.value(secrets.state)],
          ["nonce", Option.getOrUndefined(Option.map(secrets.nonce, Redacted.value))],
          ["code_challenge", secrets.challenge],
          ["code_challenge_method", "S256"],
          ...resources.map((uri) => ["resource", uri] as const),
          ...Object.entries(asked.parameters)
        ])
        const isPushed =
          options.pushAuthorizationRequest ?? found.metadata.require_pushed_authorization_requests === true
        // The code will be bound to the key of the proof (RFC 9449 §10.1).
        const key =
          isPushed && options.dpop === true ? Option.some(yield* DPoP.generate()) : Option.none<DPoP.Key>()
        const pushed = isPushed
          ? Option.some(yield* PushedRequest.push(options, found.metadata, parameters, key))
          : Option.none<PushedRequest.Pushed>()
        const url = new URL(found.authorizationEndpoint)
        const inUrl = Option.match(pushed, {
          onNone: () => parameters,
          onSome: ({ requestUri }) =>
            listed([
              ["client_id", options.client.clientId],
              ["request_uri", requestUri]
            ])
        })
        for (const [name, value] of inUrl) url.searchParams.append(name, value)

        const now = yield* Clock.currentTimeMillis
        const attempt = new LoginAttempt.LoginAttempt({
          ...found.party,
          state: secrets.state,
          nonce: secrets.nonce,
          verifier: secrets.verifier,
          dpopKey: Option.map(key, ({ jwk }) => jwk),
          redirectUri,
          scopes,
          resources,
          maxAge: Option.fromNullable(asked.parameters["max_age"]),
          returnTo,
          account: Option.fromNullable(login.account),
          expectedAccount: Option.fromNullable(login.expectedAccount),
          replaces: Option.fromNullable(login.replaces),
          session: Option.map(Option.fromNullable(login.session), LoginAttempt.sessionDigest),
          createdAt: now,
          expiresAt: now + lifetime
        })
        let spent = false
        return {
          url,
          redirectUri,
          login: attempt,
          openBefore: Option.flatMap(pushed, ({ expiresAt }) => expiresAt),
          redeemCode: (code) => redeemCode(attempt, asked, code),
          isAnswer: (response) => Either.isRight(checkState(attempt, response)),
          redeem: (response) =>
            Effect.gen(function* () {
              yield* checkState(attempt, response)
              if (spent) return yield* alreadyUsed
              spent = true
              return yield* redeemCode(attempt, asked, yield* codeIn(response, found.metadata))
            })
        }
      })

    return {
      begin: (redirectUri, login) => Effect.provide(begin(redirectUri, login), context),
      finish: (login, response, { session } = {}) =>
        Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis
          // The state comes first: a response to another login says nothing about this one.
          yield* checkState(login, response)
          const found = yield* find
          const problem = LoginAttempt.problem(login, {
            now,
            session: Option.fromNullable(session),
            party: found.party
          })
          if (Option.isSome(problem)) return yield* problem.value
          const asked = askedWith(found, options.authorizationParameters ?? {})
          return yield* redeemCode(login, asked, yield* codeIn(response, found.metadata))
        })
    }
  })

/**
 * Begins one login, see {@link Logins.begin}. A program with many logins prepares them with {@link make}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const begin = (
  options: Options,
  redirectUri: string,
  login?: LoginOptions
): Effect.Effect<Attempt, OAuthConfigError | LoginError, HttpClient> =>
  Effect.flatMap(make(options), (logins) => logins.begin(redirectUri, login))

const checkState = (
  login: LoginAttempt.LoginAttempt,
  response: URLSearchParams
): Either.Either<void, LoginError> => AuthorizationResponse.checkState(response, Redacted.value(login.state))

/** A key that cannot be imported was not written by a login. */
const keyOf = ({ dpopKey }: LoginAttempt.LoginAttempt): Effect.Effect<Option.Option<DPoP.Key>, LoginError> =>
  Option.match(dpopKey, {
    onNone: () => Effect.succeedNone,
    onSome: (jwk) => Effect.asSome(Effect.mapError(DPoP.fromJwk(jwk), () => unreadable))
  })

const listed = (parameters: ReadonlyArray<readonly [string, string | undefined]>): URLSearchParams => {
  const list = new URLSearchParams()
  for (const [name, value] of parameters) if (value !== undefined) list.append(name, value)
  return list
}

/** The library derives these from the other options. A second value would contradict it. */
const reserved = [
  ...["response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "resource"],
  ...["code_challenge", "code_challenge_method", "response_mode", "request", "request_uri"]
]

const checkRedirect = (redirectUri: string): Either.Either<void, OAuthConfigError> =>
  URL.canParse(redirectUri) && !redirectUri.includes("#")
    ? Either.right(undefined)
    : Either.left(invalid("redirectUri", "must be an absolute URI without a fragment (RFC 6749 §3.1.2)"))

const checkParameters = (
  parameters: Options["authorizationParameters"]
): Either.Either<void, OAuthConfigError> => {
  const taken = Object.keys(parameters ?? {}).find((name) => reserved.includes(name))
  return taken === undefined
    ? Either.right(undefined)
    : Either.left(invalid("authorizationParameters", `may not contain ${taken}: the login sets it itself`))
}

const checkReturn = (
  returnTo: string | undefined
): Either.Either<Option.Option<string>, OAuthConfigError> => {
  if (returnTo === undefined) return Either.right(Option.none())
  const address = ReturnAddress.parse(returnTo)
  return Option.isSome(address)
    ? Either.right(address)
    : Either.left(invalid("returnTo", "must be a path of the same site, of at most 1,000 characters"))
}

const checkLifetime = (
  lifetime: Duration.DurationInput = "10 minutes"
): Either.Either<number, OAuthConfigError> => {
  const millis = Math.round(millisOf(lifetime))
  return millis > 0 && Number.isSafeInteger(millis)
    ? Either.right(millis)
    : Either.left(invalid("timeToLive", "must be a positive, finite time"))
}

const usableEndpoint = (metadata: Server.Metadata): Either.Either<string, LoginError> => {
  const methods = metadata.code_challenge_methods_supported
  return methods === undefined || methods.includes("S256")
    ? Either.mapLeft(Server.endpoint(metadata, "authorization_endpoint"), fromRequest)
    : Either.left(
        new LoginError({
          reason: "Misconfigured",
          message:
            "The server does not support PKCE with S256, and Latchkey does not send plain challenges: use another login."
        })
      )
}

const makeSecrets = (
  openid: boolean
): Effect.Effect<
  Pick<LoginAttempt.LoginAttempt, "verifier" | "state" | "nonce"> & { readonly challenge: string }
> =>
  Effect.promise(async () => {
    const verifier = oauth.generateRandomCodeVerifier()
    return {
      verifier: Redacted.make(verifier),
      challenge: await oauth.calculatePKCECodeChallenge(verifier),
      state: Redacted.make(oauth.generateRandomState()),
      nonce: openid ? Option.some(Redacted.make(oauth.generateRandomNonce())) : Option.none()
    }
  })

const alreadyUsed = new LoginError({
  reason: "StateMismatch",
  message: "The answer to this login was already used: start a new login."
})
