/**
 * The protocol of git's credential helpers: lines of `key=value`, ended by a blank line or by the end of the
 * input. Pure.
 *
 * See [git-credential(1)](https://git-scm.com/docs/git-credential#IOFMT) and
 * [gitcredentials(7)](https://git-scm.com/docs/gitcredentials#_custom_helpers).
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { type Failure, usage } from "./Failure.js"
import * as HelperToken from "./HelperToken.js"

/**
 * What git asks for, or reports. `secret` is the token of an earlier answer. `capabilities` are those that
 * this git has; it sends them since 2.46.
 *
 * @since 3.1.0
 * @category models
 */
export interface Request {
  readonly protocol: string
  readonly host: string
  readonly username: Option.Option<string>
  readonly secret: Option.Option<Redacted.Redacted>
  readonly capabilities: ReadonlySet<string>
}

/**
 * The request of a caller that is not git.
 *
 * @since 3.1.0
 * @category constants
 */
export const noRequest: Request = {
  protocol: "",
  host: "",
  username: Option.none(),
  secret: Option.none(),
  capabilities: new Set()
}

/**
 * Whether the input is complete, although its writer may keep it open.
 *
 * @since 3.1.0
 * @category predicates
 */
export const isComplete = (text: string): boolean => /(?:^|\n)\r?\n/.test(text)

/**
 * Parses a request. Unknown keys are ignored, as the protocol requires.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parse = (text: string): Either.Either<Request, Failure> => {
  const values = new Map<string, string>()
  const capabilities = new Set<string>()
  for (const line of text.split(/\r?\n/)) {
    if (line === "") break
    const at = line.indexOf("=")
    if (at < 1 || line.includes("\0")) {
      return Either.left(malformed("A line of the request is not KEY=VALUE."))
    }
    const [key, value] = [line.slice(0, at), line.slice(at + 1)]
    if (key === "capability[]") {
      // An empty value clears the list.
      if (value === "") capabilities.clear()
      else capabilities.add(value)
    } else values.set(key, value)
  }
  const [protocol, host] = [values.get("protocol"), values.get("host")]
  return protocol === undefined || host === undefined
    ? Either.left(malformed("The request names no protocol and host."))
    : Either.right({
        protocol,
        host,
        username: Option.fromNullable(values.get("username")),
        secret: Option.map(
          Option.fromNullable(values.get("password") ?? values.get("credential")),
          (secret) => Redacted.make(secret)
        ),
        capabilities
      })
}

/** The request may hold a password, so nothing of it is quoted. */
const malformed = (message: string): Failure =>
  usage(message, "let git run it: latchkey setup git; or write protocol=https, host=HOST and a blank line")

/**
 * `username` replaces the default one. `bearer` sends the token as `Authorization: Bearer` instead of as a
 * password, which git can do since 2.46.
 *
 * @since 3.1.0
 * @category models
 */
export interface Options {
  readonly username: Option.Option<string>
  readonly bearer: boolean
}

/**
 * Answers `get`. Fails if git cannot send the token in this form. `ephemeral` keeps other helpers from
 * storing the token.
 *
 * @since 3.1.0
 * @category answers
 */
export const answer = (
  token: HelperToken.HelperToken,
  request: Request,
  options: Options
): Either.Either<ReadonlyArray<string>, Failure> =>
  Either.flatMap(HelperToken.secretOf(token, "git"), (secret) => {
    const until = Option.match(token.expiresAt, {
      onNone: () => [],
      onSome: (at) => [`password_expiry_utc=${Math.floor(at / 1000)}`]
    })
    if (options.bearer) {
      return request.capabilities.has("authtype")
        ? Either.right([
            "capability[]=authtype",
            "authtype=Bearer",
            `credential=${secret}`,
            "ephemeral=1",
            ...until
          ])
        : Either.left(
            usage("This git cannot send a bearer token.", "git 2.46 or later; or leave out --bearer")
          )
    }
    const username = Option.getOrElse(
      Option.orElse(options.username, () => request.username),
      () => HelperToken.usernameFor(token.account)
    )
    return /^[^\0\r\n]+$/.test(username)
      ? Either.right([`username=${username}`, `password=${secret}`, ...until])
      : Either.left(usage("The user name is not one line.", "--username NAME"))
  })

/**
 * The shortest life of a token, in milliseconds, before its rejection is a reason to get another one. A
 * server that rejects a fresh token would reject the next one too, and each git command would cost a refresh.
 *
 * @since 3.1.0
 * @category constants
 */
export const youngest = 60_000
