/**
 * What can go wrong with one request to the hostile server: on its way, at the server, or with the answer.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"

/**
 * An answer as it goes out. Names of headers are in lower case.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Where in the body the connection is reset, in characters; negative counts from its end. */
  readonly breaksOffAt?: number
}

/**
 * What the client sees: an answer; `Refused`, no connection at all; `Reset`, a connection that ends without
 * an answer; `Silence`, nothing, ever.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = Reply | "Refused" | "Reset" | "Silence"

/**
 * One fault. A request takes `requestDelay` to arrive, is carried out then if `processed`, and what the
 * client sees comes `answerDelay` after. A client that gives up does not call its request back: it is
 * carried out all the same.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fault {
  /** For logs and the names of tests. */
  readonly name: string
  /** Milliseconds, on top of the server's latency; so is `answerDelay`. */
  readonly requestDelay: number
  readonly answerDelay: number
  readonly processed: boolean
  /** From the answer of an honest server (an empty 503 where the request was not processed). */
  readonly answer: (honest: Reply, context: AnswerContext) => Outcome
}

/**
 * What an answer may depend on: the time by the server's own clock, in epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface AnswerContext {
  readonly serverTime: number
}

/**
 * A fault from its parts: processed, without delay, honestly answered unless given.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (name: string, parts: Partial<Omit<Fault, "name">> = {}): Fault => ({
  name,
  requestDelay: parts.requestDelay ?? 0,
  answerDelay: parts.answerDelay ?? 0,
  processed: parts.processed ?? true,
  answer: parts.answer ?? ((honest) => honest)
})

/**
 * Nothing goes wrong: for the places between faults in a plan.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Fault = make("none")

/**
 * The same fault, slower.
 *
 * @since 0.1.0
 * @category combinators
 */
export const delayed = (
  fault: Fault,
  delays: { readonly request?: Duration.DurationInput; readonly answer?: Duration.DurationInput }
): Fault => ({
  name: [
    fault !== none && fault.name,
    delays.request !== undefined && "late request",
    delays.answer !== undefined && "late answer"
  ]
    .filter(Boolean)
    .join(", "),
  requestDelay: fault.requestDelay + Duration.toMillis(delays.request ?? 0),
  answerDelay: fault.answerDelay + Duration.toMillis(delays.answer ?? 0),
  processed: fault.processed,
  answer: fault.answer
})

/**
 * No connection (`ECONNREFUSED`): nothing was sent.
 *
 * @since 0.1.0
 * @category lost
 */
export const refused: Fault = make("connection refused", { processed: false, answer: () => "Refused" })

/**
 * The connection is reset before the server did anything; the client cannot tell it from
 * {@link lostAnswer}.
 *
 * @since 0.1.0
 * @category lost
 */
export const lostRequest: Fault = make("lost request", { processed: false, answer: () => "Reset" })

/**
 * The server did what it was asked, and the connection is reset before its answer.
 *
 * @since 0.1.0
 * @category lost
 */
export const lostAnswer: Fault = make("lost answer", { answer: () => "Reset" })

/**
 * Nothing comes back, ever; whether the server did what it was asked is up to `processed`.
 *
 * @since 0.1.0
 * @category lost
 */
export const silence = (processed = true): Fault =>
  make(processed ? "silence after processing" : "silence", { processed, answer: () => "Silence" })

/**
 * An error answer. Without `error` its body is an HTML page, as a gateway sends it.
 *
 * `retryAfter` is sent in seconds, or as a date by the server's clock.
 *
 * @since 0.1.0
 * @category answers
 */
export const status = (
  code: number,
  options: {
    readonly processed?: boolean
    readonly error?: string
    readonly description?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly retryAfter?: Duration.DurationInput
    readonly retryAfterAs?: "seconds" | "date"
  } = {}
): Fault =>
  make([code, options.error, options.processed === true && "after processing"].filter(Boolean).join(" "), {
    processed: options.processed ?? false,
    answer: (_, { serverTime }) => {
      const { error, description, retryAfter } = options
      const reply = error === undefined ? page(code) : json(code, { error, error_description: description })
      const wait = retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)
      return {
        ...reply,
        headers: {
          ...reply.headers,
          ...(wait !== undefined && { "retry-after": waitFor(wait, options.retryAfterAs, serverTime) }),
          ...options.headers
        }
      }
    }
  })

/**
 * 429 with `Retry-After`.
 *
 * @since 0.1.0
 * @category answers
 */
export const tooManyRequests = (
  wait: Duration.DurationInput,
  retryAfterAs: "seconds" | "date" = "seconds"
): Fault => status(429, { retryAfter: wait, retryAfterAs })

/**
 * A redirect, after which a client that follows would repeat its secret elsewhere. Not processed unless
 * said so.
 *
 * @since 0.1.0
 * @category answers
 */
export const redirect = (location: string, code = 307, processed = false): Fault =>
  make(`redirect ${code}`, {
    processed,
    answer: () => ({ status: code, headers: { location }, body: "" })
  })

/**
 * At a protected resource: 401 `invalid_token`, however good the token is (RFC 6750 §3.1).
 *
 * @since 0.1.0
 * @category answers
 */
export const invalidToken: Fault = status(401, {
  error: "invalid_token",
  headers: { "www-authenticate": 'Bearer error="invalid_token"' }
})

/**
 * At a protected resource: 403 `insufficient_scope`, which no refresh cures (RFC 6750 §3.1).
 *
 * @since 0.1.0
 * @category answers
 */
export const insufficientScope = (scope: string): Fault =>
  status(403, {
    error: "insufficient_scope",
    headers: { "www-authenticate": `Bearer error="insufficient_scope", scope="${scope}"` }
  })

/**
 * The answer's body in other words; `rewrite` gets the honest one.
 *
 * @since 0.1.0
 * @category bodies
 */
export const body = (name: string, rewrite: (honest: string) => string): Fault =>
  make(name, { answer: (honest) => ({ ...honest, body: rewrite(honest.body) }) })

/**
 * The answer's JSON with other fields, where it is JSON. What is `undefined` is left out.
 *
 * @since 0.1.0
 * @category bodies
 */
export const fields = (
  name: string,
  change: (honest: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>
): Fault =>
  make(name, {
    answer: (honest) =>
      honest.headers["content-type"] === "application/json"
        ? { ...honest, body: JSON.stringify(change(JSON.parse(honest.body) as Record<string, unknown>)) }
        : honest
  })

/**
 * The answer without these fields.
 *
 * @since 0.1.0
 * @category bodies
 */
export const without = (...names: ReadonlyArray<string>): Fault =>
  fields(`without ${names.join(", ")}`, (honest) =>
    Object.fromEntries(Object.entries(honest).filter(([name]) => !names.includes(name)))
  )

/**
 * The answer with these fields, instead of or beside its own.
 *
 * @since 0.1.0
 * @category bodies
 */
export const withFields = (other: Readonly<Record<string, unknown>>): Fault =>
  fields(`with ${JSON.stringify(other)}`, (honest) => ({ ...honest, ...other }))

/**
 * 200 with an OAuth error in it and nothing else, although the server did what it was asked.
 *
 * @since 0.1.0
 * @category bodies
 */
export const errorWith200 = (error: string): Fault =>
  make(`200 ${error}`, { answer: () => json(200, { error }) })

/**
 * The body ends after this many characters (negative counts from its end), as if that was all.
 *
 * @since 0.1.0
 * @category bodies
 */
export const truncated = (characters: number): Fault =>
  body(`truncated at ${characters}`, (honest) => honest.slice(0, characters))

/**
 * The connection is reset after this many characters of the body (negative counts from its end).
 *
 * @since 0.1.0
 * @category bodies
 */
export const brokenOff = (characters: number): Fault =>
  make(`broken off at ${characters}`, { answer: (honest) => ({ ...honest, breaksOffAt: characters }) })

/**
 * 200 with a web page: a captive portal, a maintenance page.
 *
 * @since 0.1.0
 * @category bodies
 */
export const html = (processed = false): Fault =>
  make(processed ? "web page after processing" : "web page", { processed, answer: () => page(200) })

/**
 * More than 1 MiB, by white space before or after the answer's own text.
 *
 * @since 0.1.0
 * @category bodies
 */
export const oversized = (padding: "before" | "after" = "after"): Fault =>
  body(`over 1 MiB, padded ${padding}`, (honest) =>
    padding === "before" ? " ".repeat(mebibyte) + honest : honest + " ".repeat(mebibyte)
  )

const mebibyte = 1024 * 1024

/**
 * A JSON answer.
 *
 * @since 0.1.0
 * @category replies
 */
export const json = (code: number, value: Readonly<Record<string, unknown>>): Reply => ({
  status: code,
  headers: { "content-type": "application/json", "cache-control": "no-store" },
  body: JSON.stringify(value)
})

const page = (code: number): Reply => ({
  status: code,
  headers: { "content-type": "text/html" },
  body: `<!doctype html><title>${code}</title><h1>Down for maintenance</h1>`
})

const waitFor = (wait: number, as: "seconds" | "date" | undefined, serverTime: number): string =>
  as === "date" ? new Date(serverTime + wait).toUTCString() : String(Math.ceil(wait / 1000))
