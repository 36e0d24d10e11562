/** Sends one request with a token: decides where it may go, and what of it may be seen afterwards. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { type HttpClientError, RequestError } from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as UrlParams from "@effect/platform/UrlParams"
import type { Credentials } from "@latchkey/core/Credentials"
import type { TokenError } from "@latchkey/core/TokenError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as DPoP from "../DPoP.js"
import * as BearerSpan from "./bearerSpan.js"
import * as BearerToken from "./bearerToken.js"
import { hide, hideError, type Secrets } from "./RedactedResponse.js"
import type * as ServerClock from "./serverClock.js"

export interface Sender {
  readonly origins: ReadonlySet<string>
  readonly nonces: DPoP.Nonces
  readonly clocks: ServerClock.ServerClocks
}

/** What a request was sent with. */
export interface Used {
  readonly credentials: Credentials
  readonly url: URL
}

/** A request with its response. `request` is the request without the token. */
export interface Sent {
  readonly response: HttpClientResponse
  readonly request: HttpClientRequest.HttpClientRequest
  readonly used: Option.Option<Used>
  /** Whether a signature for it was dated by another time than the server shows. */
  readonly wasMisdated: boolean
}

/** Sends with a token if the URL is of an allowed origin, and otherwise unchanged. */
export const send = <E, R>(
  sender: Sender,
  client: HttpClient.HttpClient.With<E, R>,
  given: HttpClientRequest.HttpClientRequest,
  credentials: Effect.Effect<Credentials, TokenError>
): Effect.Effect<Sent, E | HttpClientError | TokenError, R> =>
  Effect.suspend(() => {
    const sent: { request: HttpClientRequest.HttpClientRequest; used: Option.Option<Used> } = {
      request: given,
      used: Option.none()
    }
    let span: Option.Option<BearerSpan.Traced> = Option.none()
    let secrets: Secrets = []
    let requestedAt = 0
    // Runs after everything that the client itself does to a request, so its URL is the final one.
    const attach = (
      request: HttpClientRequest.HttpClientRequest
    ): Effect.Effect<HttpClientRequest.HttpClientRequest, RequestError | TokenError> =>
      Effect.gen(function* () {
        sent.request = request
        const url = UrlParams.makeUrl(request.url, request.urlParams, request.hash)
        if (Either.isLeft(url) || !sender.origins.has(url.right.origin)) return request
        const held = yield* credentials
        sent.used = Option.some({ credentials: held, url: url.right })
        const ready = yield* BearerToken.attach(held, request, url.right, sender)
        secrets = secretsOf(held, ready)
        requestedAt = yield* Clock.currentTimeMillis
        const traced = yield* BearerSpan.begin(request, url.right)
        span = Option.some(traced)
        return HttpClientRequest.setHeaders(ready, traced.headers)
      })
    const attaching = client.pipe(
      HttpClient.transform((effect: Effect.Effect<HttpClientResponse, E, R>) =>
        Option.match(span, {
          onNone: () => effect,
          onSome: ({ run }) => run(unredirected(effect), (error) => hideError(error, sent.request, secrets))
        })
      ),
      HttpClient.mapRequestEffect(attach)
    )
    return attaching.execute(given).pipe(
      Effect.mapError((error) =>
        Option.isSome(sent.used) ? hideError(error, sent.request, secrets) : error
      ),
      Effect.filterOrFail(
        (response) => !Option.exists(sent.used, ({ url }) => wentElsewhere(response, url)),
        () => redirected(sent.request)
      ),
      Effect.flatMap((response) =>
        Effect.map(Clock.currentTimeMillis, (receivedAt) => {
          const { headers } = response
          const heard = { headers, receivedAt, requestedAt }
          return {
            ...sent,
            wasMisdated: Option.exists(sent.used, ({ url }) => sender.clocks.learn(url, heard)),
            response: Option.isSome(sent.used) ? hide(response, sent.request, secrets) : response
          }
        })
      )
    )
  })

/** The tokens and the proof: the server received them, and may echo them. */
const secretsOf = (
  { accessToken, idToken, refreshToken }: Credentials,
  { headers }: HttpClientRequest.HttpClientRequest
): Secrets => [
  Redacted.value(accessToken),
  ...[refreshToken, idToken].flatMap((token) => Option.toArray(Option.map(token, Redacted.value<string>))),
  ...(headers["dpop"] === undefined ? [] : [headers["dpop"]])
]

/** `fetch` would follow a redirect by itself, and take a proof along. */
const unredirected = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.serviceOption(FetchHttpClient.RequestInit), (given) =>
    Effect.provideService(effect, FetchHttpClient.RequestInit, {
      ...Option.getOrElse(given, (): RequestInit => ({})),
      redirect: "manual"
    })
  )

const wentElsewhere = (response: HttpClientResponse, url: URL): boolean =>
  URL.canParse(response.request.url) && new URL(response.request.url).origin !== url.origin

const redirected = (request: HttpClientRequest.HttpClientRequest): RequestError =>
  new RequestError({
    request,
    reason: "Encode",
    description:
      "the HTTP client inside followed a redirect to another origin and sent the token there: wrap HttpClient.followRedirects around the bearer client, not inside it, and revoke the token"
  })
