/**
 * The accounts of a program as JSON, for a dashboard or an operator: which accounts there are, when each is
 * renewed next, what went wrong last, and who must log in again. It reads storage, refreshes nothing, and
 * shows no token.
 *
 * @since 0.1.0
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import { ParsedSearchParams } from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as AccountReport from "@latchkey/core/AccountReport"
import type * as AuthStatus from "@latchkey/core/AuthStatus"
import { Renewer } from "@latchkey/core/Renewer"
import type { AccountEvent } from "@latchkey/core/TokenManagers"
import { TokenManagers } from "@latchkey/core/TokenManagers"
import type { RefreshReason } from "@latchkey/core/TokenRefresher"
import type { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import { type Account, TokenStorages } from "@latchkey/core/TokenStorages"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Activity from "./internal/activity.js"
import * as StatusHtml from "./internal/statusHtml.js"

/**
 * Why an account was not renewed. `reason` is one of those of `AccountReport.LastError`, `StorageError` and
 * `RefreshError`. `at` is ISO 8601, and null for a problem of storage now.
 *
 * @since 0.1.0
 * @category models
 */
export interface Problem {
  readonly reason: string
  readonly message: string
  readonly at: string | null
}

/**
 * An account as JSON. Instants are ISO 8601 in UTC.
 *
 * @since 0.1.0
 * @category models
 */
export interface Row {
  readonly account: string
  readonly state: Account["state"]
  /** When the access token expires. Null if the token has no known expiry, or the grant cannot be read. */
  readonly expiresAt: string | null
  /**
   * When the account is due at the latest. A `Renewer` renews it earlier, by the grace and its window. Null:
   * never.
   */
  readonly nextRenewal: string | null
  /** Whether only a login helps. See `AccountReport`. */
  readonly mustLogIn: boolean
  readonly lastError: Problem | null
  /** The pool's warnings, if `TokenManagers` is in context. Otherwise empty. */
  readonly warnings: ReadonlyArray<AuthStatus.Warning>
}

/**
 * Remembers the last failed refresh of each account in this process, for `lastError`. Storage does not hold
 * failures that spent nothing: an unreachable server, or a client that the server refuses.
 *
 * @since 0.1.0
 * @category tags
 */
export class Failures extends Context.Tag("@latchkey/oauth/Accounts/Failures")<
  Failures,
  { readonly of: (account: string) => Option.Option<Failure> }
>() {}

/**
 * A refresh that failed. `at` is epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure {
  readonly reason: RefreshReason
  readonly message: string
  readonly at: number
}

/** How many accounts with a failure are remembered. Beyond that, the oldest are forgotten. */
const mostFailures = 10_000

/**
 * Subscribes to the events of the pool. Remembers at most 10,000 accounts, and forgets an account that is
 * refreshed.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFailures: Layer.Layer<Failures, never, TokenManagers> = Layer.scoped(
  Failures,
  Effect.gen(function* () {
    const { events } = yield* TokenManagers
    // In the order in which they failed.
    const failures = new Map<string, Failure>()
    const note = ({ account, event }: AccountEvent): void => {
      const isFailure = event._tag === "RefreshFailed"
      if (isFailure || ends.has(event._tag)) failures.delete(account)
      if (isFailure) failures.set(account, failureOf(event))
      const [oldest] = failures.keys()
      if (oldest !== undefined && failures.size > mostFailures) failures.delete(oldest)
    }
    yield* Effect.forkScoped(Stream.runForEach(events, (happened) => Effect.sync(() => note(happened))))
    return { of: (account) => Option.fromNullable(failures.get(account)) }
  })
)

/** These events make the previous failure obsolete. */
const ends: ReadonlySet<AccountEvent["event"]["_tag"]> = new Set(["Refreshed", "Adopted", "Cleared"])

const failureOf = (
  failed: Pick<Failure, "reason" | "at"> & { readonly status: number | undefined }
): Failure => ({
  reason: failed.reason,
  message: `${failureWords[failed.reason]}${failed.status === undefined ? "" : ` (HTTP ${failed.status})`}.`,
  at: failed.at
})

const failureWords: Readonly<Record<RefreshReason, string>> = {
  NotSent: "The token server could not be reached, and nothing was sent: check its name, the network and TLS",
  MaybeSent: "The token server did not answer, or not in time: check it; Latchkey repeats the refresh",
  Transient: "The token server could not answer: Latchkey repeats the refresh later",
  GrantDead: "The token server refused the grant: log in again",
  Misconfigured: "The token server refused the client, a scope or the request: correct the settings",
  Malformed: "The token server's answer is not a token response: check its address and its version"
}

/** How many accounts are in a page, by default and at most. */
const pageSize = 100
const mostAccounts = 500

/** How many grants are read concurrently. A database answers for all of them at once. */
const together = 128

/** How many due accounts are counted. */
const mostDue = 1000

/**
 * Counts the refreshes and failures of this process in the last hour, for the chart of {@link page}.
 *
 * @since 0.1.0
 * @category tags
 */
export class History extends Context.Tag("@latchkey/oauth/Accounts/History")<
  History,
  { readonly lastHour: (now: number) => Activity.Activity }
>() {}

/**
 * Subscribes to the events of the pool. Keeps sixty counts, however many accounts there are.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHistory: Layer.Layer<History, never, TokenManagers> = Layer.scoped(
  History,
  Effect.gen(function* () {
    const { events } = yield* TokenManagers
    let activity: Activity.Activity = []
    const count = ({ event }: AccountEvent): void => {
      if (event._tag === "Refreshed") activity = Activity.note(activity, event.at, "refreshed")
      if (event._tag === "RefreshFailed") activity = Activity.note(activity, event.at, "failed")
    }
    yield* Effect.forkScoped(Stream.runForEach(events, (happened) => Effect.sync(() => count(happened))))
    return { lastHour: (now) => Activity.lastHour(activity, now) }
  })
)

/**
 * The options of {@link page}.
 *
 * @since 0.1.0
 * @category models
 */
export interface PageOptions<E = never, R = never> {
  /** Whether the request may see the page. Yours: a session, a client certificate, a header of your proxy. */
  readonly authorize: Effect.Effect<boolean, E, R>
  /** Returns the relogin link of an account, such as by `WebLogin.reloginLink`. Default: no link is shown. */
  readonly link?: ((account: string) => Effect.Effect<Option.Option<URL>, E, R>) | undefined
  /** What to do if an account without a link needs a login. Default: "Its user must log in again". */
  readonly advice?: ((account: string) => string) | undefined
}

/**
 * The accounts as a page for people, at `GET /` of where you mount it: which there are, by state; when each is
 * renewed next; what went wrong last, in words; who must log in again, with the link; and a chart of the last
 * hour, if {@link layerHistory} is in context. Rendered here, without a script, and for narrow and wide screens.
 *
 * It shows no token. A request that `authorize` refuses gets 403 and nothing else. The links that it shows let
 * a user log in, as this user only: show the page to operators, not to everybody.
 *
 * @since 0.1.0
 * @category routes
 */
export const page = <E = never, R = never>(
  options: PageOptions<E, R>
): HttpRouter.HttpRouter<E, HttpRouter.HttpRouter.ExcludeProvided<R> | TokenStorages> =>
  HttpRouter.empty.pipe(HttpRouter.get("/", shown(options)))

const shown = Effect.fnUntraced(function* <E, R>({ advice, authorize, link }: PageOptions<E, R>) {
  if (!(yield* authorize)) return text(403, "You may not see this page: log in as an operator.")
  const asked = parse(yield* ParsedSearchParams)
  if (Either.isLeft(asked)) return text(400, asked.left)
  const now = yield* Clock.currentTimeMillis
  const found = yield* Effect.either(pageOf(asked.right, now))
  const counts = yield* Effect.either(countsAt(now))
  if (Either.isLeft(found)) return text(503, found.left.message)
  if (Either.isLeft(counts)) return text(503, counts.left.message)
  const history = yield* Effect.serviceOption(History)
  const rows = yield* Effect.forEach(found.right.accounts, (row) =>
    link === undefined || !row.mustLogIn
      ? Effect.succeed({ ...row, advice: advice?.(row.account), link: undefined })
      : Effect.map(link(row.account), (url) => ({
          ...row,
          advice: advice?.(row.account),
          link: Option.getOrUndefined(Option.map(Option.filter(url, isWeb), ({ href }) => href))
        }))
  )
  return HttpServerResponse.text(
    StatusHtml.render({
      now,
      rows,
      state: asked.right.state,
      count: counts.right.count,
      due: counts.right.due.length,
      next: found.right.next ?? undefined,
      hour: Option.getOrUndefined(Option.map(history, ({ lastHour }) => lastHour(now)))
    }),
    { contentType: "text/html; charset=utf-8", headers: { ...pageHeaders, ...(yield* policy) } }
  )
})

const isWeb = ({ protocol }: URL): boolean => protocol === "https:" || protocol === "http:"

const pageHeaders = {
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY"
}

/** Nothing runs on the page and nothing is loaded, and its own style is the only one. */
const policy = Effect.promise(async () => {
  const bytes = await globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(StatusHtml.style))
  const hash = Encoding.encodeBase64(new Uint8Array(bytes))
  return {
    "content-security-policy": `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
  }
})

const text = (status: number, words: string) =>
  HttpServerResponse.text(words, { status, headers: pageHeaders })

const json = (status: number, body: unknown) =>
  HttpServerResponse.unsafeJson(body, { status, headers: { "cache-control": "no-store" } })

const refuse = (status: number, reason: string, message: string) =>
  json(status, { error: { reason, message } })

const answer = <R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, StorageError, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R> =>
  Effect.match(handler, {
    onFailure: ({ message, reason }) => refuse(503, reason, message),
    onSuccess: (response) => response
  })

const list = Effect.gen(function* () {
  const asked = parse(yield* ParsedSearchParams)
  if (Either.isLeft(asked)) return refuse(400, "BadRequest", asked.left)
  return json(200, yield* pageOf(asked.right, yield* Clock.currentTimeMillis))
})

/** Reads the rows of a page, and the name after which the next page begins. */
const pageOf = Effect.fnUntraced(function* ({ after, limit, state }: Asked, now: number) {
  const { accounts } = yield* TokenStorages
  const found = yield* accounts(after).pipe(
    Stream.filter((listed) => state === undefined || listed.state === state),
    // One more than the page shows whether there is a next one.
    Stream.take(limit + 1),
    Stream.runCollect,
    Effect.map((all) => Array.from(all))
  )
  const page = found.slice(0, limit)
  const read = Effect.forEach(page, (listed) => rowOf(listed, now), { concurrency: together })
  const rows = yield* withWarnings((yield* read).flatMap(Option.toArray))
  const next = found.length > limit ? page.at(-1)?.account : undefined
  return {
    // The entry may have changed since the index was read.
    accounts: rows.filter((row) => state === undefined || row.state === state),
    next: next ?? null
  }
})

const one = Effect.gen(function* () {
  const { "*": account = "" } = yield* HttpRouter.params
  const storage = (yield* TokenStorages).of(account)
  // A name that the backend cannot store names no account.
  const found = Either.isLeft(storage) ? Option.none() : yield* storage.right.load
  if (Option.isNone(found)) {
    return refuse(
      404,
      "NotFound",
      "No grant is stored for an account of this name. Percent-encode the name, or see GET /accounts."
    )
  }
  const row = yield* reportOf(account, found.value.entry, yield* Clock.currentTimeMillis)
  return json(200, (yield* withWarnings([row]))[0])
})

/** The name is the rest of the path. It is not a parameter, which may have at most 100 characters. */
const accounts = Effect.gen(function* () {
  const isOne = "*" in (yield* HttpRouter.params)
  return yield* isOne ? one : list
})

const countsAt = (before: number) =>
  Effect.flatMap(TokenStorages, ({ count, due }) =>
    Effect.all({ count, due: due({ before, limit: mostDue }) })
  )

const summary = Effect.gen(function* () {
  const { count, due: found } = yield* countsAt(yield* Clock.currentTimeMillis)
  const renewer = yield* Effect.serviceOption(Renewer)
  return json(200, {
    count,
    due: found.length,
    oldestDue: iso(Option.map(Option.fromNullable(found[0]), ({ dueAt }) => dueAt)),
    renewer: Option.isNone(renewer)
      ? null
      : yield* Effect.map(renewer.value.status, ({ due, failed, oldestDue, renewed }) => ({
          due,
          renewed,
          failed,
          oldestDue: iso(oldestDue)
        }))
  })
})

const iso = (millis: Option.Option<number>): string | null =>
  Option.getOrNull(Option.flatMap(millis, AccountReport.isoOf))

/**
 * Returns the row of an account. None if the account was removed meanwhile. A grant that cannot be read does
 * not hold up the others.
 */
const rowOf = (
  listed: Account,
  now: number
): Effect.Effect<Option.Option<Row>, StorageError, TokenStorages> =>
  TokenStorages.pipe(
    Effect.flatMap(({ of }) => loadOf(of(listed.account))),
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: ({ entry }) => Effect.asSome(reportOf(listed.account, entry, now))
      })
    ),
    Effect.catchIf(
      ({ reason }) => reason !== "Unavailable",
      (error) => Effect.succeedSome(unreadable(listed, error))
    )
  )

const loadOf = (storage: Either.Either<Context.Tag.Service<TokenStorage>, StorageError>) =>
  Either.match(storage, { onLeft: Effect.fail, onRight: ({ load }) => load })

const unreadable = ({ account, dueAt, state }: Account, { message, reason }: StorageError): Row => ({
  account,
  state,
  expiresAt: null,
  nextRenewal: iso(dueAt),
  mustLogIn: state === "Dead",
  lastError: { reason, message, at: null },
  warnings: []
})

const reportOf = (...[account, entry, now]: Parameters<typeof AccountReport.of>): Effect.Effect<Row> =>
  Effect.map(Effect.serviceOption(Failures), (failures) => {
    const { dueAt, expiresAt, lastError, mustLogIn, state } = AccountReport.of(account, entry, now)
    const seen = Option.flatMap(failures, ({ of }) => of(account))
    const isNewer =
      state !== "Dead" && Option.exists(seen, ({ at }) => !Option.exists(lastError, (e) => e.at > at))
    const last: Option.Option<AccountReport.LastError | Failure> = isNewer ? seen : lastError
    return {
      account,
      state,
      expiresAt: iso(expiresAt),
      nextRenewal: iso(dueAt),
      mustLogIn,
      lastError: Option.getOrNull(
        Option.map(last, ({ at, message, reason }) => ({ reason, message, at: iso(Option.some(at)) }))
      ),
      warnings: []
    }
  })

const withWarnings = (rows: ReadonlyArray<Row>): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.gen(function* () {
    const managers = yield* Effect.serviceOption(TokenManagers)
    if (Option.isNone(managers)) return rows
    const statuses = yield* managers.value.status(rows.map(({ account }) => account))
    return rows.map((row) => {
      const status = Option.flatMap(Option.fromNullable(statuses.get(row.account)), Either.getRight)
      return { ...row, warnings: Option.match(status, { onNone: () => [], onSome: (s) => s.warnings }) }
    })
  })

interface Asked {
  readonly after: string | undefined
  readonly limit: number
  readonly state: Account["state"] | undefined
}

const states: ReadonlyArray<Account["state"]> = ["Renewable", "Dead", "Fixed"]
const names: ReadonlySet<string> = new Set(["limit", "after", "state"] satisfies ReadonlyArray<keyof Asked>)

/**
 * Returns the parsed parameters, or the problem with them. The problem never quotes a value, which may be a
 * misplaced secret.
 */
const parse = (given: Context.Tag.Service<typeof ParsedSearchParams>): Either.Either<Asked, string> => {
  if (Object.keys(given).some((name) => !names.has(name))) {
    return Either.left("Unknown parameter: use only `limit`, `after` and `state`.")
  }
  const { after, limit = `${pageSize}`, state } = given
  if (typeof limit !== "string" || !/^\d{1,3}$/.test(limit) || +limit < 1 || +limit > mostAccounts) {
    return Either.left(
      `\`limit\` must be a whole number from 1 to ${mostAccounts}: correct it, or leave it out.`
    )
  }
  if (after !== undefined && (typeof after !== "string" || after === "")) {
    return Either.left("`after` must be one name: use the `next` of the previous page, or leave it out.")
  }
  const known = states.find((name) => name === state)
  return state !== undefined && known === undefined
    ? Either.left(`\`state\` must be one of ${states.join(", ")}: correct it, or leave it out.`)
    : Either.right({ after, limit: +limit, state: known })
}

/**
 * Three routes, to mount in a server of your own. **They do not authenticate the client: put your own
 * authentication in front.**
 *
 * - `GET /accounts?limit=&after=&state=`: `{ accounts: Array<Row>, next: string | null }`, by name. `limit`
 *   is 1 to 500, default 100. `after` is the `next` of the previous page. `state` is `Renewable`, `Dead` or
 *   `Fixed`. An account that changes while the page is read may be missing from it.
 * - `GET /accounts/NAME`: one {@link Row}. The name is percent-encoded.
 * - `GET /summary`: `{ count, due, oldestDue, renewer }`: how many accounts there are; how many are due now,
 *   counted up to 1,000; since when the first is due; and the status of the `Renewer`, null if none is in
 *   context.
 *
 * Errors are `{ error: { reason, message } }`: 400 for a parameter, 404 for an account that is not stored,
 * 503 if storage fails. In a page, a grant that cannot be read is a row whose `lastError` says why.
 *
 * A page reads only the grants of its own accounts. With a `state`, it also reads the index of all accounts
 * up to its last one. `TokenManagers`, `Renewer` and {@link Failures} are used if they are in context. Any
 * number of requests may run concurrently.
 *
 * @since 0.1.0
 * @category routes
 */
export const httpApp: HttpRouter.HttpRouter<never, TokenStorages> = HttpRouter.empty.pipe(
  HttpRouter.get("/accounts", answer(accounts)),
  HttpRouter.get("/accounts/*", answer(accounts)),
  HttpRouter.get("/summary", answer(summary))
)
