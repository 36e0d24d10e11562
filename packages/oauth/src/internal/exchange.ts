import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError, ResponseError } from "@effect/platform/HttpClientError"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Answer from "../Answer.js"
import * as Endpoint from "../Endpoint.js"
import { OAuthError } from "../OAuthError.js"
import { transportFailure, type TransportFailure } from "./transport.js"

/** What a request to be sent looks like, as `fetch` takes it. */
export interface Outgoing {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | URLSearchParams | undefined
  readonly asJson: boolean
}

const maxBytes = 1024 * 1024

/**
 * One request and its answer. It fails where there was no answer; an answer that broke off, was too slow
 * or too large is given as far as it came, with the reason in `cut`: a new refresh token may be in it.
 */
export const exchange = (
  client: HttpClient.HttpClient,
  timeout: Duration.Duration,
  url: string,
  outgoing: Outgoing
): Effect.Effect<Answer.Answer, OAuthError> =>
  Effect.suspend(() => {
    const endpoint = Endpoint.display(url)
    const checked = Endpoint.check(endpoint, url)
    if (Either.isLeft(checked)) {
      const message = `${checked.left.message}; nothing was sent.`
      return Effect.fail(new OAuthError({ reason: "Misconfigured", endpoint, message }))
    }
    const secrets = secretsOf(outgoing)
    const chunks: Array<Uint8Array> = []
    let head: HttpClientResponse | undefined
    const answer = (status: number, headers: Readonly<Record<string, string>>, cut: OAuthError | undefined) =>
      Effect.map(Clock.currentTimeMillis, (receivedAt) =>
        Answer.make({ endpoint, status, headers, text: decode(chunks), cut, receivedAt, secrets })
      )
    return client.execute(toRequest(url, outgoing)).pipe(
      Effect.mapError((error) => noAnswer(endpoint, error)),
      Effect.flatMap((response) => {
        if (isRedirect(response, url)) return Effect.fail(redirected(endpoint, response.status))
        head = response
        return readBody(endpoint, response, chunks)
      }),
      // A client that cannot be interrupted must not hold the caller beyond the time-out.
      Effect.disconnect,
      Effect.timeoutOption(timeout),
      Effect.flatMap((end) => {
        const cut = Option.getOrElse(end, () => tooSlow(endpoint, timeout))
        if (head !== undefined) return answer(head.status, head.headers, cut)
        return Effect.fail(cut ?? tooSlow(endpoint, timeout))
      })
    )
  })

const toRequest = (url: string, outgoing: Outgoing): HttpClientRequest.HttpClientRequest => {
  const body =
    outgoing.body instanceof URLSearchParams && outgoing.asJson ? toJson(outgoing.body) : outgoing.body
  const contentType = outgoing.asJson ? "application/json" : outgoing.headers["content-type"]
  return HttpClientRequest.make(outgoing.method as HttpMethod)(url, {
    headers: outgoing.headers,
    ...(body !== undefined && { body: hiddenBody(String(body), contentType) })
  })
}

const toJson = (form: URLSearchParams): string =>
  JSON.stringify(
    Object.fromEntries(
      [...new Set(form.keys())].map((name) => {
        const values = form.getAll(name)
        return [name, values.length === 1 ? values[0] : values]
      })
    )
  )

/** The platform shows a JSON or text body when a request is inspected, as it is inside a failed span. */
const hiddenBody = (text: string, contentType: string | undefined): HttpBody.HttpBody => {
  const hidden = () => ({ _id: "@effect/platform/HttpBody", _tag: "Uint8Array", body: "<redacted>" })
  return Object.assign(HttpBody.text(text, contentType), { toJSON: hidden })
}

/** What the server knows by itself and may say in an error. */
const publicParameters = new Set([
  "grant_type",
  "client_id",
  "scope",
  "resource",
  "audience",
  "redirect_uri",
  "client_assertion_type",
  "token_type_hint",
  "subject_token_type",
  "actor_token_type",
  "requested_token_type"
])

const secretsOf = ({ body, headers }: Outgoing): ReadonlyArray<string> => {
  const authorization = headers["authorization"]?.replace(/^\S+\s+/, "")
  return [
    ...(authorization === undefined ? [] : [authorization]),
    ...(body instanceof URLSearchParams
      ? [...body].filter(([name]) => !publicParameters.has(name)).map(([, value]) => value)
      : [])
  ]
}

/** 0 is what a browser's `fetch` gives for a redirect that it did not follow. */
const isRedirect = (response: HttpClientResponse, url: string): boolean =>
  response.status === 0 ||
  (response.status >= 300 && response.status < 400) ||
  Endpoint.display(response.request.url) !== Endpoint.display(url)

const redirected = (endpoint: string, status: number): OAuthError =>
  new OAuthError({
    reason: "Misconfigured",
    endpoint,
    status,
    message: `${endpoint} redirects, and a request with a secret is not redirected: set the final URL.`
  })

/** Reads into `chunks`; gives why it stopped short, if it did. */
const readBody = (
  endpoint: string,
  response: HttpClientResponse,
  chunks: Array<Uint8Array>
): Effect.Effect<OAuthError | undefined> => {
  let left = maxBytes
  const take = (chunk: Uint8Array): boolean => {
    chunks.push(chunk.length > left ? chunk.subarray(0, left) : chunk)
    left -= chunk.length
    return left >= 0
  }
  return Stream.runForEachWhile(response.stream, (chunk) => Effect.sync(() => take(chunk))).pipe(
    Effect.match({
      onFailure: (error: ResponseError) =>
        error.reason === "EmptyBody" ? undefined : noAnswer(endpoint, error),
      onSuccess: () => (left < 0 ? tooLarge(endpoint, response.status) : undefined)
    })
  )
}

const decode = (chunks: ReadonlyArray<Uint8Array>): string => {
  const decoder = new TextDecoder()
  return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode()
}

const noAnswer = (endpoint: string, error: HttpClientError): OAuthError => {
  const failure = transportFailure(error)
  return failure.sent === "no"
    ? unanswered(
        endpoint,
        failure,
        "could not be reached",
        "nothing was sent; check the network and try again."
      )
    : unanswered(endpoint, failure, "broke off", "whether the server did what it was asked is unknown.")
}

const tooSlow = (endpoint: string, timeout: Duration.Duration): OAuthError =>
  unanswered(
    endpoint,
    { sent: "maybe", code: undefined },
    `took longer than ${Duration.format(timeout)}`,
    "whether the server did what it was asked is unknown."
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
