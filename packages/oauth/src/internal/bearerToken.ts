/** The manager's token in the form that a request carries. */
import { RequestError } from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { type Credentials, sameAccessToken, tokenProblem } from "@latchkey/core/Credentials"
import { ReauthorizationRequired, type TokenError } from "@latchkey/core/TokenError"
import type { Manager } from "@latchkey/core/TokenManager"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as DPoP from "../DPoP.js"
import type { ServerClocks } from "./serverClock.js"
import { quote } from "./text.js"

export interface Tokens {
  /** Credentials whose access token is valid now. */
  readonly current: Effect.Effect<Credentials, TokenError>
  /**
   * Returns the replacement for credentials that a resource server refused. None if it is the same token
   * again.
   */
  readonly replace: (refused: Credentials) => Effect.Effect<Option.Option<Credentials>, TokenError>
}

export const make = (manager: Manager): Tokens => {
  let last: Credentials | undefined
  /** Returns the record that a token belongs to, because its type and key cannot be guessed. */
  const recordOf = (token: Redacted.Redacted): Effect.Effect<Credentials, TokenError> =>
    last?.accessToken === token
      ? Effect.succeed(last)
      : Effect.flatMap(
          manager.credentials,
          Option.match({
            onNone: () =>
              Effect.fail(
                new ReauthorizationRequired({
                  reason: "NoCredentials",
                  location: manager.location,
                  message: `The grant at ${manager.location} was removed while it was in use: log in again.`
                })
              ),
            // A peer may have replaced it meanwhile. Then its token is the one to send.
            onSome: (credentials) => Effect.sync(() => (last = credentials))
          })
        )
  return {
    current: Effect.flatMap(manager.getAccessToken, recordOf),
    replace: (refused) =>
      Effect.map(Effect.flatMap(manager.reject(refused.accessToken), recordOf), (fresh) =>
        sameAccessToken(fresh, refused) ? Option.none() : Option.some(fresh)
      )
  }
}

/** Returns the request with its `Authorization` header, and a proof if the token is bound to a key. */
export const attach = (
  credentials: Credentials,
  request: HttpClientRequest.HttpClientRequest,
  url: URL,
  { clocks, nonces }: { readonly clocks: ServerClocks; readonly nonces: DPoP.Nonces }
): Effect.Effect<HttpClientRequest.HttpClientRequest, RequestError> =>
  Effect.gen(function* () {
    const { accessToken, tokenType } = credentials
    const refuse = (description: string) => new RequestError({ request, reason: "Encode", description })
    // A client's error about a header that it refuses may quote the header.
    const problem = tokenProblem(Redacted.value(accessToken))
    if (Option.isSome(problem)) return yield* refuse(`the token ${problem.value}, and was not sent`)
    if (tokenType.toLowerCase() === "bearer") {
      return HttpClientRequest.setHeader(request, "authorization", `Bearer ${Redacted.value(accessToken)}`)
    }
    if (!DPoP.isBound(credentials)) {
      return yield* refuse(
        `the token is of the type ${quote(tokenType, [])}, which this client does not understand, and was not sent (RFC 6749 §7.1)`
      )
    }
    const key = yield* Effect.mapError(DPoP.keyOf(credentials), (error) => refuse(error.message))
    if (Option.isNone(key)) return yield* refuse("the token is bound to a key that is missing: log in again")
    const { method } = request
    const proof = yield* DPoP.proof({
      ...{ key: key.value, nonces, method, url, accessToken },
      serverAhead: clocks.ahead(url)
    })
    return HttpClientRequest.setHeaders(request, {
      authorization: `DPoP ${Redacted.value(accessToken)}`,
      dpop: proof
    })
  })
