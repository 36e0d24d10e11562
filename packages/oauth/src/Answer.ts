/**
 * What an authorization server answered: status, headers, text. And what it means when it is an error.
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
 * An answer, read to its end or as far as it could be.
 *
 * @since 0.1.0
 * @category models
 */
export class Answer extends Data.Class<{
  /** The endpoint asked, without its query. */
  readonly endpoint: string
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** Why `text` is not the whole body: too large, cut off, too slow. */
  readonly cut: Option.Option<OAuthError>
  /** When it arrived, in epoch milliseconds. */
  readonly receivedAt: number
  /** The server's words made fit for an error: what was sent as a secret masked, cut and escaped. */
  readonly quote: (text: string) => string
}> {
  /** Its body may hold tokens. */
  toJSON(): unknown {
    return { _id: "@latchkey/oauth/Answer", endpoint: this.endpoint, status: this.status }
  }
  [Symbol.for("nodejs.util.inspect.custom")](): unknown {
    return this.toJSON()
  }
}

/**
 * An answer from its parts; `secrets` are what must not come back in an error.
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
 * Whether the server did what it was asked.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isOk = (answer: Answer): boolean => answer.status >= 200 && answer.status < 300

/**
 * How deep an answer may nest. Nothing in OAuth comes near; what is deeper breaks those who would write it.
 */
const maxDepth = 64

/**
 * The body as an object, or in words what it is instead: of JSON, or of a form (some servers answer so) with tokens
 * or an error in it. What the body is decides, not its content type; a body declared as a form is one.
 *
 * @since 0.1.0
 * @category getters
 */
export const json = (answer: Answer): Either.Either<Readonly<Record<string, unknown>>, string> => {
  const { text } = answer
  if (!text.startsWith("{")) {
    if (text.trim() === "") return Either.left("is empty")
    // What broke off may have broken off in the middle of a token.
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
 * The `error` code and its description (RFC 6749 §5.2). An `error` that is an object with a `code`,
 * `type` or `status`, as some servers answer, is read too.
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
 * How long the server asks to wait (RFC 9110 §10.2.3): seconds, or a date, which is read against the
 * server's own `Date` where it sent one. What is in the past is zero.
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
 * The answer's `Date` in epoch milliseconds (RFC 9110 §6.6.1): when it was made by the server's own clock.
 *
 * @since 0.1.0
 * @category getters
 */
export const date = (answer: Answer): Option.Option<number> =>
  Option.liftPredicate(Date.parse(answer.headers["date"] ?? ""), (millis) => millis >= 0)

/**
 * When it was answered by the server's own clock, in epoch milliseconds; by ours where it sent no `Date`.
 *
 * @since 0.1.0
 * @category getters
 */
export const serverTime = (answer: Answer): number => Option.getOrElse(date(answer), () => answer.receivedAt)

/** A clock that is further off, 5 minutes, is taken to be off by that. */
const furthest = 300_000

/**
 * How far the server's clock is from ours by its `Date`, in milliseconds: as much as is certain, whatever the
 * answer took, and nothing below the second in which a `Date` is written. Bounded, and 0 where it sent none.
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

/** Codes with which a server says that it could not now, whatever the status. */
const transientCodes = new Set(["temporarily_unavailable", "server_error", "slow_down", "use_dpop_nonce"])

/**
 * What one server's errors mean, where it says so in its own way.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorSettings {
  /** Error codes that end a grant with this server, beside `invalid_grant`. */
  readonly deadCodes?: ReadonlyArray<string> | undefined
  /**
   * The meaning of an answer that the server does not put in the words of RFC 6749 §5.2; none leaves it to the
   * standard. It is asked first, of success answers without an access token too. See `ErrorRule.matching`.
   */
  readonly adaptError?: ((answer: ErrorAnswer) => Option.Option<Meaning>) | undefined
}

/**
 * What an error answer means, in the words of the lattice.
 *
 * - what the settings say of it comes first;
 * - `invalid_grant`, the codes in `deadCodes` and those that ask for the user (OpenID Connect Core §3.1.2.6) end a
 *   grant, below 500;
 * - 408, 425, 429, a 5xx with an OAuth error, and the transient codes ask to come back;
 * - any other OAuth error, a redirect and any other 4xx is configuration;
 * - a 5xx without an OAuth error says nothing of what became of the request.
 *
 * The server's reason is in the message, cut, escaped and masked; a page of HTML is not.
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
  // A code that we know is no secret, however long.
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
 * What the settings say of an answer; none where they say nothing, or fail.
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
 * The server's reason in a body that is no OAuth error: the message of a JSON object (RFC 9457 and others), or a
 * sentence; not a page. It is not yet cut, escaped and masked: `quote` of the answer does that.
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
 * The answer was a success, but not what is due: `what` names it and `problem` says why.
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
