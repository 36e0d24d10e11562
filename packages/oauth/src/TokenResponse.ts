/**
 * Judges a token endpoint's response: new credentials, or an error that carries what could be saved.
 *
 * One rule comes before all others: a usable new refresh token in a success response is returned for saving,
 * whatever else is wrong with the response, because the old one is spent. A response that is JSON, or a form
 * with an access token, is used whatever its content type says. Any other body is only searched for the
 * refresh token.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import type { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Answer from "./Answer.js"
import { undecodable } from "./internal/coding.js"
import { membersOf } from "./internal/salvage.js"
import { OAuthError, toRefreshError } from "./OAuthError.js"

/**
 * The facts that are needed to judge a response.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context extends Answer.ErrorSettings {
  /** The credentials that were refreshed. */
  readonly previous: Option.Option<Credentials.Credentials>
  /** When the request was sent, in epoch milliseconds. */
  readonly requestedAt: number
  /** The token types that the caller can use: `bearer` unless the request was bound by DPoP. */
  readonly tokenTypes: ReadonlyArray<string>
  /** The token type if the response names none. */
  readonly defaultTokenType?: string | undefined
  /** Reads the account from the provider's response. */
  readonly accountId?: ((response: Credentials.Extras) => Option.Option<string>) | undefined
  /** Converts the body to the terms of the standard, if the server departs from them. */
  readonly adapt?: ((response: Credentials.Extras) => Credentials.Extras) | undefined
}

/**
 * The credentials after a response (RFC 6749 §5), and its body for further checks.
 *
 * @since 0.1.0
 * @category models
 */
export interface Accepted {
  readonly credentials: Credentials.Credentials
  readonly response: Credentials.Extras
}

/**
 * Judges a response. {@link Answer.toError} classifies an error response. A success that is not a usable
 * token response is `Malformed`, and so is one with an `error` in it that brought a new refresh token.
 *
 * @since 0.1.0
 * @category constructors
 */
export const judge = (answer: Answer.Answer, context: Context): Either.Either<Accepted, RefreshError> => {
  if (!Answer.isOk(answer)) return refuse(errorOf(answer, context))
  const malformed = (problem: string) => Either.left(unusable(answer, context, problem))

  if (Option.isSome(answer.cut)) {
    return Option.isSome(salvage(answer, context))
      ? malformed("broke off before its end")
      : refuse(answer.cut.value)
  }
  const body = Answer.json(answer)
  if (Either.isLeft(body)) {
    return isRefusal(answer, Option.none(), context) && Option.isNone(salvage(answer, context))
      ? refuse(Answer.toError(answer, context))
      : malformed(body.left)
  }
  const adapted = adapt(body.right, context)
  const error = Answer.oauthError(body.right)
  if (Option.isSome(error) || isRefusal(answer, adapted, context)) {
    const code = Option.match(error, { onNone: () => "", onSome: (e) => ` ${answer.quote(e.code)}` })
    return Option.isSome(salvage(answer, context))
      ? malformed(`holds the error${code}`)
      : refuse(Answer.toError(answer, context))
  }
  if (Option.isNone(adapted)) return malformed("made the `adapt` function of the settings fail")
  const response = withType(adapted.value, context.defaultTokenType)
  const merge = Option.liftThrowable(() =>
    Credentials.fromResponse(response, context.previous, {
      requestedAt: context.requestedAt,
      serverBehind: Answer.clockSkew(answer, context.requestedAt).behind,
      serverTime: Option.getOrUndefined(Answer.date(answer)),
      tokenTypes: context.tokenTypes,
      ...(context.accountId !== undefined && { accountId: nonEmpty(context.accountId) })
    })
  )
  const merged = merge()
  if (Option.isNone(merged)) return malformed("made the `accountId` function of the settings fail")
  return Either.match(merged.value, {
    onLeft: ({ field, problem }) =>
      malformed(
        `is unusable: ${field} ${problem}${field === "token_type" && isUntyped(response) ? missingType : ""}`
      ),
    onRight: (credentials) => Either.right({ credentials, response })
  })
}

const isUntyped = ({ token_type: type }: Credentials.Extras): boolean =>
  type === undefined || type === null || type === ""

const withType = (response: Credentials.Extras, type: string | undefined): Credentials.Extras =>
  type !== undefined && isUntyped(response) ? { ...response, token_type: type } : response

const missingType =
  "; if the server never sends one, set `defaultTokenType` to Bearer (a provider's `token.defaultType`, a session's TOKEN_TYPE)"

/**
 * Creates the error for an unusable success response, with what could be saved of it.
 *
 * @since 0.1.0
 * @category errors
 */
export const unusable = (
  answer: Answer.Answer,
  context: Pick<Context, "previous" | "requestedAt" | "adapt">,
  problem: string
): RefreshError =>
  toRefreshError(Answer.malformed(answer, "token response", problem), salvage(answer, context))

/**
 * Returns the previous credentials with the new refresh token from a success response, however broken the
 * rest is. None if there is no new one, or nothing to merge it into.
 *
 * @since 0.1.0
 * @category utils
 */
export const salvage = (
  answer: Answer.Answer,
  { adapt: adapts, previous, requestedAt }: Pick<Context, "previous" | "requestedAt" | "adapt">
): Option.Option<Credentials.Credentials> => {
  const adapted = (body: Credentials.Extras) => Option.getOrElse(adapt(body, { adapt: adapts }), () => body)
  const members = Either.match(Answer.json(answer), {
    onLeft: (): ReadonlyArray<unknown> => [],
    onRight: (body) => [adapted(body), body].map((where) => where["refresh_token"])
  })
  // A JSON body has already been read in full. Any other body is searched.
  const searched =
    answer.text.trimStart().startsWith("{") && members.length > 0
      ? []
      : membersOf(answer.text, "refresh_token", { isWhole: Option.isNone(answer.cut), adapt: adapted })
  const refreshToken = [...members, ...searched].find((token) =>
    Option.isNone(Credentials.tokenProblem(token))
  )
  // Without an access token the merge always fails, and returns what it saved.
  const merged = Credentials.fromResponse({ refresh_token: refreshToken }, previous, { requestedAt })
  return Option.flatMap(Either.getLeft(merged), (problem) => problem.salvaged)
}

/** None if the settings cannot read it. */
const adapt = (
  response: Credentials.Extras,
  context: Pick<Context, "adapt">
): Option.Option<Credentials.Extras> => Option.liftThrowable(() => context.adapt?.(response) ?? response)()

/** Whether a success response without an access token is an error by the settings. */
const isRefusal = (
  answer: Answer.Answer,
  adapted: Option.Option<Credentials.Extras>,
  context: Context
): boolean =>
  !Option.exists(adapted, (body) => Option.isNone(Credentials.tokenProblem(body["access_token"]))) &&
  Option.isSome(Answer.adaptedError(answer, context))

/** An error response that broke off before it could be read leaves the outcome of the request unknown. */
const errorOf = (answer: Answer.Answer, settings: Answer.ErrorSettings): OAuthError => {
  const error = Answer.toError(answer, settings)
  if (Option.isNone(answer.cut) || Either.isRight(Answer.json(answer))) return error
  const cut = answer.cut.value
  if (cut.reason === "MaybeSent") return cut
  return cut.code === undecodable
    ? new OAuthError({ ...cut, reason: error.reason, message: cut.message })
    : error
}

const refuse = (error: OAuthError): Either.Either<never, RefreshError> =>
  Either.left(toRefreshError(error, Option.none()))

const nonEmpty =
  (accountId: (response: Credentials.Extras) => Option.Option<string>) =>
  (response: Credentials.Extras): Option.Option<string> =>
    Option.filter(accountId(response), (account) => account !== "")
