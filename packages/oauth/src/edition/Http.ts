/** Failures and answers of HTTP clients: each edition of Effect has its own errors, and another list of what an answer has. */
import type { HttpClientError } from "@effect/platform/HttpClientError"
import { RequestError, ResponseError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as Inspectable from "effect/Inspectable"

/** A request that brought no answer. */
export type RequestFailure = RequestError

/** An answer that is of no use. */
export type ResponseFailure = ResponseError

export type RequestKind = "Transport" | "Encode" | "InvalidUrl"

export type ResponseKind = "StatusCode" | "Decode" | "EmptyBody"

/** What else a failure holds. */
export interface Details {
  readonly description?: string
  readonly cause?: unknown
}

export const requestError = (
  request: HttpClientRequest,
  reason: RequestKind,
  details: Details
): RequestFailure => new RequestError({ request, reason, ...details })

export const responseError = (
  request: HttpClientRequest,
  response: HttpClientResponse.HttpClientResponse,
  reason: ResponseKind,
  details: Details
): ResponseFailure => new ResponseError({ request, response, reason, ...details })

export const match = <A, B>(
  error: HttpClientError,
  cases: {
    readonly onRequest: (kind: RequestKind) => A
    readonly onResponse: (kind: ResponseKind, response: HttpClientResponse.HttpClientResponse) => B
  }
): A | B =>
  error._tag === "RequestError"
    ? cases.onRequest(error.reason)
    : cases.onResponse(error.reason, error.response)

export const responseKindOf = ({ reason }: ResponseFailure): ResponseKind => reason

export const descriptionOf = ({ description }: HttpClientError): string | undefined => description

/** What the JSON of an answer is, as far as the platform knows. */
export type Json = unknown

/** An answer made of another: its head is the other's, and its body is up to the class. */
export abstract class DerivedResponse extends Inspectable.Class {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly #original: HttpClientResponse.HttpClientResponse

  constructor(
    original: HttpClientResponse.HttpClientResponse,
    readonly request: HttpClientRequest
  ) {
    super()
    this.#original = original
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
}
