/**
 * The authorization code grant (RFC 6749 §4.1) with PKCE (RFC 7636, S256 only): where to send the user, and
 * how to process the response. `BrowserLogin`, `ManualLogin`, or a web server of your own brings the response
 * back.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as DPoP from "./DPoP.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as AuthorizationResponse from "./internal/authorizationResponse.js"
import * as LoginGrant from "./internal/loginGrant.js"
import * as OfflineAccess from "./internal/offlineAccess.js"
import * as PushedRequest from "./internal/pushedRequest.js"
import * as Target from "./internal/target.js"
import { fromRequest, LoginError } from "./LoginError.js"
import type * as LoginEvent from "./LoginEvent.js"
import * as Server from "./Server.js"
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
 * One login in progress, with its own state, nonce and verifier.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attempt {
  /** Where to send the user. Valid for this attempt only. Do not log it, because it holds the state. */
  readonly url: URL
  readonly redirectUri: string
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
 * Begins a login whose response goes to `redirectUri`, which is sent unchanged. It sends only the discovery
 * request, and the authorization request itself if it is pushed (RFC 9126). Fails with a {@link LoginError}
 * if either is refused.
 *
 * @since 0.1.0
 * @category constructors
 */
export const begin = (
  options: Options,
  redirectUri: string
): Effect.Effect<Attempt, OAuthConfigError | LoginError, HttpClient> =>
  Effect.gen(function* () {
    yield* checkSettings(options, redirectUri)
    const resource = yield* Target.resources(options.resource)
    const server = yield* Server.from(options.server)
    const endpoint = yield* TokenEndpoint.make(LoginGrant.withAccount({ ...options, server }))
    const metadata = yield* Effect.mapError(server.metadata, fromRequest)
    const authorizationEndpoint = yield* usableEndpoint(metadata)

    const scopes = options.scopes ?? []
    const secrets = yield* makeSecrets(scopes.includes("openid"))
    const asked: OfflineAccess.Asked = {
      endpoint: authorizationEndpoint,
      scopes,
      parameters: options.authorizationParameters ?? {},
      promptForConsent: options.promptForConsent,
      prompts: metadata.prompt_values_supported
    }
    const prompt = OfflineAccess.promptOf(asked)
    const ownParameters = { ...(prompt !== undefined && { prompt }), ...options.authorizationParameters }
    const parameters = listed([
      ["response_type", "code"],
      ["client_id", options.client.clientId],
      ["redirect_uri", redirectUri],
      ["scope", Target.scope(scopes)],
      ["state", secrets.state],
      ["nonce", secrets.nonce],
      ["code_challenge", secrets.challenge],
      ["code_challenge_method", "S256"],
      ...resource.map((uri) => ["resource", uri] as const),
      ...Object.entries(ownParameters)
    ])
    const isPushed =
      options.pushAuthorizationRequest ?? metadata.require_pushed_authorization_requests === true
    // The code will be bound to the key of the proof (RFC 9449 §10.1).
    const key =
      isPushed && options.dpop === true ? Option.some(yield* DPoP.generate()) : Option.none<DPoP.Key>()
    const pushed = isPushed
      ? Option.some(yield* PushedRequest.push(options, metadata, parameters, key))
      : Option.none<PushedRequest.Pushed>()
    const url = new URL(authorizationEndpoint)
    const inUrl = Option.match(pushed, {
      onNone: () => parameters,
      onSome: ({ requestUri }) =>
        listed([
          ["client_id", options.client.clientId],
          ["request_uri", requestUri]
        ])
    })
    for (const [name, value] of inUrl) url.searchParams.append(name, value)

    const redeemCode = (code: Redacted.Redacted): Effect.Effect<Credentials, LoginError> =>
      endpoint
        .request({
          grantType: "authorization_code",
          parameters: {
            code: Redacted.value(code),
            redirect_uri: redirectUri,
            code_verifier: Redacted.value(secrets.verifier),
            state: options.sendState === true ? secrets.state : undefined,
            resource
          },
          previous: Option.none(),
          ...(Option.isSome(key) && { key }),
          check: LoginGrant.idTokenProblem({
            nonce: secrets.nonce,
            maxAge: options.authorizationParameters?.["max_age"]
          })
        })
        .pipe(
          Effect.mapBoth({ onFailure: fromRequest, onSuccess: LoginGrant.withScopes(scopes) }),
          Effect.tap(LoginGrant.reportMissing({ ...asked, parameters: ownParameters }, options))
        )

    let spent = false
    return {
      url,
      redirectUri,
      openBefore: Option.flatMap(pushed, ({ expiresAt }) => expiresAt),
      redeemCode,
      isAnswer: (response) => Either.isRight(AuthorizationResponse.checkState(response, secrets.state)),
      redeem: (response) =>
        Effect.gen(function* () {
          yield* AuthorizationResponse.checkState(response, secrets.state)
          if (spent) return yield* alreadyUsed
          spent = true
          const code = yield* AuthorizationResponse.code(response, {
            issuer: server.issuer,
            sendsIssuer: metadata.authorization_response_iss_parameter_supported === true
          })
          return yield* redeemCode(code)
        })
    }
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

const checkSettings = (options: Options, redirectUri: string): Effect.Effect<void, OAuthConfigError> => {
  if (!URL.canParse(redirectUri) || redirectUri.includes("#")) {
    return invalid("redirectUri", "must be an absolute URI without a fragment (RFC 6749 §3.1.2)")
  }
  const taken = Object.keys(options.authorizationParameters ?? {}).find((name) => reserved.includes(name))
  return taken === undefined
    ? Effect.void
    : invalid("authorizationParameters", `may not contain ${taken}: the login sets it itself`)
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
): Effect.Effect<{
  readonly verifier: Redacted.Redacted
  readonly challenge: string
  readonly state: string
  readonly nonce: string | undefined
}> =>
  Effect.promise(async () => {
    const verifier = oauth.generateRandomCodeVerifier()
    return {
      verifier: Redacted.make(verifier),
      challenge: await oauth.calculatePKCECodeChallenge(verifier),
      state: oauth.generateRandomState(),
      nonce: openid ? oauth.generateRandomNonce() : undefined
    }
  })

const alreadyUsed = new LoginError({
  reason: "StateMismatch",
  message: "The answer to this login was already used: start a new login."
})
