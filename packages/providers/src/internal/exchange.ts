/**
 * Exchanges a long-lived token, stored as the refresh token, for a short-lived one by GET. Repeating it is
 * always safe.
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import * as Credentials from "@latchkey/core/Credentials"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as Answer from "@latchkey/oauth/Answer"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import { OAuthError, toRefreshError } from "@latchkey/oauth/OAuthError"
import * as Resource from "@latchkey/oauth/Resource"
import * as Wire from "@latchkey/oauth/Wire"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Refresh } from "../Provider.js"
import * as Expiry from "./expiry.js"

type Exchange = Extract<Refresh, { readonly by: "exchange" }>

export const make = (
  exchange: Exchange,
  keepUnder: string,
  errors: Answer.ErrorSettings,
  origin: TokenRefresher.Origin
): Effect.Effect<Context.Tag.Service<TokenRefresher.TokenRefresher>, OAuthConfigError, HttpClient> =>
  Effect.map(Wire.make(), (wire) => {
    let serverAhead = 0
    return TokenRefresher.make({
      ...origin,
      rotation: TokenRefresher.reusable,
      // The expiry is an instant of the server's clock.
      serverAhead: () => serverAhead,
      refresh: (credentials, token) =>
        Effect.gen(function* () {
          const requestedAt = yield* Clock.currentTimeMillis
          const { endpoint: url, headers } = exchange
          const answer = yield* Resource.get(wire, { url, token, headers })
          serverAhead = Answer.clockSkew(answer, requestedAt).ahead
          return yield* read(answer, exchange, { keepUnder, errors, requestedAt }, credentials)
        }).pipe(Effect.mapError((error) => toRefreshError(error, Option.none())))
    })
  })

const read = (
  answer: Answer.Answer,
  exchange: Exchange,
  {
    errors,
    keepUnder,
    requestedAt
  }: {
    readonly errors: Answer.ErrorSettings
    readonly keepUnder: string
    readonly requestedAt: number
  },
  previous: Credentials.Credentials
): Either.Either<Credentials.Credentials, OAuthError> =>
  Either.gen(function* () {
    const body = yield* Either.mapLeft(Resource.document(answer, "token", errors), (error) =>
      Option.isSome(Answer.adaptedError(answer, errors)) ? error : refusal(answer, error)
    )
    const { [exchange.expiresAt]: expiresAt, [exchange.token]: token, ...rest } = body
    const malformed = (field: string, problem: string) =>
      Either.left(
        new OAuthError({
          reason: "Malformed",
          endpoint: answer.endpoint,
          status: answer.status,
          message: `${answer.endpoint} answered ${answer.status}, but its ${field} ${problem}; report this to the operator of the server.`
        })
      )
    const problem = Credentials.tokenProblem(token)
    if (Option.isSome(problem) && Option.isSome(Answer.adaptedError(answer, errors))) {
      return yield* Either.left(Answer.toError(answer, errors))
    }
    if (Option.isSome(problem)) return yield* malformed(exchange.token, problem.value)
    const refreshIn = rest[exchange.refreshIn]
    const isSensible = (seconds: unknown): seconds is number =>
      typeof seconds === "number" && seconds >= 0 && seconds <= Expiry.latestSeconds
    const dated = { obtainedAt: Option.some(requestedAt), serverTime: Answer.date(answer) }
    const credentials = new Credentials.Credentials({
      ...previous,
      accessToken: Redacted.make(token as string),
      ...dated,
      // By the server's clock, whatever ours shows.
      expiresAt: isSensible(expiresAt)
        ? Option.some(Credentials.byOurClock(expiresAt * 1000, dated))
        : Option.none(),
      refreshAt: isSensible(refreshIn) ? Option.some(requestedAt + refreshIn * 1000) : Option.none(),
      extras: Redacted.make({ ...Redacted.value(previous.extras), [keepUnder]: rest })
    })
    return Credentials.withWarnings(
      credentials,
      expiresAt === undefined || isSensible(expiresAt)
        ? []
        : [{ field: exchange.expiresAt, problem: "is not a time in epoch seconds: the lifetime is unknown" }]
    )
  })

/** 401: the long-lived token is no longer valid, and only a login brings another one. */
const refusal = (answer: Answer.Answer, error: OAuthError): OAuthError =>
  answer.status === 401
    ? new OAuthError({
        ...error,
        reason: "GrantDead",
        message: `${answer.endpoint} answered 401${Option.match(Answer.reason(answer), {
          onNone: () => "",
          onSome: (reason) => ` (${answer.quote(reason)})`
        })}: the token that was sent is no longer valid.`
      })
    : error
