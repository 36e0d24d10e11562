/**
 * Faults of one request to the hostile server: on its way, at the server, or in the response.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"

/**
 * A response as it is sent. Names of headers are in lower case.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Where in the body the connection is reset, in characters. A negative number counts from its end. */
  readonly breaksOffAt?: number
}

/**
 * What the client sees.
 *
 * - A reply: a response.
 * - `Refused`: no connection at all.
 * - `Reset`: a connection that ends without a response.
 * - `Silence`: nothing, ever.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = Reply | "Refused" | "Reset" | "Silence"

/**
 * One fault. A request takes `requestDelay` to arrive. If `processed`, it is then carried out. The client
 * sees the outcome `answerDelay` later. A client that gives up does not take its request back: the request is
 * carried out anyway.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fault {
  /** For logs and the names of tests. */
  readonly name: string
  /** In milliseconds, in addition to the server's latency. The same holds for `answerDelay`. */
  readonly requestDelay: number
  readonly answerDelay: number
  readonly processed: boolean
  /** Makes the outcome from an honest response (an empty 503 if the request was not processed). */
  readonly answer: (honest: Reply, context: AnswerContext) => Outcome
}

/**
 * What a response may depend on: the time by the server's own clock, in epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface AnswerContext {
  readonly serverTime: number
}

/**
 * Creates a fault from its parts. Default: processed, without delay, with the honest response.
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
 * Nothing goes wrong. For the places between faults in a plan.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Fault = make("none")

/**
 * Returns the same fault, slower.
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
 * The connection is reset before the server did anything. The client cannot distinguish it from
 * {@link lostAnswer}.
 *
 * @since 0.1.0
 * @category lost
 */
export const lostRequest: Fault = make("lost request", { processed: false, answer: () => "Reset" })

/**
 * The server carried out the request, and the connection is reset before its response.
 *
 * @since 0.1.0
 * @category lost
 */
export const lostAnswer: Fault = make("lost answer", { answer: () => "Reset" })

/**
 * No response ever comes. `processed` says whether the server carried out the request.
 *
 * @since 0.1.0
 * @category lost
 */
export const silence = (processed = true): Fault =>
  make(processed ? "silence after processing" : "silence", { processed, answer: () => "Silence" })

/**
 * An error response. Without `error` its body is an HTML page, as a gateway sends it.
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
 * A redirect. A client that follows it would repeat its secret elsewhere. Default: not processed.
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
 * At a protected resource: 401 `invalid_token`, even if the token is good (RFC 6750 §3.1).
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
 * Replaces the response's body. `rewrite` receives the honest one.
 *
 * @since 0.1.0
 * @category bodies
 */
export const body = (name: string, rewrite: (honest: string) => string): Fault =>
  make(name, { answer: (honest) => ({ ...honest, body: rewrite(honest.body) }) })

/**
 * Replaces fields in the response, if it is JSON. A field that is `undefined` is left out.
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
 * The response without these fields.
 *
 * @since 0.1.0
 * @category bodies
 */
export const without = (...names: ReadonlyArray<string>): Fault =>
  fields(`without ${names.join(", ")}`, (honest) =>
    Object.fromEntries(Object.entries(honest).filter(([name]) => !names.includes(name)))
  )

/**
 * The response with these fields, which replace its own or are added.
 *
 * @since 0.1.0
 * @category bodies
 */
export const withFields = (other: Readonly<Record<string, unknown>>): Fault =>
  fields(`with ${JSON.stringify(other)}`, (honest) => ({ ...honest, ...other }))

/**
 * 200 with only an OAuth error in it, although the server carried out the request.
 *
 * @since 0.1.0
 * @category bodies
 */
export const errorWith200 = (error: string): Fault =>
  make(`200 ${error}`, { answer: () => json(200, { error }) })

/**
 * The body ends after this many characters (negative counts from its end), as if it were complete.
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
 * More than 1 MiB, by white space before or after the response's own text.
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
 * A JSON response.
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
