/**
 * An HTTP client whose requests carry a manager's token (RFC 6750, RFC 9449). If a resource server refuses
 * the token, the client replaces it and sends the request once more.
 *
 * It has its own tag, separate from the plain `HttpClient`. Logins and refreshers in the same program use the
 * plain client, which needs no token.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import type { TokenError } from "@latchkey/core/TokenError"
import { type Manager, TokenManager } from "@latchkey/core/TokenManager"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Challenge from "./Challenge.js"
import * as DPoP from "./DPoP.js"
import * as Http from "./edition/Http.js"
import { check, invalid, type OAuthConfigError } from "./Endpoint.js"
import * as BearerAttempt from "./internal/bearerAttempt.js"
import type * as BearerSender from "./internal/bearerSender.js"
import * as BearerToken from "./internal/bearerToken.js"
import * as ServerClock from "./internal/serverClock.js"
import { peekable } from "./internal/peekable.js"
import * as TokenErrors from "./internal/tokenErrors.js"

/**
 * An `HttpClient` that can also fail because there is no token. {@link TokenError} says why, and what to do.
 *
 * @since 0.1.0
 * @category models
 */
export type Client = HttpClient.HttpClient.With<HttpClientError | TokenError>

/**
 * The client of a program that has one manager.
 *
 * @since 0.1.0
 * @category tags
 */
export class BearerClient extends Context.Tag("@latchkey/oauth/BearerClient")<BearerClient, Client>() {}

/**
 * Creates a tag for one of several clients, in a program with several managers:
 * `class GitHubApi extends BearerClient.Tag("app/GitHubApi")<GitHubApi>() {}`.
 *
 * @since 0.1.0
 * @category tags
 */
export const Tag =
  <const Id extends string>(id: Id) =>
  <Self>(): Context.TagClass<Self, Id, Client> =>
    Context.Tag(id)<Self, Client>()

/**
 * Where tokens may be sent, and when they count as refused.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The only origins that the token is sent to, such as `https://api.example.com`. Https, or this machine.
   */
  readonly origins: ReadonlyArray<string>
  /**
   * Whether a response refuses the token. Called for each response of any status, except those that refuse it
   * by RFC 6750 (a 401 with a challenge). Use it for APIs that signal a refusal in another way: a 403, a 401
   * without a challenge, a 400 whose body says `ExpiredToken`. Default: no.
   *
   * It may read the body, up to 64 KiB and 5 seconds. The program still gets the whole body. An effect that
   * fails or takes longer means no.
   */
  readonly isRejected?:
    ((response: HttpClientResponse) => boolean | Effect.Effect<boolean, unknown>) | undefined
}

/**
 * Wraps a client so that requests to the allowed origins carry the manager's token. Other requests pass
 * unchanged.
 *
 * - After a 401 `invalid_token`, or a 401 whose challenge names no error, the manager replaces the token. The
 *   request is sent once more if its body can be sent again (no stream). A second refusal becomes the
 *   response, and is reported to the manager. If fresh tokens keep being refused, the manager cools down and
 *   nothing is sent.
 * - Other responses refuse the token only if `isRejected` says so. A refresh cures neither a missing scope
 *   nor a step-up challenge (RFC 9470, see `Challenge.stepUp`).
 * - A token that is bound to a key goes with a proof, made anew for each request and dated by the server's
 *   clock. A token of an unknown type is never sent (RFC 6749 §7.1). A resource server's nonce is used, and
 *   requested at most once per request.
 * - Redirects are not followed with a token. Wrap `HttpClient.followRedirects` around this client, not inside
 *   it, so that each hop is checked by its own origin. Do the same with retries, because a proof is valid
 *   once.
 *
 * Without a token, the request fails with {@link TokenError} and is not sent. Neither errors nor responses
 * hold the token: the request in them is the one that you passed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const transform = (
  options: Options & { readonly manager: Manager }
): Effect.Effect<
  <E, R>(
    client: HttpClient.HttpClient.With<E, R>
  ) => HttpClient.HttpClient.With<E | HttpClientError | TokenError, R>,
  OAuthConfigError
> =>
  Effect.gen(function* () {
    const parts: Parts = {
      sender: {
        origins: yield* checkOrigins(options.origins),
        nonces: yield* DPoP.makeNonces,
        clocks: ServerClock.make()
      },
      tokens: BearerToken.make(options.manager),
      isRejected: options.isRejected
    }
    return <E, R>(client: HttpClient.HttpClient.With<E, R>) =>
      HttpClient.makeWith(
        (request: Effect.Effect<HttpClientRequest, never, never>) =>
          Effect.flatMap(request, (given) => exchange(parts, client, given)),
        Effect.succeed
      )
  })

/**
 * Creates a bearer client over the `HttpClient` in the context. See {@link transform}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options & { readonly manager: Manager }
): Effect.Effect<Client, OAuthConfigError, HttpClient.HttpClient> =>
  Effect.zipWith(transform(options), HttpClient.HttpClient, (wrap, client) => wrap(client))

/**
 * Provides the client under its own tag, for one of several managers. See {@link Tag}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFor = <Self, Id extends string, ManagerSelf, ManagerId extends string>(
  tag: Context.TagClass<Self, Id, Client>,
  options: Options & { readonly manager: Context.TagClass<ManagerSelf, ManagerId, Manager> }
): Layer.Layer<Self, OAuthConfigError, HttpClient.HttpClient | ManagerSelf> =>
  Layer.effect(
    tag,
    Effect.flatMap(options.manager, (manager) => make({ ...options, manager }))
  )

/**
 * Provides the client of a program that has one manager.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<BearerClient, OAuthConfigError, HttpClient.HttpClient | TokenManager> =>
  layerFor(BearerClient, { ...options, manager: TokenManager })

/**
 * Converts the client for libraries that take a plain `HttpClient`. A missing token becomes a `RequestError`,
 * from which {@link tokenError} recovers the {@link TokenError}. Its reason is `Transport` if the problem may
 * pass, so that retries of transient errors retry it, and otherwise `Encode`.
 *
 * Do not put it under the `HttpClient` tag of a layer that logins or refreshers use: they would need a token
 * to get a token.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toHttpClient = (client: Client): HttpClient.HttpClient =>
  HttpClient.make((request) =>
    Effect.mapError(client.execute(request), (error) =>
      TokenErrors.is(error) ? requestError(request, error) : error
    )
  )

/**
 * Returns why a request of {@link toHttpClient} had no token, if that is why it failed.
 *
 * @since 0.1.0
 * @category getters
 */
export const tokenError = (error: HttpClientError): Option.Option<TokenError> =>
  Option.liftPredicate(error.cause, TokenErrors.is)

const requestError = (request: HttpClientRequest, error: TokenError): HttpClientError =>
  Http.requestError(
    request,
    // Repeating the request helps in neither case.
    error._tag === "ReauthorizationRequired" || error._tag === "GrantMismatch" ? "Encode" : "Transport",
    { description: error.message, cause: error }
  )

interface Parts {
  readonly sender: BearerSender.Sender
  readonly tokens: BearerToken.Tokens
  readonly isRejected: Options["isRejected"]
}

const exchange = <E, R>(
  parts: Parts,
  client: HttpClient.HttpClient.With<E, R>,
  request: HttpClientRequest
): Effect.Effect<HttpClientResponse, E | HttpClientError | TokenError, R> =>
  Effect.gen(function* () {
    const first = yield* BearerAttempt.send(parts.sender, client, request, parts.tokens.current)
    if (Option.isNone(first.used)) return first.response
    const { isRefused, response } = yield* judge(parts, first.response)
    if (!isRefused) return response
    const { credentials } = first.used.value
    if (!BearerAttempt.canBeSentAgain(first.request)) {
      yield* Effect.ignore(parts.tokens.replace(credentials))
      return response
    }
    const fresh = yield* Effect.tapError(parts.tokens.replace(credentials), () =>
      BearerAttempt.discard(response)
    )
    if (Option.isNone(fresh)) return response
    yield* BearerAttempt.discard(response)
    const second = yield* BearerAttempt.send(parts.sender, client, request, Effect.succeed(fresh.value))
    if (Option.isNone(second.used)) return second.response
    const again = yield* judge(parts, second.response)
    if (again.isRefused) yield* Effect.ignore(parts.tokens.replace(second.used.value.credentials))
    return again.response
  })

interface Judged {
  readonly isRefused: boolean
  /** The response to pass on. Its body is whole, whatever was read of it to judge it. */
  readonly response: HttpClientResponse
}

const judge = ({ isRejected }: Parts, response: HttpClientResponse): Effect.Effect<Judged> => {
  if (isRefusedByChallenge(response)) return Effect.succeed({ isRefused: true, response })
  if (isRejected === undefined) return Effect.succeed({ isRefused: false, response })
  return Effect.flatMap(peekable(response), ({ answer, view }) =>
    Effect.suspend(() => {
      const said = isRejected(view)
      return typeof said === "boolean" ? Effect.succeed(said) : said
    }).pipe(
      Effect.timeout(longestPeek),
      Effect.catchAll(() => Effect.succeed(false)),
      Effect.catchAllDefect((defect) => Effect.as(Effect.logWarning(failedToJudge(defect)), false)),
      Effect.map((isRefused) => ({ isRefused, response: answer() }))
    )
  )
}

/** Names only the error's class. The message of a parser's error quotes the body, which may hold a secret. */
const failedToJudge = (error: unknown): string =>
  `isRejected failed (${error instanceof Error ? error.name : typeof error}): the answer is treated as accepted.`

const longestPeek = "5 seconds"

/** RFC 6750 §3.1, and a challenge without an error. */
const isRefusedByChallenge = (response: HttpClientResponse): boolean => {
  if (response.status !== 401) return false
  const challenges = Challenge.forTokens(response.headers["www-authenticate"])
  const errors = challenges.flatMap(({ parameters }) => parameters.get("error") ?? [])
  return challenges.length > 0 && errors.every((error) => error === "invalid_token")
}

const checkOrigins = (
  origins: ReadonlyArray<string>
): Either.Either<ReadonlySet<string>, OAuthConfigError> => {
  if (origins.length === 0) {
    return Either.left(invalid("origins", "is empty: name the origins that the token is for"))
  }
  return Either.map(
    Either.all(
      origins.map((origin) =>
        Either.filterOrLeft(
          check("origins", origin),
          (url) => url.pathname === "/" && url.search === "",
          () => invalid("origins", "must be origins, such as https://api.example.com, without a path")
        )
      )
    ),
    (urls) => new Set(urls.map((url) => url.origin))
  )
}
