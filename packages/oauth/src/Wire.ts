/**
 * Every request to an authorization server: `oauth4webapi` over the platform's `HttpClient`.
 *
 * What holds for each of them: it goes to https or to this machine, follows no redirect, ends within the
 * time-out, and 1 MiB of the answer is read at most. It appears in traces as the client's own span, without
 * a secret: the body is not shown, and the headers that hold one are redacted.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import { exchange, type Outgoing } from "./internal/exchange.js"
import { OAuthError } from "./OAuthError.js"

/**
 * What `oauth4webapi` hands to its `customFetch`.
 *
 * @since 0.1.0
 * @category models
 */
export type FetchInit = oauth.CustomFetchOptions<string, string | URLSearchParams | undefined | null>

/**
 * What every request function of `oauth4webapi` takes as options: hand it on, with more beside it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SendOptions {
  readonly signal: AbortSignal
  readonly [oauth.customFetch]: (url: string, init: FetchInit) => Promise<Response>
  /** Plain http is allowed here because the wire refuses it to any machine but this one. */
  readonly [oauth.allowInsecureRequests]: true
}

/**
 * How a body is written: as a form (RFC 6749 §4), or as JSON for the servers that want it so.
 *
 * @since 0.1.0
 * @category models
 */
export type Encoding = "form" | "json"

/**
 * A way to send requests.
 *
 * @since 0.1.0
 * @category models
 */
export interface Wire {
  /**
   * Runs a request function of `oauth4webapi` and gives the answer to its last request, error answers too:
   * `wire.send((options) => oauth.revocationRequest(as, client, auth, token, options))`.
   *
   * Fails where there was no answer: `NotSent`, `MaybeSent`, or `Misconfigured` for a request that could
   * not be built, may not go where it should, or was redirected. Interruption aborts the request.
   */
  readonly send: (
    request: (options: SendOptions) => Promise<Response>,
    encoding?: Encoding
  ) => Effect.Effect<Answer.Answer, OAuthError>
}

/**
 * The limits; they can only be made stricter.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long a request may take, its answer included; 30 s, which is also the most. */
  readonly timeout?: Duration.DurationInput | undefined
}

const maxTimeout = Duration.seconds(30)

/** Beside those the platform redacts in spans: a proof can be replayed, a location can hold a code. */
const redactedHeaders = ["dpop", "dpop-nonce", "location", "content-location"]

/**
 * A wire over the `HttpClient` in the context.
 *
 * `FetchHttpClient` is told not to follow redirects through its `RequestInit` service, on top of the one in
 * the context here. A `RequestInit` given to the client's own layer is hidden from here and so replaced:
 * give it to this layer too, or put what it does (a proxy's dispatcher) into `FetchHttpClient.Fetch`.
 * Other clients follow no redirect unless wrapped to do so, in which case the answer is refused.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Wire, OAuthConfigError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const given = yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    const timeout = yield* checkTimeout(options.timeout ?? maxTimeout)
    const init: RequestInit = { ...Option.getOrElse(given, () => ({})), redirect: "manual" }
    const run = (url: string, outgoing: Outgoing) =>
      exchange(client, timeout, url, outgoing).pipe(
        Effect.provideService(FetchHttpClient.RequestInit, init),
        Effect.locallyWith(Headers.currentRedactedNames, (names) => [...names, ...redactedHeaders])
      )
    return { send: (request, encoding = "form") => send(run, request, encoding) }
  })

/**
 * How many seconds Effect's clock is ahead of the system's, which `oauth4webapi` reads: for
 * `[oauth.clockSkew]` of the client given to it, so that its proofs, assertions and checks follow `Clock`.
 *
 * @since 0.1.0
 * @category utils
 */
export const clockSkew: Effect.Effect<number> = Effect.zipWith(
  Clock.currentTimeMillis,
  Clock.make().currentTimeMillis,
  (ours, system) => Math.round((ours - system) / 1000)
)

/** What our `customFetch` is rejected with, to tell it from the library's own errors. */
class ExchangeFailed {
  constructor(readonly cause: Cause.Cause<OAuthError>) {}
}

const send = (
  run: (url: string, outgoing: Outgoing) => Effect.Effect<Answer.Answer, OAuthError>,
  request: (options: SendOptions) => Promise<Response>,
  encoding: Encoding
): Effect.Effect<Answer.Answer, OAuthError> =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) => {
    const runExit = Runtime.runPromiseExit(runtime)
    let answer: Answer.Answer | undefined
    const attempt = (signal: AbortSignal) =>
      request({
        signal,
        [oauth.allowInsecureRequests]: true,
        [oauth.customFetch]: async (url, { method, headers, body }) => {
          const outgoing = { method, headers, body: body ?? undefined, asJson: encoding === "json" }
          const exit = await runExit(run(url, outgoing), { signal })
          if (Exit.isFailure(exit)) throw new ExchangeFailed(exit.cause)
          answer = exit.value
          return Answer.toResponse(answer)
        }
      })
    return Effect.tryPromise({ try: attempt, catch: (error) => error }).pipe(
      Effect.catchAll((error) =>
        error instanceof ExchangeFailed
          ? Effect.failCause(error.cause)
          : answer === undefined
            ? Effect.fail(notBuilt(error))
            : Effect.void
      ),
      // What the library makes of an answer does not matter here: the answer is given as it is.
      Effect.flatMap(() => (answer === undefined ? Effect.fail(notBuilt(undefined)) : Effect.succeed(answer)))
    )
  })

/** The library's messages name settings and hold no values; those of others are not repeated. */
const notBuilt = (error: unknown): OAuthError => {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  const known = typeof code === "string" && /^(OAUTH|ERR)_[A-Z_]+$/.test(code) ? code : undefined
  const why = known === undefined || !(error instanceof Error) ? "" : `: ${error.message}`
  return new OAuthError({
    reason: "Misconfigured",
    endpoint: "(none)",
    message: `The request could not be built${why}; check the server's and the client's settings.`,
    ...(known !== undefined && { code: known })
  })
}

const checkTimeout = (input: Duration.DurationInput): Either.Either<Duration.Duration, OAuthConfigError> => {
  const given = typeof input === "number" ? input : typeof input === "string" ? Number.parseFloat(input) : 0
  return Option.match(Duration.decodeUnknown(input), {
    onNone: () => Either.left(invalid("timeout", "must be a duration")),
    onSome: (timeout) =>
      given >= 0 &&
      Duration.greaterThan(timeout, Duration.zero) &&
      Duration.lessThanOrEqualTo(timeout, maxTimeout)
        ? Either.right(timeout)
        : Either.left(invalid("timeout", "must be above zero and 30 seconds at most"))
  })
}
