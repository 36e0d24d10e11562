/**
 * What an authorization server answered: status, headers, text. And what it means when it is an error.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { fieldsOf } from "./internal/form.js"
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
      return Either.left("is JSON, but no object")
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
 * The `error` code and its description (RFC 6749 §5.2). An `error` that is an object with a `code` or
 * `type`, as some servers answer, is read too.
 *
 * @since 0.1.0
 * @category getters
 */
export const oauthError = (
  body: Readonly<Record<string, unknown>>
): Option.Option<{ readonly code: string; readonly description: Option.Option<string> }> => {
  const { error } = body
  const nested = typeof error === "object" && error !== null ? (error as Record<string, unknown>) : undefined
  const code = [error, nested?.["code"], nested?.["type"]].find(isText)
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
 * What an error answer means, in the words of the lattice.
 *
 * - `invalid_grant` and the codes in `deadCodes` end a grant, below 500;
 * - 408, 425, 429, a 5xx with an OAuth error, and the transient codes ask to come back;
 * - any other OAuth error, a redirect and any other 4xx is configuration;
 * - a 5xx without an OAuth error says nothing of what became of the request.
 *
 * @since 0.1.0
 * @category classification
 */
export const toError = (answer: Answer, deadCodes: ReadonlyArray<string> = []): OAuthError => {
  const body = Either.getOrElse(json(answer), () => ({}))
  const wait = retryAfter(answer)
  const fail = (reason: OAuthError["reason"], message: string, code?: string) =>
    new OAuthError({
      reason,
      message,
      endpoint: answer.endpoint,
      status: answer.status,
      ...(code !== undefined && { oauthError: code }),
      ...(Option.isSome(wait) && { retryAfter: wait.value })
    })

  return Option.match(oauthError(body), {
    onNone: () => withoutCode(answer, fail),
    onSome: ({ code, description }) => {
      const safeCode = answer.quote(code)
      const said = `${answer.endpoint} answered ${answer.status} ${safeCode}${Option.match(description, {
        onNone: () => "",
        onSome: (text) => ` (${answer.quote(text)})`
      })}`
      if (answer.status >= 500 || answer.status === 429 || transientCodes.has(code)) {
        return fail("Transient", `${said}: it cannot now; try again later.`, safeCode)
      }
      return code === "invalid_grant" || deadCodes.includes(code)
        ? fail("GrantDead", `${said}: the grant has ended.`, safeCode)
        : fail("Misconfigured", `${said}: ${adviceOf(code)}.`, safeCode)
    }
  })
}

const adviceOf = (code: string): string =>
  code === "invalid_scope"
    ? "it does not grant these scopes: send fewer or none, or log in again for more"
    : "check the client, its authentication and what it asks for"

const withoutCode = (
  answer: Answer,
  fail: (reason: OAuthError["reason"], message: string) => OAuthError
): OAuthError => {
  const said = `${answer.endpoint} answered ${answer.status} without an OAuth error`
  if (answer.status === 408 || answer.status === 425 || answer.status === 429) {
    return fail("Transient", `${said}: it cannot now; try again later.`)
  }
  return answer.status >= 500
    ? fail("MaybeSent", `${said}: whether it did what it was asked is unknown.`)
    : fail("Misconfigured", `${said}: check that this is the right endpoint.`)
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
    message: `${answer.endpoint} answered ${answer.status}, but its ${what} ${problem}; report it to whoever runs the server.`,
    endpoint: answer.endpoint,
    status: answer.status
  })
