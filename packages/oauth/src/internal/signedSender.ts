/**
 * Sends requests of a client that may sign an assertion. The assertion is dated by the server's clock, as far
 * as its responses show it.
 */
import * as Effect from "effect/Effect"
import * as oauth from "oauth4webapi"
import * as Answer from "../Answer.js"
import type { ClientAuth } from "../ClientAuth.js"
import type { OAuthError } from "../OAuthError.js"
import * as Wire from "../Wire.js"
import * as ServerClock from "./serverClock.js"

export interface SignedSender {
  /**
   * Sends the request, and once more if the server refuses the client and shows another time than the
   * assertion had.
   */
  readonly send: (
    endpoint: string,
    client: oauth.Client,
    request: (client: oauth.Client, options: Wire.SendOptions) => Promise<Response>,
    encoding?: Wire.Encoding
  ) => Effect.Effect<Answer.Answer, OAuthError>
}

/** Whether a way to authenticate signs an assertion for each request. */
export const signs = (auth: ClientAuth | undefined): boolean =>
  auth?._tag === "PrivateKeyJwt" || auth?._tag === "ClientSecretJwt"

export const make = (wire: Wire.Wire, auth: ClientAuth | undefined): SignedSender => {
  const clocks = ServerClock.make()
  const isSigned = signs(auth)
  return {
    send: (endpoint, client, request, encoding) => {
      const once = Effect.clockWith((clock) => {
        const requestedAt = clock.unsafeCurrentTimeMillis()
        return Effect.flatMap(Wire.clockSkew(requestedAt + clocks.ahead(endpoint)), (skew) =>
          Effect.map(
            wire.send((options) => request({ ...client, [oauth.clockSkew]: skew }, options), encoding),
            (answer) => {
              const { headers, receivedAt } = answer
              const wasMisdated = clocks.learn(endpoint, { headers, receivedAt, requestedAt })
              const again =
                isSigned &&
                wasMisdated &&
                !Answer.isOk(answer) &&
                ServerClock.refusesWhatIsSigned(Answer.toError(answer).oauthError)
              return { answer, again }
            }
          )
        )
      })
      return Effect.flatMap(once, ({ again, answer }) =>
        again ? Effect.map(once, (second) => second.answer) : Effect.succeed(answer)
      )
    }
  }
}
