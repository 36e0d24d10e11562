/** Sends the authorization request to the server before the user goes there (RFC 9126). */
import type { HttpClient } from "@effect/platform/HttpClient"
import * as Credentials from "@latchkey/core/Credentials"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as oauth from "oauth4webapi"
import * as Answer from "../Answer.js"
import * as ClientAuth from "../ClientAuth.js"
import * as DPoP from "../DPoP.js"
import type { OAuthConfigError } from "../Endpoint.js"
import { fromRequest, type LoginError } from "../LoginError.js"
import type { OAuthError } from "../OAuthError.js"
import * as Server from "../Server.js"
import type * as TokenEndpoint from "../TokenEndpoint.js"
import * as Wire from "../Wire.js"

/** The reference to the request in the URL (§2.2). */
export interface Pushed {
  readonly requestUri: string
  /** Until when the user may open the URL, in epoch milliseconds. None if the server does not say. */
  readonly expiresAt: Option.Option<number>
}

/** Pushes the request. With a key, the code is bound to it (RFC 9449 §10.1). */
export const push = (
  options: Pick<TokenEndpoint.Options, "client" | "headers" | "timeout">,
  metadata: Server.Metadata,
  parameters: URLSearchParams,
  key: Option.Option<DPoP.Key>
): Effect.Effect<Pushed, LoginError | OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const wire = yield* Wire.make({ timeout: options.timeout })
    const auth = yield* ClientAuth.authenticate(options.client)
    const nonces = yield* DPoP.makeNonces
    const field = "pushed_authorization_request_endpoint"
    const endpoint = yield* Either.mapLeft(Server.endpoint(metadata, field), fromRequest)
    const send = Effect.gen(function* () {
      const requestedAt = yield* Clock.currentTimeMillis
      const client = { ...auth.client, [oauth.clockSkew]: yield* Wire.clockSkew(requestedAt) }
      const proof = Option.isSome(key) && { DPoP: yield* DPoP.handle(key.value, nonces.get(endpoint)) }
      const answer = yield* wire.send((common) =>
        oauth.pushedAuthorizationRequest(metadata, client, auth.method, parameters, {
          ...common,
          ...(options.headers !== undefined && { headers: { ...options.headers } }),
          ...proof
        })
      )
      const brought = nonces.keep(endpoint, answer.headers)
      return { answer, requestedAt, again: proof && brought && DPoP.wantsNonce(answer) }
    })
    const first = yield* Effect.mapError(send, fromRequest)
    const { answer, requestedAt } = first.again ? yield* Effect.mapError(send, fromRequest) : first
    return yield* Either.mapLeft(read(answer, requestedAt), fromRequest)
  })

const read = (answer: Answer.Answer, requestedAt: number): Either.Either<Pushed, OAuthError> => {
  if (!Answer.isOk(answer)) return Either.left(Answer.toError(answer))
  if (Option.isSome(answer.cut)) return Either.left(answer.cut.value)
  const malformed = (problem: string) => Answer.malformed(answer, "pushed authorization response", problem)
  return Either.flatMap(Either.mapLeft(Answer.json(answer), malformed), (body) => {
    if (Option.isSome(Answer.oauthError(body))) return Either.left(Answer.toError(answer))
    const { request_uri: requestUri } = body
    const problem = Credentials.tokenProblem(requestUri)
    return typeof requestUri !== "string" || Option.isSome(problem)
      ? Either.left(malformed(`has a request_uri that ${Option.getOrElse(problem, () => "is not a string")}`))
      : Either.right({ requestUri, expiresAt: expiry(body["expires_in"], requestedAt) })
  })
}

/** A lifetime that makes no sense counts as unknown. The server still enforces the end. */
const expiry = (value: unknown, requestedAt: number): Option.Option<number> => {
  const seconds = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value
  return typeof seconds === "number" && seconds > 0 && seconds < 1_000_000_000
    ? Option.some(requestedAt + Math.floor(seconds * 1000))
    : Option.none()
}
