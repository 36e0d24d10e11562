/**
 * Every request to an authorization server: `oauth4webapi` over the platform's `HttpClient`.
 *
 * Each request goes to https or to this machine, follows no redirect, ends within the time-out, and reads at
 * most 1 MiB of the response. It asks for no content coding. If a response has one anyway, gzip, deflate and
 * Brotli are undone, and zstd if Node supports it, up to 1 MiB of output. It appears in traces as a span like
 * the client's own, which it replaces, with neither headers nor query: nothing in it is secret.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { Fibers, TimeLimit } from "@latchkey/core/internal-api"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { constTrue } from "effect/Function"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as oauth from "oauth4webapi"
import type * as Answer from "./Answer.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as Exchange from "./internal/exchange.js"
import { OAuthError } from "./OAuthError.js"

/**
 * The argument that `oauth4webapi` passes to its `customFetch`.
 *
 * @since 0.1.0
 * @category models
 */
export type FetchInit = oauth.CustomFetchOptions<string, string | URLSearchParams | undefined | null>

/**
 * The options that every request function of `oauth4webapi` takes. Pass them on, together with others.
 *
 * @since 0.1.0
 * @category models
 */
export interface SendOptions {
  readonly [oauth.customFetch]: (url: string, init: FetchInit) => Promise<Response>
  /** Allowed here because the wire refuses plain http to any machine but this one. */
  readonly [oauth.allowInsecureRequests]: true
}

/**
 * How a body is encoded: as a form (RFC 6749 §4), or as JSON for the servers that want it.
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
   * Runs a request function of `oauth4webapi` and returns the response to its request, also an error:
   * `wire.send((options) => oauth.revocationRequest(as, client, auth, token, options))`. The `Response` that
   * the function resolves with is empty, because the response is read here.
   *
   * Fails if there was no response: `NotSent`, `MaybeSent`, or `Misconfigured` for a request that could not
   * be built, may not go to its target, or was redirected. Interruption aborts the request.
   */
  readonly send: (
    request: (options: SendOptions) => Promise<Response>,
    encoding?: Encoding
  ) => Effect.Effect<Answer.Answer, OAuthError>
}

/**
 * The limits. They can only be made stricter.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How long a request may take, including its response. Default and maximum: 30 s. The response to a refresh
   * at a server that rotates without a window is read for as long as its lease lasts, once it has begun to
   * arrive (`TimeLimit.ReadOn`). Callers do not wait for that.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

const maxTimeout = Duration.seconds(30)

/**
 * Creates a wire over the `HttpClient` in the context.
 *
 * It configures `FetchHttpClient` not to follow redirects through its `RequestInit` service, on top of the
 * one in the context here. A `RequestInit` given to the client's own layer is not visible here, and is
 * replaced. Give it to this layer too, or put what it does (a proxy's dispatcher) into
 * `FetchHttpClient.Fetch`. Other clients follow no redirect unless they are wrapped to do so; then the
 * response is refused. The client with the least overhead is `NodeHttpClient.layerUndici`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Wire, OAuthConfigError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    // With a scope, because the client's own responses abort each request once more after its end.
    const client = HttpClient.withScope(yield* HttpClient.HttpClient)
    const given = yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    const timeout = yield* checkTimeout(options.timeout ?? maxTimeout)
    const millis = Duration.toMillis(timeout)
    const init: RequestInit = { ...Option.getOrElse(given, () => ({})), redirect: "manual" }
    const targets = new Map<string, Exchange.Target>()
    const targetOf = (url: string, method: string): Exchange.Target => {
      const known = targets.get(`${method} ${url}`)
      if (known !== undefined) return known
      const target = Exchange.target(url, method)
      if (targets.size < maxTargets) targets.set(`${method} ${url}`, target)
      return target
    }
    return {
      send: (request, encoding = "form") =>
        Effect.flatMap(built(request), ([url, { body, headers, method }]) => {
          const outgoing = { method, headers, body: body ?? undefined, asJson: encoding === "json" }
          return Effect.flatMap(Effect.zip(Scope.make(), TimeLimit.ReadOn), ([scope, arrival]) => {
            // A response that may hold the only copy of a refresh token is read on once it has begun to
            // arrive.
            let begun = false
            const exchange = Exchange.make(client, timeout, targetOf(url, method), outgoing, () => {
              begun = true
              if (arrival !== undefined) arrival.begun = true
            })
            const run = exchange.run.pipe(
              Effect.locally(HttpClient.currentTracerDisabledWhen, constTrue),
              Effect.interruptible,
              // Closes the connection of a request that is still running.
              Effect.onExit((exit) => (isWhole(exit) ? Effect.void : Scope.close(scope, exit))),
              Effect.mapInputContext((services: Context.Context<never>) =>
                services.pipe(Context.add(FetchHttpClient.RequestInit, init), Context.add(Scope.Scope, scope))
              )
            )
            const more = Effect.sync(() => (begun && arrival !== undefined ? arrival.millis - millis : 0))
            return TimeLimit.within(run, { millis, more, late: exchange.timedOut, waits: false })
          })
        })
    }
  })

/** Whether nothing of it is still running. */
const isWhole = (exit: Exit.Exit<Answer.Answer, unknown>): boolean =>
  Exit.isSuccess(exit) && Option.isNone(exit.value.cut)

/** More endpoints than a server has. Beyond that, new targets are not kept. */
const maxTargets = 32

/**
 * By how many seconds `now` (epoch milliseconds) is ahead of the system's clock, which `oauth4webapi` reads.
 * Pass it as `[oauth.clockSkew]`, so that the library's proofs, assertions and checks follow the given time.
 *
 * @since 0.1.0
 * @category utils
 */
export const clockSkew = (now: number): Effect.Effect<number> =>
  Effect.sync(() => Math.round((now - Fibers.systemClock.unsafeCurrentTimeMillis()) / 1000))

/**
 * Returns the request that the library builds. The caller sends it afterwards, or not at all if nobody waits
 * any more once its proof or assertion is made.
 */
const built = (
  request: (options: SendOptions) => Promise<Response>
): Effect.Effect<readonly [url: string, init: FetchInit], OAuthError> =>
  Effect.async((resume) => {
    const customFetch = (url: string, init: FetchInit) => {
      resume(Effect.succeed([url, init]))
      // The library's functions pass it on, and the real response is read here. Not made while the module loads: Node
      // loads its HTTP client to make one.
      return Promise.resolve(new Response())
    }
    // What the library makes of the response that it receives does not matter here.
    const finish = (error?: unknown) => resume(Effect.suspend(() => Effect.fail(notBuilt(error))))
    request({ [oauth.allowInsecureRequests]: true, [oauth.customFetch]: customFetch }).then(
      () => finish(),
      finish
    )
  })

/** The library's messages name settings and hold no values. Messages of other errors are not repeated. */
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
