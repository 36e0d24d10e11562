/**
 * The protocol of Docker's credential helpers: an action as the argument, a server's address or JSON on the
 * standard input, and the answer, or a message, on the standard output. Pure.
 *
 * See [docker-credential-helpers](https://github.com/docker/docker-credential-helpers#development).
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Failure } from "./Failure.js"
import * as HelperToken from "./HelperToken.js"
import * as ServedHost from "./ServedHost.js"

/**
 * The messages that Docker knows. At `notFound`, it goes on without a login.
 *
 * @since 3.1.0
 * @category constants
 */
export const messages = {
  notFound: "credentials not found in native keychain",
  noServer: "no credentials server URL"
} as const

/**
 * Why `store` and `erase` do nothing.
 *
 * @since 3.1.0
 * @category constants
 */
export const refused = {
  store:
    "Latchkey stores no password for a registry: it already has the token. To use a password, remove the registry from credHelpers in Docker's config.json.",
  erase: "Latchkey erases nothing for a registry. To end the login, run: latchkey logout ACCOUNT"
} as const

/**
 * Finds the account for a registry: `ghcr.io`, or `https://index.docker.io/v1/`. Docker decides by itself
 * between http and https, and uses http for loopback addresses only, unless its own settings name the
 * registry as insecure.
 *
 * @since 3.1.0
 * @category lookup
 */
export const find = (
  served: ReadonlyArray<ServedHost.ServedHost>,
  server: string
): Either.Either<ServedHost.ServedHost, "Absent" | "Insecure"> => {
  const [, scheme = "https", host = ""] = /^(?:([a-z]+):\/\/)?([^/]*)/i.exec(server) ?? []
  return ServedHost.find(served, scheme.toLowerCase(), host)
}

/**
 * Answers `get`. `ServerURL` repeats the request.
 *
 * @since 3.1.0
 * @category answers
 */
export const answer = (
  token: HelperToken.HelperToken,
  server: string,
  username: Option.Option<string>
): Either.Either<object, Failure> =>
  Either.map(HelperToken.secretOf(token, "Docker"), (secret) => ({
    ServerURL: server,
    Username: Option.getOrElse(username, () => HelperToken.usernameFor(token.account)),
    Secret: secret
  }))

/**
 * Answers `list`: each registry with its user name.
 *
 * @since 3.1.0
 * @category answers
 */
export const list = (
  served: ReadonlyArray<ServedHost.ServedHost>,
  username: Option.Option<string>
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    served.map(({ account, host }) => [
      host,
      Option.getOrElse(username, () => HelperToken.usernameFor(account))
    ])
  )
