/** A response without the token that its request was sent with. */
import * as Headers from "@effect/platform/Headers"
import { isHttpClientError, RequestError, ResponseError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Stream from "effect/Stream"
import { withoutSecrets } from "./text.js"
import { transportFailure } from "./transport.js"

/** The secrets of a request, which must never be shown. */
export type Secrets = ReadonlyArray<string>

/**
 * Returns the response as one to `request`, the request that the caller passed. Everything that can lead to
 * the request as it was sent is replaced, including errors of the body.
 */
export const hide = (
  response: HttpClientResponse.HttpClientResponse,
  request: HttpClientRequest,
  secrets: Secrets
): HttpClientResponse.HttpClientResponse => new RedactedResponse(response, request, secrets)

/**
 * Returns an error as one about `request`. Its cause belongs to the client and may hold the request too, so
 * only its code remains.
 */
export const hideError = <E>(
  error: E,
  request: HttpClientRequest,
  secrets: Secrets
): E | RequestError | ResponseError => {
  if (!isHttpClientError(error)) return error
  const code =
    error._tag === "RequestError" && error.reason === "Transport" ? transportFailure(error).code : undefined
  const told = error.description ?? code
  const description = told === undefined ? undefined : withoutSecrets(told, secrets)
  const said = description === undefined ? {} : { description }
  const cause = code === undefined ? {} : { cause: { code } }
  return error._tag === "RequestError"
    ? new RequestError({ request, reason: error.reason, ...said, ...cause })
    : new ResponseError({
        request,
        response: hide(error.response, request, secrets),
        reason: error.reason,
        ...said,
        ...cause
      })
}

class RedactedResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly #response: HttpClientResponse.HttpClientResponse
  readonly #secrets: Secrets

  constructor(
    response: HttpClientResponse.HttpClientResponse,
    readonly request: HttpClientRequest,
    secrets: Secrets
  ) {
    super()
    this.#response = response
    this.#secrets = secrets
  }

  get status() {
    return this.#response.status
  }
  get headers() {
    return this.#response.headers
  }
  get cookies() {
    return this.#response.cookies
  }
  get remoteAddress() {
    return this.#response.remoteAddress
  }
  get text() {
    return this.clean(this.#response.text)
  }
  get json() {
    return this.clean(this.#response.json)
  }
  get urlParamsBody() {
    return this.clean(this.#response.urlParamsBody)
  }
  get formData() {
    return this.clean(this.#response.formData)
  }
  get arrayBuffer() {
    return this.clean(this.#response.arrayBuffer)
  }
  get stream() {
    return Stream.mapError(this.#response.stream, (error) => this.cleanError(error))
  }

  /**
   * Without its body, which the platform would show, and with its headers masked, because a server may echo
   * the secret. A program that reads `headers` itself gets them as the server sent them.
   */
  toJSON(): unknown {
    return {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status,
      headers: masked(this.headers, this.#secrets)
    }
  }

  private clean<A>(effect: Effect.Effect<A, ResponseError>): Effect.Effect<A, ResponseError> {
    return Effect.mapError(effect, (error) => this.cleanError(error))
  }

  private cleanError({ description, reason }: ResponseError): ResponseError {
    return new ResponseError({
      request: this.request,
      response: this,
      reason,
      ...(description !== undefined && { description: withoutSecrets(description, this.#secrets) })
    })
  }
}

const masked = (headers: HttpClientResponse.HttpClientResponse["headers"], secrets: Secrets): unknown =>
  Inspectable.redact(
    Headers.fromInput(
      Object.entries(headers).map(([name, value]): [string, string] => [
        withoutSecrets(name, secrets),
        withoutSecrets(value, secrets)
      ])
    )
  )
