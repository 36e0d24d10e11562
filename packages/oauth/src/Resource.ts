/**
 * Fetches a JSON document with a token: a provider's own profile, or a token in exchange for a token.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import { check } from "./Endpoint.js"
import { OAuthError } from "./OAuthError.js"
import type { Wire } from "./Wire.js"

/**
 * What to fetch, and with which token. The token goes as `Authorization: Bearer` (RFC 6750 §2.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly url: string
  readonly token: Redacted.Redacted
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * Sends a GET request. Returns every response, also an error; {@link document} reads it. Fails as `Wire.send`
 * does.
 *
 * @since 0.1.0
 * @category requests
 */
export const get = (wire: Wire, request: Request): Effect.Effect<Answer.Answer, OAuthError> =>
  Effect.gen(function* () {
    const url = yield* Either.mapLeft(
      check("url", request.url),
      (error) =>
        new OAuthError({
          reason: "Misconfigured",
          endpoint: "(none)",
          message: `${error.message}; nothing was sent.`
        })
    )
    const headers = {
      accept: "application/json",
      ...request.headers,
      authorization: `Bearer ${Redacted.value(request.token)}`
    }
    return yield* wire.send((options) =>
      options[oauth.customFetch](url.href, { method: "GET", headers, body: undefined, redirect: "manual" })
    )
  })

/**
 * Returns the JSON object in a success response. `what` names it in errors, and `settings` say what errors
 * mean.
 *
 * @since 0.1.0
 * @category getters
 */
export const document = (
  answer: Answer.Answer,
  what: string,
  settings: Answer.ErrorSettings = {}
): Either.Either<Readonly<Record<string, unknown>>, OAuthError> => {
  if (!Answer.isOk(answer)) return Either.left(Answer.toError(answer, settings))
  if (Option.isSome(answer.cut)) return Either.left(answer.cut.value)
  return Either.mapLeft(Answer.json(answer), (problem) => Answer.malformed(answer, what, problem))
}
