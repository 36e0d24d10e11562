/**
 * Where a secret may be sent: to https, or to this machine.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { networkOf } from "./internal/network.js"

/**
 * A setting that cannot work, found before anything was sent. It names the setting and never quotes a value
 * that may be secret.
 *
 * @since 0.1.0
 * @category errors
 */
export class OAuthConfigError extends Schema.TaggedError<OAuthConfigError>(
  "@latchkey/oauth/OAuthConfigError"
)("OAuthConfigError", {
  setting: Schema.String,
  message: Schema.String
}) {}

/**
 * Creates an {@link OAuthConfigError} that names the setting and says what to do.
 *
 * @since 0.1.0
 * @category errors
 */
export const invalid = (setting: string, problem: string): OAuthConfigError =>
  new OAuthConfigError({ setting, message: `${setting} ${problem}` })

/**
 * Returns the URL if a request with a secret may go there: https, or http to a loopback literal
 * (`127.0.0.0/8`, `[::1]`) or `localhost` (RFC 8252 §8.3). It must have no user info and no fragment (RFC
 * 6749 §3.2).
 *
 * @since 0.1.0
 * @category validation
 */
export const check = (setting: string, input: string | URL): Either.Either<URL, OAuthConfigError> => {
  const url = parse(input)
  if (url === undefined) return Either.left(invalid(setting, "must be an absolute URL"))
  if (url.username !== "" || url.password !== "") {
    return Either.left(
      invalid(setting, "has user info in its URL: give the client's secret as client authentication instead")
    )
  }
  // An empty fragment does not show in `hash`.
  if (url.href.includes("#")) {
    return Either.left(invalid(setting, "has a fragment in its URL: leave out the # and what follows"))
  }
  if (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url))) return Either.right(url)
  return Either.left(
    invalid(
      setting,
      `must be https (http only to 127.0.0.0/8, [::1] or localhost); it is ${url.protocol}//${url.host}`
    )
  )
}

/**
 * Exceptions from {@link checkDiscovered} for a discovered endpoint.
 *
 * @since 0.1.0
 * @category models
 */
export interface DiscoveredOptions {
  /** Whether to accept https endpoints in other networks than the issuer's. Default: false. */
  readonly allowPrivate?: boolean | undefined
}

/**
 * Returns the URL of an endpoint from the metadata of `issuer`, if a request with a secret may go there. It
 * checks as {@link check} does. It also refuses an address or name of a loopback, link-local, private or
 * reserved network, unless the issuer is in a network of the same kind. This keeps metadata from sending a
 * token to a service of this machine or of its network.
 *
 * Names are not resolved. Plain http is only for issuers on loopback, even with `allowPrivate`.
 *
 * @since 0.1.0
 * @category validation
 */
export const checkDiscovered = (
  field: string,
  input: string,
  issuer: URL,
  options: DiscoveredOptions = {}
): Either.Either<URL, OAuthConfigError> =>
  Either.flatMap(check(field, input), (url) => {
    const network = networkOf(url.hostname)
    if (network === "public" || network === networkOf(issuer.hostname)) return Either.right(url)
    const place = `${url.protocol}//${url.host}`
    if (url.protocol === "http:") {
      return Either.left(
        invalid(field, `must be https, because the issuer is not on this machine; it is ${place}`)
      )
    }
    return options.allowPrivate === true
      ? Either.right(url)
      : Either.left(
          invalid(
            field,
            `is ${place}, ${networkNames[network]}, and the issuer is not: check that the issuer is the right one; ` +
              "if it is, set `allowPrivateEndpoints`, or give the endpoints by hand"
          )
        )
  })

const networkNames = {
  loopback: "on this machine itself",
  linkLocal: "a link-local address",
  private: "in a private network",
  reserved: "an address that no server has"
}

/**
 * Whether a URL names this machine by a loopback literal or as `localhost`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isLoopback = (url: URL): boolean =>
  url.hostname === "localhost" || url.hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(url.hostname)

/**
 * Formats an endpoint for errors: without its query.
 *
 * @since 0.1.0
 * @category getters
 */
export const display = (input: string | URL): string => {
  const url = parse(input)
  return url === undefined ? "(no URL)" : `${url.protocol}//${url.host}${url.pathname}`
}

const parse = (input: string | URL): URL | undefined => {
  try {
    return new URL(input)
  } catch {
    return undefined
  }
}
