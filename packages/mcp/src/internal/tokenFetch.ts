/** A `fetch` with the exchange of `McpClient`: the client sends each request with the `fetch` that the program gave. */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Service } from "../McpAuth.js"
import * as McpClient from "../McpClient.js"
import type { Run } from "./run.js"

/**
 * The type of `fetch` in the SDK's transports.
 *
 * @since 0.1.0
 * @category models
 */
export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>

export const make = (auth: Service, run: Run, send: Fetch): Effect.Effect<Fetch> =>
  Effect.map(McpClient.transform(auth), (wrap): Fetch => async (url, init) => {
    const { href, origin } = new URL(url)
    if (origin !== auth.serverUrl.origin) return send(url, init)
    const exchange = Effect.suspend(() => {
      let last = Response.error()
      const client = HttpClient.makeWith(
        (request: Effect.Effect<HttpClientRequest.HttpClientRequest>) =>
          Effect.flatMap(request, (ready) =>
            Effect.map(
              Effect.tryPromise({
                try: () => send(url, { ...init, headers: headersOf(init, ready) }),
                catch: (error) => error
              }),
              (response) => {
                last = response
                return HttpClientResponse.fromWeb(ready, response)
              }
            )
          ),
        Effect.succeed
      )
      const request = HttpClientRequest.make((init?.method ?? "GET") as HttpMethod)(href, {
        body: bodyOf(init)
      })
      return Effect.map(
        // The program decides which other headers a request carries.
        Effect.locally(wrap(client).execute(request), HttpClient.currentTracerPropagation, false),
        () => last
      )
    })
    return run(exchange, init?.signal)
  })

/** Adds the token of the login. Removes a token that the program set itself. */
const headersOf = (init: RequestInit | undefined, request: HttpClientRequest.HttpClientRequest): Headers => {
  const headers = new Headers(init?.headers)
  for (const name of ["authorization", "dpop"]) {
    const value = request.headers[name]
    if (value === undefined) headers.delete(name)
    else headers.set(name, value)
  }
  return headers
}

/** The client needs to know only whether the body can be sent again. */
const bodyOf = (init: RequestInit | undefined): HttpBody.HttpBody =>
  init?.body instanceof ReadableStream ? HttpBody.stream(Stream.empty) : HttpBody.empty
