/** A response without the token that its request was sent with. */
import * as Headers from "@effect/platform/Headers"
import { isHttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Stream from "effect/Stream"
import * as Http from "../edition/Http.js"
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
): E | Http.RequestFailure | Http.ResponseFailure => {
  if (!isHttpClientError(error)) return error
  return Http.match(error, {
    onRequest: (kind) => {
      const code = kind === "Transport" ? transportFailure(error).code : undefined
      const details = described(Http.descriptionOf(error) ?? code, secrets)
      return Http.requestError(request, kind, { ...details, ...(code !== undefined && { cause: { code } }) })
    },
    onResponse: (kind, response) => {
      const details = described(Http.descriptionOf(error), secrets)
      return Http.responseError(request, hide(response, request, secrets), kind, details)
    }
  })
}

const described = (description: string | undefined, secrets: Secrets): Http.Details =>
  description === undefined ? {} : { description: withoutSecrets(description, secrets) }

class RedactedResponse extends Http.DerivedResponse implements HttpClientResponse.HttpClientResponse {
  readonly #response: HttpClientResponse.HttpClientResponse
  readonly #secrets: Secrets

  constructor(response: HttpClientResponse.HttpClientResponse, request: HttpClientRequest, secrets: Secrets) {
    super(response, request)
    this.#response = response
    this.#secrets = secrets
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

  private clean<A>(effect: Effect.Effect<A, Http.ResponseFailure>): Effect.Effect<A, Http.ResponseFailure> {
    return Effect.mapError(effect, (error) => this.cleanError(error))
  }

  private cleanError(error: Http.ResponseFailure): Http.ResponseFailure {
    const details = described(Http.descriptionOf(error), this.#secrets)
    return Http.responseError(this.request, this, Http.responseKindOf(error), details)
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
