/** Failures and answers of HTTP clients: each edition of Effect has its own errors, and another list of what an answer has. */
import * as Effect from "effect/Effect"
import * as HttpClientError from "effect/http/HttpClientError"
import type { HttpClientRequest } from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as Inspectable from "effect/Inspectable"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import type * as Schema from "effect/Schema"
import type * as Socket from "effect/socket/Socket"

/** A request that brought no answer. */
export type RequestFailure = HttpClientError.HttpClientError

/** An answer that is of no use. */
export type ResponseFailure = HttpClientError.HttpClientError

export type RequestKind = "Transport" | "Encode" | "InvalidUrl"

export type ResponseKind = "StatusCode" | "Decode" | "EmptyBody"

/** What else a failure holds. */
export interface Details {
  readonly description?: string
  readonly cause?: unknown
}

const requestReasons = {
  Transport: HttpClientError.TransportError,
  Encode: HttpClientError.EncodeError,
  InvalidUrl: HttpClientError.InvalidUrlError
}

const responseReasons = {
  StatusCode: HttpClientError.StatusCodeError,
  Decode: HttpClientError.DecodeError,
  EmptyBody: HttpClientError.EmptyBodyError
}

export const requestError = (
  request: HttpClientRequest,
  kind: RequestKind,
  details: Details
): RequestFailure =>
  new HttpClientError.HttpClientError({ reason: new requestReasons[kind]({ request, ...details }) })

export const responseError = (
  request: HttpClientRequest,
  response: HttpClientResponse.HttpClientResponse,
  kind: ResponseKind,
  details: Details
): ResponseFailure =>
  new HttpClientError.HttpClientError({
    reason: new responseReasons[kind]({ request, response, ...details })
  })

const requestKinds = {
  TransportError: "Transport",
  EncodeError: "Encode",
  InvalidUrlError: "InvalidUrl"
} as const

const responseKinds = {
  StatusCodeError: "StatusCode",
  DecodeError: "Decode",
  EmptyBodyError: "EmptyBody"
} as const

export const match = <A, B>(
  { reason }: HttpClientError.HttpClientError,
  cases: {
    readonly onRequest: (kind: RequestKind) => A
    readonly onResponse: (kind: ResponseKind, response: HttpClientResponse.HttpClientResponse) => B
  }
): A | B =>
  "response" in reason
    ? cases.onResponse(responseKinds[reason._tag], reason.response)
    : cases.onRequest(requestKinds[reason._tag])

export const responseKindOf = (error: ResponseFailure): ResponseKind =>
  match(error, { onRequest: () => "Decode", onResponse: (kind) => kind })

export const descriptionOf = ({ reason }: HttpClientError.HttpClientError): string | undefined =>
  reason.description

/** What the JSON of an answer is, as far as the platform knows. */
export type Json = Schema.Json

/** An answer made of another: its head is the other's, and its body is up to the class. */
export abstract class DerivedResponse extends Inspectable.Class implements Pipeable {
  readonly [HttpIncomingMessage.TypeId] = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId] = HttpClientResponse.TypeId
  readonly #original: HttpClientResponse.HttpClientResponse

  constructor(
    original: HttpClientResponse.HttpClientResponse,
    readonly request: HttpClientRequest
  ) {
    super()
    this.#original = original
  }

  get url() {
    return this.#original.url
  }
  get status() {
    return this.#original.status
  }
  get headers() {
    return this.#original.headers
  }
  get cookies() {
    return this.#original.cookies
  }
  get remoteAddress() {
    return this.#original.remoteAddress
  }
  /** An error of the other would hold its request. */
  get upgrade(): Effect.Effect<Socket.Socket, RequestFailure> {
    return Effect.mapError(this.#original.upgrade, () =>
      requestError(this.request, "Transport", { description: "the connection could not be upgraded" })
    )
  }

  pipe() {
    return pipeArguments(this, arguments)
  }
}
