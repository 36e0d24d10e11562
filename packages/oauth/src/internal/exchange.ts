import type * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import type { TokenError } from "@latchkey/core/TokenError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { Observing } from "@latchkey/core/internal-api"
import * as Answer from "../Answer.js"
import * as Endpoint from "../Endpoint.js"
import { OAuthError } from "../OAuthError.js"
import * as Body from "./body.js"
import * as Coding from "./coding.js"
import { secretsOf, toRequest, type Outgoing } from "./outgoing.js"
import { quote } from "./text.js"
import * as TokenErrors from "./tokenErrors.js"
import { transportFailure, type TransportFailure } from "./transport.js"

const maxBytes = 1024 * 1024

/**
 * One request in progress. Its scope is in the context that it runs with. Closing the scope closes the
 * connection.
 */
export interface Exchange {
  /**
   * Sends it and reads the response. Fails if there was none. A response that broke off or is too large is
   * returned as far as it came, with the reason in `cut`, because it may hold a new refresh token.
   */
  readonly run: Effect.Effect<Answer.Answer, OAuthError, Scope.Scope>
  /** Returns what has arrived of the response when the time is up. */
  readonly timedOut: Effect.Effect<Answer.Answer, OAuthError>
}

/** An endpoint with its description, which is used for every request. */
export interface Target {
  readonly url: string
  /** Without its query, for errors and spans. */
  readonly endpoint: string
  /** The platform's attributes of a request, but without its query and headers. */
  readonly attributes: Readonly<Record<string, unknown>>
  /** Why nothing may be sent there. */
  readonly refused: OAuthError | undefined
}

export const target = (url: string, method: string): Target => {
  const endpoint = Endpoint.display(url)
  return Either.match(Endpoint.check(endpoint, url), {
    onLeft: (error) => {
      const message = `${error.message}; nothing was sent.`
      return {
        url,
        endpoint,
        attributes: {},
        refused: new OAuthError({ reason: "Misconfigured", endpoint, message })
      }
    },
    onRight: ({ origin, pathname, port, protocol }) => ({
      url,
      endpoint,
      attributes: {
        "http.request.method": method,
        "server.address": origin,
        ...(port !== "" && { "server.port": Number(port) }),
        "url.full": endpoint,
        "url.path": pathname,
        "url.scheme": protocol.slice(0, -1)
      },
      refused: undefined
    })
  })
}

export const make = (
  client: HttpClient.HttpClient.With<HttpClientError, Scope.Scope>,
  timeout: Duration.Duration,
  { attributes, endpoint, refused, url }: Target,
  outgoing: Outgoing,
  /** Called once the response has begun to arrive. */
  onHead: () => void
): Exchange => {
  const chunks: Array<Uint8Array> = []
  let head: Head | undefined
  const answer = ({ headers, status }: Head, cut: OAuthError | undefined) =>
    Effect.clockWith((clock) => {
      const receivedAt = clock.unsafeCurrentTimeMillis()
      const secrets = () => secretsOf(outgoing)
      const of = (bytes: Uint8Array, why: OAuthError | undefined) =>
        Answer.make({ endpoint, status, headers, text: Coding.textOf(bytes), cut: why, receivedAt, secrets })
      const bytes = Coding.concat(chunks)
      const coding = headers["content-encoding"]
      if (!Coding.isCoded(bytes, coding)) return Effect.succeed(of(bytes, cut))
      return Effect.map(
        Effect.promise(() => Coding.decode(bytes, coding, maxBytes)),
        (decoded) => of(decoded.bytes, cut ?? undecoded(endpoint, status, decoded.problem))
      )
    })
  const read = (response: HttpClientResponse) => {
    if (isRedirect(response, url)) return Effect.fail(redirected(endpoint, response.status))
    const received = { status: response.status, headers: response.headers }
    head = received
    onHead()
    const whatCame = (cut: OAuthError | undefined) => answer(received, cut)
    return readBody(endpoint, response, received.headers, chunks, whatCame)
  }
  const sent = traced(`http.client ${outgoing.method}`, attributes, (span) =>
    Effect.matchEffect(client.execute(toRequest(url, outgoing)), {
      onFailure: (error) => Effect.fail(noAnswer(endpoint, error)),
      onSuccess: (response) => {
        span?.attribute("http.response.status_code", response.status)
        return read(response)
      }
    })
  )
  return {
    run: refused === undefined ? sent : Effect.fail(refused),
    timedOut: Effect.suspend(() => {
      const cut = tooSlow(endpoint, timeout)
      return head === undefined ? Effect.fail(cut) : answer(head, cut)
    })
  }
}

/** The part that arrives before the body. */
type Head = Pick<Answer.Answer, "status" | "headers">

/**
 * Runs in a span like the platform's own, which is left out (`currentTracerDisabledWhen`) because its result
 * is the request and the response, both with the secrets. This span has no result.
 */
const traced = <A, E, R>(
  name: string,
  attributes: Target["attributes"],
  body: (span: Tracer.Span | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Observing.withFiber((fiber) => {
    if (!Observing.isTraced(fiber)) return body(undefined)
    let result: A
    return Effect.map(
      Effect.useSpan(name, { kind: "client", captureStackTrace: false, attributes }, (span) =>
        Effect.map(body(span), (value) => {
          result = value
        })
      ),
      () => result
    )
  })

/** A browser's `fetch` returns 0 for a redirect that it did not follow. */
const isRedirect = (response: HttpClientResponse, url: string): boolean =>
  response.status === 0 ||
  (response.status >= 300 && response.status < 400) ||
  (response.request.url !== url && Endpoint.display(response.request.url) !== Endpoint.display(url))

const redirected = (endpoint: string, status: number): OAuthError =>
  new OAuthError({
    reason: "Misconfigured",
    endpoint,
    status,
    message: `${endpoint} redirects, and Latchkey does not follow a redirect with a secret: set the final URL.`
  })

/**
 * Reads into `chunks`. `then` receives the reason if it stopped early. The client would be faster without
 * chunks. But it would return nothing of a response that breaks off, and a new refresh token may be in it.
 */
const readBody = (
  endpoint: string,
  response: HttpClientResponse,
  headers: Head["headers"],
  chunks: Array<Uint8Array>,
  then: (cut: OAuthError | undefined) => Effect.Effect<Answer.Answer>
): Effect.Effect<Answer.Answer> => {
  let left = maxBytes
  const take = (chunk: Uint8Array): boolean => {
    chunks.push(chunk.length > left ? chunk.subarray(0, left) : chunk)
    left -= chunk.length
    return left >= 0
  }
  return Effect.matchEffect(Body.read(response, headers, take), {
    onFailure: (error) => then(error.reason === "EmptyBody" ? undefined : noAnswer(endpoint, error)),
    onSuccess: (isWhole) => then(isWhole ? undefined : tooLarge(endpoint, response.status))
  })
}

const noAnswer = (endpoint: string, error: HttpClientError): OAuthError => {
  if (error._tag === "RequestError" && TokenErrors.is(error.cause)) return tokenWanted(endpoint, error.cause)
  const failure = transportFailure(error)
  return failure.sent === "no"
    ? unanswered(
        endpoint,
        failure,
        "could not be reached",
        "nothing was sent; check the network and try again."
      )
    : unanswered(endpoint, failure, "broke off", "whether the server processed the request is unknown.")
}

/** The client of a login or a refresher needs a token from a manager, in order to get a token. */
const tokenWanted = (endpoint: string, error: TokenError): OAuthError =>
  new OAuthError({
    reason: "Misconfigured",
    endpoint,
    message: `${endpoint} was not called: the HttpClient in use needs a token itself, and there was none. Give the plain HttpClient to logins and refreshers, and keep the bearer client under its own tag. (${error.message})`
  })

const tooSlow = (endpoint: string, timeout: Duration.Duration): OAuthError =>
  unanswered(
    endpoint,
    { sent: "maybe", code: undefined },
    `took longer than ${Duration.format(timeout)}`,
    "whether the server processed the request is unknown."
  )

const unanswered = (
  endpoint: string,
  { sent, code }: TransportFailure,
  what: string,
  so: string
): OAuthError =>
  new OAuthError({
    reason: sent === "no" ? "NotSent" : "MaybeSent",
    endpoint,
    message: `${endpoint} ${what}${code === undefined ? "" : ` (${code})`}: ${so}`,
    ...(code !== undefined && { code })
  })

const tooLarge = (endpoint: string, status: number): OAuthError =>
  new OAuthError({
    reason: "Malformed",
    endpoint,
    status,
    message: `${endpoint} answered ${status} with more than 1 MiB, of which the rest was not read; check that this is the right endpoint.`
  })

const undecoded = (
  endpoint: string,
  status: number,
  problem: Coding.Decoded["problem"]
): OAuthError | undefined => {
  if (problem === undefined) return undefined
  if (problem._tag === "TooLarge") return tooLarge(endpoint, status)
  const coding = quote(problem.coding, [])
  const what =
    problem._tag === "Broken"
      ? `a body whose content coding ${coding} is broken`
      : `the content coding ${coding}, which Latchkey cannot decode`
  return new OAuthError({
    reason: "Malformed",
    endpoint,
    status,
    message: `${endpoint} answered ${status} with ${what}; Latchkey asked for a body without a content coding: report this to the operator of the server.`,
    code: Coding.undecodable
  })
}
