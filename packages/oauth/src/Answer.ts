/**
 * The response of an authorization server (status, headers, text), and what it means if it is an error.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { ErrorAnswer, Meaning } from "./ErrorRule.js"
import { interactionCodes } from "./internal/codes.js"
import { fieldsOf } from "./internal/form.js"
import { reasonIn, sentence } from "./internal/reason.js"
import { quote } from "./internal/text.js"
import { OAuthError } from "./OAuthError.js"

/**
 * A response, read to its end or as far as possible.
 *
 * @since 0.1.0
 * @category models
 */
export class Answer extends Data.Class<{
  /** The endpoint of the request, without its query. */
  readonly endpoint: string
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** Why `text` is not the whole body: too large, cut off, too slow. */
  readonly cut: Option.Option<OAuthError>
  /** When it arrived, in epoch milliseconds. */
  readonly receivedAt: number
  /** Makes text from the server fit for an error: masks the secrets that were sent, escapes and truncates. */
  readonly quote: (text: string) => string
}> {
  /** The body may hold tokens. */
  toJSON(): unknown {
    return { _id: "@latchkey/oauth/Answer", endpoint: this.endpoint, status: this.status }
  }
  [Symbol.for("nodejs.util.inspect.custom")](): unknown {
    return this.toJSON()
  }
}

/**
 * Creates a response from its parts. `secrets` must not appear in errors.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly endpoint: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  readonly cut?: OAuthError | undefined
  readonly receivedAt: number
  readonly secrets?: () => ReadonlyArray<string>
}): Answer =>
  new Answer({
    endpoint: options.endpoint,
    status: options.status,
    headers: options.headers,
    text: options.text,
    cut: Option.fromNullable(options.cut),
    receivedAt: options.receivedAt,
    quote: (text) => quote(text, options.secrets?.() ?? [])
  })

/**
 * Whether the request succeeded: status 2xx.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isOk = (answer: Answer): boolean => answer.status >= 200 && answer.status < 300

/**
 * The deepest nesting that is accepted. Nothing in OAuth comes near it. A deeper value would break the code
 * that serializes it.
 */
const maxDepth = 64

/**
 * Returns the body as an object, or describes what it is instead. It may be JSON, or a form (some servers
 * send one) with tokens or an error in it. The body decides, not its content type, except that a body
 * declared as a form is read as one.
 *
 * @since 0.1.0
 * @category getters
 */
export const json = (answer: Answer): Either.Either<Readonly<Record<string, unknown>>, string> => {
  const { text } = answer
  if (!text.startsWith("{")) {
    if (text.trim() === "") return Either.left("is empty")
    // A body that broke off may have broken off in the middle of a token.
    const form = Option.isNone(answer.cut) ? fieldsOf(text, isForm(answer)) : undefined
    if (form !== undefined) return Either.right(form)
  }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return Either.left("is JSON, but not an object")
    }
    return tooDeep(value, maxDepth)
      ? Either.left("is nested too deeply")
      : Either.right(value as Readonly<Record<string, unknown>>)
  } catch {
    const type = contentType(answer)
    return Either.left(`is not JSON${type === "" ? "" : ` but ${answer.quote(type)}`}`)
  }
}

const isForm = (answer: Answer): boolean => contentType(answer) === "application/x-www-form-urlencoded"

const contentType = (answer: Answer): string =>
  (answer.headers["content-type"] ?? "").split(";", 1)[0]!.trim().toLowerCase()

const tooDeep = (value: object, left: number): boolean =>
  left === 0 || Object.values(value).some((v) => typeof v === "object" && v !== null && tooDeep(v, left - 1))

/**
 * Returns the `error` code and its description (RFC 6749 §5.2). It also reads an `error` that is an object
 * with a `code`, `type` or `status`, which some servers send.
 *
 * @since 0.1.0
 * @category getters
 */
export const oauthError = (
  body: Readonly<Record<string, unknown>>
): Option.Option<{ readonly code: string; readonly description: Option.Option<string> }> => {
  const { error } = body
  const nested = typeof error === "object" && error !== null ? (error as Record<string, unknown>) : undefined
  const code = [error, nested?.["code"], nested?.["type"], nested?.["status"]].find(isText)
  return code === undefined
    ? Option.none()
    : Option.some({
        code,
        description: Option.fromNullable([body["error_description"], nested?.["message"]].find(isText))
      })
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== ""

/**
 * How long the server asks to wait (RFC 9110 §10.2.3): seconds, or a date. A date is compared with the
 * server's own `Date`, if there is one. A date in the past counts as zero.
 *
 * @since 0.1.0
 * @category getters
 */
export const retryAfter = (answer: Answer): Option.Option<Duration.Duration> => {
  const value = answer.headers["retry-after"]?.trim() ?? ""
  if (/^\d{1,9}$/.test(value)) return Option.some(Duration.seconds(Number(value)))
  const until = value.endsWith(" GMT") ? Date.parse(value) : Number.NaN
  return Number.isFinite(until)
    ? Option.some(Duration.millis(Math.max(0, until - serverTime(answer))))
    : Option.none()
}

/**
 * The response's `Date` in epoch milliseconds (RFC 9110 §6.6.1): when it was made, by the server's own clock.
 *
 * @since 0.1.0
 * @category getters
 */
export const date = (answer: Answer): Option.Option<number> =>
  Option.liftPredicate(Date.parse(answer.headers["date"] ?? ""), (millis) => millis >= 0)

/**
 * When the server responded by its own clock, in epoch milliseconds. By ours if it sent no `Date`.
 *
 * @since 0.1.0
 * @category getters
 */
export const serverTime = (answer: Answer): number => Option.getOrElse(date(answer), () => answer.receivedAt)

/** The largest clock difference that is corrected: 5 minutes. A larger one counts as 5 minutes. */
const furthest = 300_000

/**
 * How far the server's clock differs from ours by its `Date`, in milliseconds. It counts only the part that
 * is certain, independent of how long the response took and of the whole seconds in a `Date`. Bounded, and 0
 * if there is no `Date`.
 *
 * @since 0.1.0
 * @category getters
 */
export const clockSkew = (
  answer: Answer,
  requestedAt: number
): { readonly ahead: number; readonly behind: number } => {
  const server = Date.parse(answer.headers["date"] ?? "")
  const certain = (off: number) => (off >= 1000 ? Math.min(off, furthest) : 0)
  return { ahead: certain(server - answer.receivedAt), behind: certain(requestedAt - server) }
}

/** Error codes that mean that the server cannot answer now, whatever the status. */
const transientCodes = new Set(["temporarily_unavailable", "server_error", "slow_down", "use_dpop_nonce"])

/**
 * What one server's errors mean, if it departs from the standard.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorSettings {
  /** Error codes that end a grant with this server, in addition to `invalid_grant`. */
  readonly deadCodes?: ReadonlyArray<string> | undefined
  /**
   * Returns the meaning of a response that the server does not express in the terms of RFC 6749 §5.2. None
   * leaves it to the standard. It is called first, also for success responses without an access token. See
   * `ErrorRule.matching`.
   */
  readonly adaptError?: ((answer: ErrorAnswer) => Option.Option<Meaning>) | undefined
}

/**
 * Classifies an error response as a refresh failure.
 *
 * - What the settings say about it comes first.
 * - Below 500, `invalid_grant`, the codes in `deadCodes`, and those that require the user (OpenID Connect
 *   Core §3.1.2.6) end a grant.
 * - 408, 425, 429, a 5xx with an OAuth error, and the transient codes mean: try again later.
 * - Any other OAuth error, a redirect and any other 4xx is a configuration problem.
 * - A 5xx without an OAuth error leaves the outcome of the request unknown.
 *
 * The server's reason is in the message, truncated, escaped and masked. A page of HTML is not.
 *
 * @since 0.1.0
 * @category classification
 */
export const toError = (answer: Answer, settings: ErrorSettings = {}): OAuthError => {
  const { body, error } = refusal(answer)
  const adapted = adaptedError(answer, settings)
  const code = Option.flatMap(adapted, (meaning) => nonBlank(meaning.code)).pipe(
    Option.orElse(() => Option.map(error, (e) => e.code))
  )
  const said = Option.flatMap(adapted, (meaning) => nonBlank(meaning.description)).pipe(
    Option.orElse(() => Option.flatMap(error, (e) => e.description)),
    Option.orElse(() => reason(answer)),
    Option.filter((text) => text !== Option.getOrNull(code))
  )
  const means = Option.match(adapted, {
    onNone: () => meaningOf(answer, Option.getOrUndefined(code), settings.deadCodes ?? []),
    onSome: (meaning) => reasons[meaning.means]
  })
  // A known code is no secret, however long.
  const isKnown = (c: string) => interactionCodes.has(c) || settings.deadCodes?.includes(c) === true
  const safeCode = Option.map(code, (c) => (isKnown(c) ? c : answer.quote(c)))
  const what = Option.getOrElse(safeCode, () => "without an OAuth error")
  const why = Option.match(said, { onNone: () => "", onSome: (text) => ` (${answer.quote(text)})` })
  const advice = adviceOf(means, Option.getOrUndefined(code), Option.isSome(said) || body !== undefined)
  const wait = retryAfter(answer)
  return new OAuthError({
    reason: means,
    message: `${answer.endpoint} answered ${answer.status} ${what}${why}: ${advice}.`,
    endpoint: answer.endpoint,
    status: answer.status,
    ...(Option.isSome(safeCode) && { oauthError: safeCode.value }),
    ...(Option.isSome(wait) && { retryAfter: wait.value })
  })
}

const reasons = { dead: "GrantDead", transient: "Transient", misconfigured: "Misconfigured" } as const

const nonBlank = (text: string | undefined): Option.Option<string> =>
  Option.filter(Option.fromNullable(text), (value) => value.trim() !== "")

const refusal = (answer: Answer) => {
  const body = Option.getOrUndefined(Either.getRight(json(answer)))
  return { body, error: oauthError(body ?? {}) }
}

/**
 * What the settings say about a response. None if they say nothing, or fail.
 *
 * @since 0.1.0
 * @category classification
 */
export const adaptedError = (answer: Answer, { adaptError }: ErrorSettings): Option.Option<Meaning> => {
  if (adaptError === undefined) return Option.none()
  const { headers, status, text } = answer
  const body = Either.getOrElse(json(answer), () => ({}))
  return Option.flatten(Option.liftThrowable(() => adaptError({ status, headers, text, body }))())
}

/**
 * The server's reason in a body that is not an OAuth error: the message of a JSON object (RFC 9457 and
 * others), or a sentence, but not a page. It is not yet truncated, escaped and masked: the response's `quote`
 * does that.
 *
 * @since 0.1.0
 * @category getters
 */
export const reason = (answer: Answer): Option.Option<string> =>
  Option.fromNullable(
    Either.match(json(answer), { onLeft: () => sentence(answer.text), onRight: (body) => reasonIn(body) })
  )

const meaningOf = (
  { status }: Answer,
  code: string | undefined,
  deadCodes: ReadonlyArray<string>
): OAuthError["reason"] => {
  if (code === undefined) {
    if (status === 408 || status === 425 || status === 429) return "Transient"
    return status >= 500 ? "MaybeSent" : "Misconfigured"
  }
  if (status >= 500 || status === 429 || transientCodes.has(code)) return "Transient"
  return code === "invalid_grant" || interactionCodes.has(code) || deadCodes.includes(code)
    ? "GrantDead"
    : "Misconfigured"
}

const adviceOf = (means: OAuthError["reason"], code: string | undefined, isExplained: boolean): string => {
  if (means === "Transient") return "it cannot answer now; try again later"
  if (means === "MaybeSent") return "whether it processed the request is unknown"
  if (means === "GrantDead") {
    return code !== undefined && interactionCodes.has(code)
      ? "the user must log in again"
      : "the grant has ended"
  }
  if (code === "invalid_scope") {
    return "it does not grant these scopes: ask for fewer or none, or log in again for more"
  }
  if (code === "invalid_client") {
    return "check the client's ID and secret, and how they are sent: the server may want basic, basicRaw or post"
  }
  if (code !== undefined) return "check the client, its authentication and its request"
  return isExplained
    ? "check the endpoint, the client and the account's permissions"
    : "check that this is the right endpoint"
}

/**
 * The error for a success response of the wrong kind: `what` names the expected content and `problem` says
 * what is wrong.
 *
 * @since 0.1.0
 * @category classification
 */
export const malformed = (answer: Answer, what: string, problem: string): OAuthError =>
  new OAuthError({
    reason: "Malformed",
    message: `${answer.endpoint} answered ${answer.status}, but its ${what} ${problem}; report this to the operator of the server.`,
    endpoint: answer.endpoint,
    status: answer.status
  })
