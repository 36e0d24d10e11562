/**
 * The protocol of Google's executable-sourced credentials: a signed token of another issuer, which Google's
 * libraries exchange for one of Google. Pure.
 *
 * See [AIP-4117](https://google.aip.dev/auth/4117) and
 * [workload identity federation](https://cloud.google.com/iam/docs/workload-identity-federation-with-other-providers#executable-sourced-credentials).
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { configuration, Failure, usage } from "./Failure.js"
import { ExitCode } from "./ExitCode.js"
import * as HelperToken from "./HelperToken.js"

const types = {
  jwt: "urn:ietf:params:oauth:token-type:jwt",
  idToken: "urn:ietf:params:oauth:token-type:id_token"
} as const

/**
 * Answers with the ID token, or with the access token if it is a JWT. `tokenType` is the value of
 * `GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE`: the type that the pool expects. Without one, the ID token is preferred.
 * Google checks the signature, the issuer and the audience, so an opaque token is of no use to it.
 *
 * @since 3.1.0
 * @category answers
 */
export const answer = (
  token: HelperToken.HelperToken,
  tokenType: string,
  now: number
): Either.Either<object, Failure> => {
  const idToken = Option.map(token.idToken, Redacted.value)
  const wantsIdToken = tokenType === types.idToken || (tokenType === "" && Option.isSome(idToken))
  if (tokenType !== "" && tokenType !== types.jwt && tokenType !== types.idToken) {
    return Either.left(
      usage(
        "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE asks for a kind of token that Latchkey does not have.",
        `in the credential configuration, set subject_token_type to ${types.jwt}`
      )
    )
  }
  if (!wantsIdToken) {
    return Either.flatMap(HelperToken.secretOf(token, "Google"), (secret) =>
      Option.isSome(claimsOf(secret))
        ? Either.right(found(types.jwt, secret, token.expiresAt))
        : Either.left(opaque(token.account))
    )
  }
  if (Option.isNone(idToken)) return Either.left(noIdToken(token.account))
  const expiresAt = Option.flatMap(claimsOf(idToken.value), expiryIn)
  // A refresh need not bring a new ID token.
  return Option.exists(expiresAt, (at) => at <= now)
    ? Either.left(expired(token.account))
    : Either.right(found(types.idToken, idToken.value, expiresAt))
}

const found = (type: string, secret: string, expiresAt: Option.Option<number>): object => ({
  version: 1,
  success: true,
  token_type: type,
  id_token: secret,
  ...HelperToken.expiry({ expiresAt }, (at) => ({ expiration_time: Math.floor(at / 1000) }))
})

const opaque = (account: string): Failure =>
  configuration(
    `${account}: Its access token is not a JWT, so Google cannot check it.`,
    `ask the server for JWT access tokens; or log in again with --scope openid, for an ID token`,
    "NotAJwt"
  )

const noIdToken = (account: string): Failure =>
  configuration(
    `${account}: It has no ID token, which the credential configuration asks for.`,
    `log in again with --scope openid; or set subject_token_type to ${types.jwt}`,
    "NoIdToken"
  )

const expired = (account: string): Failure =>
  new Failure({
    code: ExitCode.tryLater,
    reason: "IdTokenExpired",
    message: `${account}: Its ID token has expired.`,
    next: `latchkey refresh ${account}`
  })

/**
 * The answer that reports a failure. Its message is for people.
 *
 * @since 3.1.0
 * @category answers
 */
export const failed = ({ message, next, reason }: Failure): object => ({
  version: 1,
  success: false,
  code: reason,
  message: next === undefined ? message : `${message} Next: ${next}`
})

/** The claims of a JWT (RFC 7519 §3). None if the text is no JWT. They are not verified: Google does that. */
const claimsOf = (text: string): Option.Option<Readonly<Record<string, unknown>>> => {
  const [, payload] = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(text) ?? []
  if (payload === undefined) return Option.none()
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"))
    return typeof claims === "object" && claims !== null && !Array.isArray(claims)
      ? Option.some(claims as Readonly<Record<string, unknown>>)
      : Option.none()
  } catch {
    return Option.none()
  }
}

const expiryIn = ({ exp }: Readonly<Record<string, unknown>>): Option.Option<number> =>
  typeof exp === "number" && Number.isFinite(exp) ? Option.some(exp * 1000) : Option.none()
