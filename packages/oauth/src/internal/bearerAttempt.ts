/** Sends one request with one token, and once more if its proof was not the one that the server wants. */
import type * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import type { Credentials } from "@latchkey/core/Credentials"
import type { TokenError } from "@latchkey/core/TokenError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Challenge from "../Challenge.js"
import * as DPoP from "../DPoP.js"
import * as BearerSender from "./bearerSender.js"

/**
 * It sends twice if the server wants a nonce in the proof (RFC 9449 §9), or refuses a proof that was dated by
 * a clock other than its own.
 */
export const send = <E, R>(
  sender: BearerSender.Sender,
  client: HttpClient.HttpClient.With<E, R>,
  request: HttpClientRequest,
  credentials: Effect.Effect<Credentials, TokenError>
): Effect.Effect<BearerSender.Sent, E | HttpClientError | TokenError, R> =>
  Effect.gen(function* () {
    const sent = yield* BearerSender.send(sender, client, request, credentials)
    if (Option.isNone(sent.used)) return sent
    const { url, ...used } = sent.used.value
    const brought = sender.nonces.keep(url, sent.response.headers)
    const isMisdated = sent.wasMisdated && DPoP.isBound(used.credentials) && refusesProof(sent.response)
    const isAsked = (brought && wantsNonce(sent.response)) || isMisdated
    if (!isAsked || !canBeSentAgain(sent.request)) return sent
    yield* discard(sent.response)
    const again = yield* BearerSender.send(sender, client, request, Effect.succeed(used.credentials))
    sender.nonces.keep(url, again.response.headers)
    return again
  })

const wantsNonce = (response: HttpClientResponse): boolean =>
  response.status === 401 &&
  Challenge.forTokens(response.headers["www-authenticate"]).some(
    ({ parameters, scheme }) => scheme === "dpop" && parameters.get("error") === "use_dpop_nonce"
  )

/** Some servers report a wrongly dated proof as an invalid token. */
const refusesProof = (response: HttpClientResponse): boolean =>
  response.status === 401 &&
  Challenge.forTokens(response.headers["www-authenticate"]).some(
    ({ parameters, scheme }) =>
      scheme === "dpop" && ["invalid_dpop_proof", "invalid_token"].includes(parameters.get("error") ?? "")
  )

export const canBeSentAgain = ({ body }: HttpClientRequest): boolean =>
  body._tag === "Raw" ? typeof body.body === "string" : body._tag !== "Stream"

/** How much of an unwanted response is read, so that its connection can be used again. */
const maxDiscarded = 65_536

export const discard = (response: HttpClientResponse): Effect.Effect<void> => {
  let left = maxDiscarded
  return Stream.runForEachWhile(response.stream, (chunk) =>
    Effect.sync(() => (left -= chunk.length) > 0)
  ).pipe(Effect.timeout("1 second"), Effect.ignore)
}
