/**
 * A token for another program: what every helper protocol takes from it. Pure.
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { configuration, type Failure } from "./Failure.js"

/**
 * A token and its metadata. `account` is `provider/name`. Instants are epoch milliseconds.
 *
 * @since 3.1.0
 * @category models
 */
export interface HelperToken {
  readonly account: string
  readonly accessToken: Redacted.Redacted
  readonly idToken: Option.Option<Redacted.Redacted>
  readonly tokenType: string
  readonly expiresAt: Option.Option<number>
}

/** Whether the token may be sent as it is. Another type, such as DPoP, needs a proof for each request. */
const isBearer = ({ tokenType }: Pick<HelperToken, "tokenType">): boolean => /^bearer$/i.test(tokenType)

/**
 * Returns the token as text for a protocol, or why the protocol cannot carry it: its type, or a character
 * that no token has (RFC 6749 appendix A.12) and that could begin a line or a header of its own.
 *
 * @since 3.1.0
 * @category getters
 */
export const secretOf = (token: HelperToken, protocol: string): Either.Either<string, Failure> => {
  const secret = Redacted.value(token.accessToken)
  if (!isBearer(token)) {
    return Either.left(
      configuration(
        `${token.account}: Its token is useless to ${protocol}: each request needs a proof besides the token.`,
        `latchkey explain ${token.account}`,
        "TokenType"
      )
    )
  }
  return /^[\x20-\x7e]+$/.test(secret)
    ? Either.right(secret)
    : Either.left(
        configuration(
          `${token.account}: Its token has characters that ${protocol} cannot carry.`,
          `latchkey refresh ${token.account}`,
          "TokenCharacters"
        )
      )
}

/**
 * Returns the value of an `Authorization` header (RFC 6750 §2.1).
 *
 * @since 3.1.0
 * @category getters
 */
export const authorizationOf = (token: HelperToken, protocol: string): Either.Either<string, Failure> =>
  Either.map(secretOf(token, protocol), (secret) => `Bearer ${secret}`)

/**
 * The user name that goes with an access token where a server wants both. Most servers ignore it. GitLab
 * requires `oauth2`, and Google's registries require `oauth2accesstoken`.
 *
 * @since 3.1.0
 * @category getters
 */
export const usernameFor = (account: string): string => usernames[account.split("/")[0]!] ?? "oauth2"

const usernames: Readonly<Record<string, string>> = {
  github: "x-access-token",
  google: "oauth2accesstoken"
}

/** The last second that RFC 3339 can write. */
const lastSecond = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000

/**
 * Formats an instant as RFC 3339 in whole seconds, never later than it is.
 *
 * @since 3.1.0
 * @category formatting
 */
export const timestamp = (millis: number): string =>
  new Date(Math.min(Math.floor(millis / 1000), lastSecond) * 1000).toISOString().replace(".000Z", "Z")

/**
 * Returns the fields of an expiry, or none if the token has none.
 *
 * @since 3.1.0
 * @category formatting
 */
export const expiry = <A>(
  { expiresAt }: Pick<HelperToken, "expiresAt">,
  fields: (millis: number) => A
): A | Record<never, never> => Option.match(expiresAt, { onNone: () => ({}), onSome: fields })
