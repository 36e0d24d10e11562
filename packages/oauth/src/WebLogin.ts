/**
 * The routes by which users of a web application log in at an authorization server: start, callback, log out,
 * and the links of `ReloginLink`. Any instance of the application can finish what another one began.
 *
 * **What it protects against.** A login is bound to the browser that began it by a `__Host-` cookie (`Secure`,
 * `HttpOnly`, `SameSite=Lax`), and to a session of yours if you name one: nobody can log your user in as
 * somebody else by a link (RFC 9700 §4.7). State, PKCE, nonce and issuer are checked as in `AuthorizationCode`.
 * A code goes only to the server that the login was begun at. Return addresses are paths of your site. Only
 * pages of your site can log out.
 *
 * **What it leaves to you.** Your own session and its cookie, how often a visitor may begin a login, and the
 * choice of the account. See `AttemptStore` for what single use means.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { Credentials } from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import type { GrantMismatch } from "@latchkey/core/TokenError"
import type { Manager } from "@latchkey/core/TokenManager"
import { millisOf } from "@latchkey/core/TokenConfig"
import { type SetupError, TokenManagers } from "@latchkey/core/TokenManagers"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { AttemptStore } from "./AttemptStore.js"
import * as AuthorizationCode from "./AuthorizationCode.js"
import { check, invalid, type OAuthConfigError } from "./Endpoint.js"
import * as BrowserRequest from "./internal/browserRequest.js"
import * as LoginCookie from "./internal/loginCookie.js"
import { notUnderWay } from "./internal/loginProblem.js"
import * as LoginAttempt from "./LoginAttempt.js"
import { LoginError, type LoginReason } from "./LoginError.js"
import type { LoginKeys } from "./LoginKeys.js"
import * as ReloginLink from "./ReloginLink.js"
import * as ReturnAddress from "./ReturnAddress.js"

/**
 * The paths of the routes. Mount the routes at the root: the callback's path is a part of the redirect URI.
 *
 * @since 0.1.0
 * @category models
 */
export interface Paths {
  readonly login: `/${string}`
  readonly callback: `/${string}`
  readonly logout: `/${string}`
  readonly relogin: `/${string}`
}

/**
 * Where the application is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Site {
  /** The origin as browsers see it, such as `https://app.example.com`. http only on this machine. */
  readonly origin: string
  /** Default: `/login`, `/callback`, `/logout`, `/relogin`. */
  readonly paths?: Partial<Paths> | undefined
}

/**
 * A login that succeeded. Its grant is stored under `account`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Login {
  readonly account: string
  readonly credentials: Credentials
  readonly attempt: LoginAttempt.LoginAttempt
}

/**
 * Why a login failed.
 *
 * @since 0.1.0
 * @category errors
 */
export type Failure = LoginError | OAuthConfigError | GrantMismatch | SetupError

type Request = HttpServerRequest.HttpServerRequest

/**
 * The options of the routes. Your own functions run in the request, and may ask for `HttpServerRequest`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> extends AuthorizationCode.Options, Site {
  /**
   * Returns what a login is bound to in addition to the browser: the ID of your session or of your user, if
   * there is one. It must be the same when the user comes back. Default: nothing.
   */
  readonly session?: Effect.Effect<Option.Option<string>, E, R> | undefined
  /**
   * Chooses the account that the grant is stored under. Not called for a relogin link, which names it. Default:
   * `credentials.accountId`, which is unique at one server only. Where users of several servers share a pool, use
   * {@link accountOfServer}.
   */
  readonly account?:
    | ((
        credentials: Credentials,
        attempt: LoginAttempt.LoginAttempt
      ) => Effect.Effect<string, LoginError | E, R>)
    | undefined
  /** Begins your own session, with a new ID, on the response that redirects to the return address. */
  readonly signIn: (
    login: Login,
    response: HttpServerResponse.HttpServerResponse
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  /** Ends your own session on the response that redirects to `/`. Revoke and clear the grant here if it ends too. */
  readonly signOut: (
    response: HttpServerResponse.HttpServerResponse
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  /** Makes the page of a login that failed, with the given status. Default: the message, as plain text. */
  readonly onFailure?:
    | ((failure: Failure, status: number) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>)
    | undefined
  /** How long a user may take to log in. Default: 10 minutes. */
  readonly timeToLive?: Duration.DurationInput | undefined
}

/**
 * Names an account after its server and its ID there, such as `https://id.example.com#248289761001`, for `account`:
 * the same ID at another server is another account (OpenID Connect Core §2, `iss` and `sub`). The server is the
 * issuer, or the token endpoint of one without. A server that moves gets new accounts.
 *
 * Fails if the server's answer names no account.
 *
 * @since 0.1.0
 * @category accounts
 */
export const accountOfServer = (
  { accountId }: Pick<Credentials, "accountId">,
  { issuer, tokenEndpoint }: LoginAttempt.Party
): Effect.Effect<string, LoginError> => {
  const server = Option.getOrElse(
    Option.orElse(issuer, () => tokenEndpoint),
    () => ""
  )
  return Option.match(accountId, {
    onNone: () => nameless,
    // Neither an issuer nor a token endpoint has a fragment, so that no two pairs have the same name.
    onSome: (id) => Effect.succeed(`${server}#${id}`)
  })
}

/**
 * Creates the routes, to mount in a server of your own:
 *
 * - `GET /login?return=PATH`: begins a login, and sends the browser to the authorization server.
 * - `GET /callback`: finishes it, stores the grant with `TokenManagers`, calls `signIn`, and sends the browser to
 *   the return address, or to `/`. Register it as a redirect URI of the client.
 * - `GET /relogin?link=…`: begins the login of a {@link reloginLink}.
 * - `POST /logout`: calls `signOut`. Refused unless a page of the site sent it.
 *
 * A failure is a page with its message: 400 for a login that must be started again, 403 if it was refused or
 * another account logged in, 409 if the grant may not replace the stored one, 500 for settings, 502 if the
 * server fails, 503 if storage fails. Nothing is stored then, and a grant that was stored before is unchanged.
 *
 * Fails if the settings cannot work. Any number of requests may run concurrently. A login whose browser goes away
 * during the callback is still stored.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E = never, R = never>(
  options: Options<E, R>
): Effect.Effect<
  HttpRouter.HttpRouter<
    E,
    HttpRouter.HttpRouter.ExcludeProvided<R> | AttemptStore | LoginKeys | TokenManagers
  >,
  OAuthConfigError,
  HttpClient
> =>
  Effect.gen(function* () {
    const origin = yield* originOf(options)
    const paths = pathsOf(options)
    const redirectUri = `${origin}${paths.callback}`
    const logins = yield* AuthorizationCode.make(options)
    const session = options.session ?? Effect.succeedNone

    /** Begins a login, with a cookie for the way back. */
    const begin = (login: AuthorizationCode.LoginOptions) =>
      Effect.gen(function* () {
        const request = yield* HttpServerRequest.HttpServerRequest
        const store = yield* AttemptStore
        const attempt = yield* logins.begin(redirectUri, {
          ...login,
          session: Option.getOrUndefined(yield* session),
          timeToLive: options.timeToLive
        })
        const ticket = yield* store.keep(attempt.login)
        const { createdAt, expiresAt, state } = attempt.login
        return LoginCookie.superfluous(request.cookies)
          .reduce(expire, redirect(attempt.url))
          .pipe(
            HttpServerResponse.unsafeSetCookie(LoginCookie.nameOf(createdAt, state), Redacted.value(ticket), {
              ...cookie,
              maxAge: expiresAt - createdAt
            })
          )
      })

    const start = Effect.gen(function* () {
      const query = yield* opened
      const address = query.get("return") ?? "/"
      const returnTo = ReturnAddress.parse(address)
      return Option.isSome(returnTo) ? yield* begin({ returnTo: returnTo.value }) : yield* unsafeReturn
    })

    const relogin = Effect.gen(function* () {
      const query = yield* opened
      const link = yield* ReloginLink.open(query.get("link") ?? "")
      yield* checkGrant(link.account, { replaces: Option.some(link.replaces) })
      return yield* begin({
        account: link.account,
        expectedAccount: link.expectedAccount,
        replaces: link.replaces,
        returnTo: Option.getOrUndefined(link.returnTo),
        authorizationParameters: { login_hint: link.loginHint }
      })
    })

    const accountFor = (credentials: Credentials, attempt: LoginAttempt.LoginAttempt) => {
      if (Option.isSome(attempt.account)) return Effect.succeed(attempt.account.value)
      if (options.account !== undefined) return options.account(credentials, attempt)
      return Option.match(credentials.accountId, { onNone: () => nameless, onSome: Effect.succeed })
    }

    /** Redeems the code and stores the grant. */
    const finish = (ticket: Redacted.Redacted, response: URLSearchParams, current: Option.Option<string>) =>
      Effect.gen(function* () {
        const store = yield* AttemptStore
        const attempt = yield* store.take(ticket)
        // Before the code is redeemed: a grant at the server that nobody stores would stay there.
        if (Option.isSome(attempt.account)) yield* checkGrant(attempt.account.value, attempt)
        const credentials = yield* logins.finish(attempt, response, {
          session: Option.getOrUndefined(current)
        })
        const account = yield* accountFor(credentials, attempt)
        const managers = yield* TokenManagers
        const manager = yield* managers.get(account)
        yield* manager.save(credentials)
        return { account, credentials, attempt } satisfies Login
      }).pipe(
        Effect.scoped,
        // A browser that goes away interrupts the request. It must not leave a grant at the server that is stored
        // nowhere. In a fiber of its own, because a region without interruption would outlast its time limits.
        Effect.forkDaemon,
        Effect.flatMap(Fiber.join)
      )

    const callback = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const response = yield* opened
      const found = LoginCookie.find(request.cookies, response.get("state") ?? "")
      if (Option.isNone(found)) return yield* notUnderWay
      const { name, ticket } = found.value
      return yield* finish(ticket, response, yield* session).pipe(
        Effect.flatMap((login) =>
          options.signIn(login, redirect(Option.getOrElse(login.attempt.returnTo, () => "/")))
        ),
        failing,
        Effect.map((page) => expire(page, name))
      )
    })

    const logout = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const problem = BrowserRequest.crossSiteProblem(request.headers, origin)
      if (Option.isSome(problem)) return yield* problem.value
      // 303: the browser follows with GET.
      return yield* options.signOut(redirect("/", 303))
    })

    const page =
      options.onFailure ?? ((failure: Failure, status: number) => Effect.succeed(plain(failure, status)))

    const failing = <R2>(
      handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Failure | E, R2>
    ): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | R2> =>
      Effect.catchAll(handler, (error): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R> => {
        if (!isFailure(error)) return Effect.fail(error)
        const status = statusOf(error)
        return Effect.andThen(
          status === 500 ? Effect.logError(`latchkey: a web login failed: ${wordsOf(error)}`) : Effect.void,
          page(error, status)
        )
      })

    return HttpRouter.empty.pipe(
      HttpRouter.get(paths.login, failing(start)),
      HttpRouter.get(paths.callback, failing(callback)),
      HttpRouter.get(paths.relogin, failing(relogin)),
      HttpRouter.post(paths.logout, failing(logout))
    )
  })

/**
 * A relogin link of an account.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReloginOptions {
  readonly account: string
  /** How long the link can be opened. Default: 7 days. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** What to send as `login_hint`. Default: the account's ID at the server. */
  readonly loginHint?: string | undefined
  readonly returnTo?: string | undefined
}

/**
 * Returns a link that logs in again as the identity of the account's stored grant, dead or not. See
 * `ReloginLink`. Send it only to the account's user.
 *
 * Fails with `Misconfigured` if no grant is stored, or the stored one does not name its account at the server:
 * then nobody could check who logs in.
 *
 * @since 0.1.0
 * @category links
 */
export const reloginLink = (
  site: Site,
  { account, loginHint, returnTo, timeToLive = "7 days" }: ReloginOptions
): Effect.Effect<URL, Failure, TokenManagers | LoginKeys> =>
  Effect.gen(function* () {
    const origin = yield* originOf(site)
    const lifetime = Math.round(millisOf(timeToLive))
    if (!(lifetime > 0 && Number.isSafeInteger(lifetime))) {
      return yield* invalid("timeToLive", "must be a positive, finite time")
    }
    const address = Option.map(Option.fromNullable(returnTo), ReturnAddress.parse)
    if (Option.isSome(address) && Option.isNone(address.value)) {
      return yield* invalid("returnTo", "must be a path of the same site, of at most 1,000 characters")
    }
    const managers = yield* TokenManagers
    const manager = yield* managers.get(account)
    const stored = yield* storedIn(manager)
    const known = Option.flatMap(stored, ({ accountId }) => accountId)
    if (Option.isNone(stored) || Option.isNone(known)) return yield* unidentified
    const sealed = yield* ReloginLink.seal(
      new ReloginLink.ReloginLink({
        account,
        expectedAccount: known.value,
        replaces: Entry.grantFingerprint(stored.value),
        loginHint: loginHint ?? known.value,
        returnTo: Option.flatten(address),
        expiresAt: (yield* Clock.currentTimeMillis) + lifetime
      })
    )
    const url = new URL(pathsOf(site).relogin, origin)
    url.searchParams.set("link", sealed)
    return url
  }).pipe(Effect.scoped)

/** Fails if the account's stored grant is not the one that the login may replace. */
const checkGrant = (account: string, login: Pick<LoginAttempt.LoginAttempt, "replaces">) =>
  Effect.gen(function* () {
    if (Option.isNone(login.replaces)) return
    const managers = yield* TokenManagers
    const stored = yield* Effect.flatMap(managers.get(account), storedIn)
    const problem = LoginAttempt.grantProblem(login, Option.map(stored, Entry.grantFingerprint))
    if (Option.isSome(problem)) return yield* problem.value
  }).pipe(Effect.scoped)

/** Reads storage: another instance may have replaced the grant that is in memory. */
const storedIn = (manager: Manager) => Effect.andThen(manager.invalidate, manager.credentials)

const originOf = ({ origin }: Site): Either.Either<string, OAuthConfigError> =>
  Either.filterOrLeft(
    Either.map(check("origin", origin), (url) => url.origin),
    (known) => known === origin,
    (known) => invalid("origin", `must be an origin alone, such as ${known}`)
  )

const pathsOf = ({ paths }: Site): Paths => ({
  login: paths?.login ?? "/login",
  callback: paths?.callback ?? "/callback",
  logout: paths?.logout ?? "/logout",
  relogin: paths?.relogin ?? "/relogin"
})

/** The query of a request that a user opened in a tab. */
const opened: Effect.Effect<URLSearchParams, LoginError, Request> = Effect.flatMap(
  HttpServerRequest.HttpServerRequest,
  ({ headers, method, originalUrl }) =>
    Option.match(BrowserRequest.navigationProblem(method, headers), {
      onNone: () => {
        const at = originalUrl.indexOf("?")
        return Effect.succeed(new URLSearchParams(at < 0 ? "" : originalUrl.slice(at + 1)))
      },
      onSome: Effect.fail
    })
)

const cookie = { httpOnly: true, secure: true, sameSite: "lax", path: "/" } as const

const expire = (response: HttpServerResponse.HttpServerResponse, name: string) =>
  HttpServerResponse.expireCookie(response, name, cookie)

/** The address that a response came from holds a code or a state: it is kept by no cache and sent to no page. */
const headers = { "cache-control": "no-store", "referrer-policy": "no-referrer" }

const redirect = (to: string | URL, status = 302) => HttpServerResponse.redirect(to, { status, headers })

const plain = (failure: Failure, status: number) =>
  HttpServerResponse.text(
    status === 500 ? "The login does not work now: its settings are wrong." : wordsOf(failure),
    {
      status,
      headers: {
        ...headers,
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff"
      }
    }
  )

const tags: ReadonlySet<string> = new Set<Failure["_tag"]>([
  "LoginError",
  "OAuthConfigError",
  "GrantMismatch",
  "StorageError",
  "ConfigError"
])

const isFailure = (error: unknown): error is Failure =>
  typeof error === "object" &&
  error !== null &&
  "_tag" in error &&
  typeof error._tag === "string" &&
  tags.has(error._tag)

const wordsOf = (failure: Failure): string =>
  failure._tag === "ConfigError" ? "a setting is missing or wrong" : failure.message

const loginStatuses: Readonly<Record<LoginReason, number>> = {
  Denied: 403,
  Expired: 400,
  StateMismatch: 400,
  IssuerMismatch: 400,
  OtherAccount: 403,
  PortBusy: 500,
  NoBrowser: 500,
  Cancelled: 400,
  TimedOut: 400,
  Unreachable: 502,
  ServerError: 502,
  Misconfigured: 500,
  Malformed: 400
}

const statusOf = (failure: Failure): number => {
  switch (failure._tag) {
    case "LoginError":
      return loginStatuses[failure.reason]
    case "GrantMismatch":
      return 409
    case "StorageError":
      return 503
    case "ConfigError":
    case "OAuthConfigError":
      return 500
  }
}

const unsafeReturn = new LoginError({
  reason: "Malformed",
  message: "The return address is not a path of this site, and no login was started: correct the link."
})

const nameless = new LoginError({
  reason: "Misconfigured",
  message:
    "The server's answer names no account, so there is no name to store the grant under: ask for the scope openid, or set `account`."
})

const unidentified = new LoginError({
  reason: "Misconfigured",
  message:
    "No grant is stored for this account, or it does not name its account at the server: send the user to the login instead."
})
