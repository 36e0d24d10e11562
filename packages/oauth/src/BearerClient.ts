/**
 * An `HttpClient` whose requests carry the token of a manager (RFC 6750, RFC 9449), and which has the token
 * replaced where a resource server refuses it.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import type { Credentials } from "@latchkey/core/Credentials"
import { ReauthorizationRequired, RefreshUnavailable, type TokenError } from "@latchkey/core/TokenError"
import { type Manager, TokenManager } from "@latchkey/core/TokenManager"
import { StorageError } from "@latchkey/core/TokenStorage"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Challenge from "./Challenge.js"
import * as DPoP from "./DPoP.js"
import { check, invalid, type OAuthConfigError } from "./Endpoint.js"
import * as BearerSender from "./internal/bearerSender.js"
import * as BearerToken from "./internal/bearerToken.js"

/**
 * Where tokens may go, and when they count as refused.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** `https://api.example.com`: the token is sent there and nowhere else. Https, or this machine. */
  readonly origins: ReadonlyArray<string>
  /**
   * Whether a 401 without a `Bearer` or `DPoP` challenge refuses the token: some servers leave out the
   * challenge that is due (RFC 9110 §15.5.2). Asked for no other answer; no, unless given.
   */
  readonly isRejected?: ((response: HttpClientResponse) => boolean) | undefined
}

/**
 * Wraps a client so that requests to the allowed origins carry the manager's token; others pass untouched.
 *
 * - A 401 `invalid_token`, or one whose challenge names no error, has the manager replace the token, and
 *   the request is sent once more, if its body can be (no stream). A second refusal is the answer; the
 *   manager is told, and cools down where fresh tokens keep being refused: then nothing is sent.
 * - Never on 403, nor on a step-up challenge (RFC 9470, see `Challenge.stepUp`): a refresh cures neither.
 * - A token bound to a key goes with a proof, made anew for each request; one of an unknown type is never
 *   sent (RFC 6749 §7.1). A resource server's nonce is used, and asked for at most once a request.
 * - Redirects are not followed with a token. Wrap `HttpClient.followRedirects` around this client, not
 *   inside it: then each hop is judged by its own origin. Likewise retries, for a proof is good once.
 *
 * Where there is no token to be had the request fails as `RequestError`, see {@link tokenError}. Neither
 * errors nor answers hold the token: the request in them is the one that was given.
 *
 * @since 0.1.0
 * @category constructors
 */
export const transform = (
  options: Options & { readonly manager: Manager }
): Effect.Effect<
  <E, R>(client: HttpClient.HttpClient.With<E, R>) => HttpClient.HttpClient.With<E | HttpClientError, R>,
  OAuthConfigError
> =>
  Effect.gen(function* () {
    const parts: Parts = {
      sender: { origins: yield* checkOrigins(options.origins), nonces: yield* DPoP.makeNonces },
      tokens: BearerToken.make(options.manager),
      isRejected: options.isRejected ?? (() => false)
    }
    return <E, R>(client: HttpClient.HttpClient.With<E, R>) =>
      HttpClient.makeWith(
        (request: Effect.Effect<HttpClientRequest, never, never>) =>
          Effect.flatMap(request, (given) => exchange(parts, client, given)),
        Effect.succeed
      )
  })

/**
 * The client in context, wrapped for one of several managers.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFor = <Self, Id extends string>(
  tag: Context.TagClass<Self, Id, Manager>,
  options: Options
): Layer.Layer<HttpClient.HttpClient, OAuthConfigError, HttpClient.HttpClient | Self> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function* () {
      const wrap = yield* transform({ ...options, manager: yield* tag })
      return wrap(yield* HttpClient.HttpClient)
    })
  )

/**
 * The client in context, wrapped for the manager of a program that has one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<HttpClient.HttpClient, OAuthConfigError, HttpClient.HttpClient | TokenManager> =>
  layerFor(TokenManager, options)

/**
 * Why there was no token for a request, if that is why it failed.
 *
 * @since 0.1.0
 * @category getters
 */
export const tokenError = (error: HttpClientError): Option.Option<TokenError> =>
  Option.liftPredicate(
    error.cause,
    (cause): cause is TokenError =>
      cause instanceof ReauthorizationRequired ||
      cause instanceof RefreshUnavailable ||
      cause instanceof StorageError
  )

interface Parts {
  readonly sender: BearerSender.Sender
  readonly tokens: BearerToken.Tokens
  readonly isRejected: (response: HttpClientResponse) => boolean
}

const exchange = <E, R>(
  parts: Parts,
  client: HttpClient.HttpClient.With<E, R>,
  request: HttpClientRequest
): Effect.Effect<HttpClientResponse, E | HttpClientError, R> =>
  Effect.gen(function* () {
    const first = yield* attempt(parts, client, request, parts.tokens.current)
    if (Option.isNone(first.used) || !isRefused(parts, first.response)) return first.response
    const { credentials } = first.used.value
    if (!canBeSentAgain(first.request)) {
      yield* Effect.ignore(parts.tokens.replace(credentials))
      return first.response
    }
    const fresh = yield* Effect.mapError(
      parts.tokens.replace(credentials),
      BearerSender.noToken(first.request)
    )
    if (Option.isNone(fresh)) return first.response
    yield* discard(first.response)
    const second = yield* attempt(parts, client, request, Effect.succeed(fresh.value))
    if (Option.isSome(second.used) && isRefused(parts, second.response)) {
      yield* Effect.ignore(parts.tokens.replace(second.used.value.credentials))
    }
    return second.response
  })

/** Sends with one token: twice, where the server wants a nonce in the proof (RFC 9449 §9). */
const attempt = <E, R>(
  parts: Parts,
  client: HttpClient.HttpClient.With<E, R>,
  request: HttpClientRequest,
  credentials: Effect.Effect<Credentials, TokenError>
): Effect.Effect<BearerSender.Sent, E | HttpClientError, R> =>
  Effect.gen(function* () {
    const sent = yield* BearerSender.send(parts.sender, client, request, credentials)
    if (Option.isNone(sent.used)) return sent
    const { url, ...used } = sent.used.value
    const brought = parts.sender.nonces.keep(url, sent.response.headers)
    if (!brought || !wantsNonce(sent.response) || !canBeSentAgain(sent.request)) return sent
    yield* discard(sent.response)
    const again = yield* BearerSender.send(parts.sender, client, request, Effect.succeed(used.credentials))
    parts.sender.nonces.keep(url, again.response.headers)
    return again
  })

const isRefused = (parts: Parts, response: HttpClientResponse): boolean => {
  if (response.status !== 401) return false
  const challenges = Challenge.forTokens(response.headers["www-authenticate"])
  if (challenges.length === 0) return parts.isRejected(response)
  const errors = challenges.flatMap(({ parameters }) => parameters.get("error") ?? [])
  return errors.length === 0 || errors.every((error) => error === "invalid_token")
}

const wantsNonce = (response: HttpClientResponse): boolean =>
  response.status === 401 &&
  Challenge.forTokens(response.headers["www-authenticate"]).some(
    ({ parameters, scheme }) => scheme === "dpop" && parameters.get("error") === "use_dpop_nonce"
  )

const canBeSentAgain = ({ body }: HttpClientRequest): boolean =>
  body._tag === "Raw" ? typeof body.body === "string" : body._tag !== "Stream"

/** How much of an answer that is not wanted is read, so that its connection can be used again. */
const maxDiscarded = 65_536

const discard = (response: HttpClientResponse): Effect.Effect<void> => {
  let left = maxDiscarded
  return Stream.runForEachWhile(response.stream, (chunk) =>
    Effect.sync(() => (left -= chunk.length) > 0)
  ).pipe(Effect.timeout("1 second"), Effect.ignore)
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
