/**
 * The login in the user's own browser, for a program on the same machine (RFC 8252). The response comes back
 * to a listener on a loopback address. Runs on Node.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import { TimeLimit } from "@latchkey/core/internal-api"
import type { Credentials } from "@latchkey/core/Credentials"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as AuthorizationCode from "./AuthorizationCode.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as Loopback from "./internal/loopback.js"
import * as Page from "./internal/page.js"
import { LoginError } from "./LoginError.js"
import { type LoginEvent, report } from "./LoginEvent.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> extends AuthorizationCode.Options {
  /**
   * Takes the user to the URL: `SystemBrowser.open`, or another function. It runs only while the login waits
   * for the response. Its failure ends the login, so let it fail only if there is no other way to the URL.
   */
  readonly openUrl: (url: URL) => Effect.Effect<void, E, R>
  /**
   * The redirect URI as registered with the server. Default: `http://127.0.0.1/callback`. Without a port, any
   * free port is used. Name the port if the server compares ports too.
   */
  readonly redirectUri?: string | undefined
  /** How long the user may take in total. Default: 5 minutes. */
  readonly patience?: Duration.DurationInput | undefined
}

const defaultRedirectUri = "http://127.0.0.1/callback"
const defaultPatience = "5 minutes"

/**
 * Logs in: opens the browser, waits for the response, checks it (RFC 9700 §2.1, RFC 9207), redeems the code
 * with PKCE, and shows the result in the browser.
 *
 * The first request to the exact path with the state of this login decides, even if it is an error. Any other
 * request gets an error page and changes nothing, so another program, or a page of another site, cannot end
 * the login. Responses with another state are reported as `StrayAnswer`. Those with the right state that a
 * page loads in the background (`Sec-Fetch-Mode` is present and is not `navigate`) are reported as
 * `FetchedAnswer`. A later `TimedOut` counts both.
 *
 * The listener is closed in any case: success, failure, time-out, interruption. Fails with `PortBusy` if the
 * listener cannot be opened; use `ManualLogin` then.
 *
 * @since 0.1.0
 * @category constructors
 */
export const login = <E, R>(
  options: Options<E, R>
): Effect.Effect<Credentials, LoginError | OAuthConfigError | E, HttpClient | R> =>
  Effect.gen(function* () {
    const { openUrl, redirectUri = defaultRedirectUri } = options
    const patience = yield* checkPatience(options.patience ?? defaultPatience)
    let isAnswer: AuthorizationCode.Attempt["isAnswer"] = () => false
    const listener = yield* Loopback.listen(yield* Loopback.parse(redirectUri), (response) =>
      isAnswer(response)
    )
    const attempt = yield* AuthorizationCode.begin(options, listener.redirectUri)
    isAnswer = attempt.isAnswer
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.flatMap(listener.ignored, ({ count, why }) => report(options, events[why](count)))
      )
    )
    const notOpened = yield* Deferred.make<never, E>()
    yield* openUrl(attempt.url).pipe(
      Effect.catchAllCause((cause) => Deferred.failCause(notOpened, cause)),
      Effect.forkScoped
    )
    return yield* Effect.raceFirst(listener.answer, Deferred.await(notOpened)).pipe(
      Effect.flatMap((answer) =>
        Effect.onExit(attempt.redeem(answer), (exit) => listener.reply(pageFor(exit)))
      ),
      TimeLimit.orFail(patience, () => timedOut(patience, listener.counts()))
    )
  }).pipe(Effect.scoped)

const pageFor = (exit: Exit.Exit<unknown, LoginError>): Page.Page =>
  Exit.match(exit, {
    onSuccess: () => Page.success,
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () => Page.cancelled,
        onSome: (error) => Page.failure(error.message)
      })
  })

/** `Duration` takes a negative or invalid value for zero. */
const checkPatience = (input: Duration.DurationInput): Either.Either<Duration.Duration, OAuthConfigError> =>
  Either.fromOption(Option.filter(Duration.decodeUnknown(input), Duration.greaterThan(Duration.zero)), () =>
    invalid("patience", "must be a duration above zero")
  )

const events: Readonly<Record<Loopback.Ignored, (count: number) => LoginEvent>> = {
  stray: (count) => ({
    _tag: "StrayAnswer",
    count,
    message: `An answer to another login came to the redirect URI of this one and was ignored (${count} so far). It may come from an older window, another program, or a page that tries to log you in as somebody else.`
  }),
  fetched: (count) => ({
    _tag: "FetchedAnswer",
    count,
    message: `The answer to this login was loaded in the background and was ignored (${count} so far). Its header Sec-Fetch-Mode shows that a page, an extension or a proxy fetched it. Open the address of the answer in a tab of the browser.`
  })
}

const timedOut = (
  patience: Duration.Duration,
  { fetched, stray }: Readonly<Record<Loopback.Ignored, number>>
): LoginError =>
  new LoginError({
    reason: "TimedOut",
    message: `The login was not finished within ${Duration.format(patience)}: start it again, or use ManualLogin if the browser could not come back.${
      stray === 0
        ? ""
        : ` Answers to other logins that were ignored: ${stray}. Close older windows; if there are none, the server does not return the state that it was sent.`
    }${
      fetched === 0
        ? ""
        : ` Answers to this login that were ignored because a page, an extension or a proxy loaded them in the background: ${fetched}. Use a browser without it.`
    }`
  })
