/**
 * The challenges that a resource server sends with a 401 or 403: the `WWW-Authenticate` header (RFC 9110
 * §11.6.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3).
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"

/**
 * One challenge. The scheme and the names of its parameters are in lower case.
 *
 * @since 0.1.0
 * @category models
 */
export interface Challenge {
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
}

/** Longer than any challenge. The rest is ignored. */
const maxLength = 16_384

const separators = /[ \t,]*/y
const parameter = /([!#$%&'*+.^_`|~\w-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~\w-]+))/y
const schemeName = /[!#$%&'*+.^_`|~\w-]+(?=[ \t,]|$)/y
const token68 = /[ \t]+[\w\-.~+/]+=*(?=[ \t]*(?:,|$))/y

/**
 * Parses the challenges of a `WWW-Authenticate` header. Parsing stops at the first malformed part; what came
 * before it counts.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (header: string | undefined): ReadonlyArray<Challenge> => {
  const text = (header ?? "").slice(0, maxLength)
  const found: Array<{ readonly scheme: string; readonly parameters: Map<string, string> }> = []
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  for (;;) {
    take(separators)
    const current = found.at(-1)
    const pair = current === undefined ? null : take(parameter)
    if (current !== undefined && pair !== null) {
      const [, name = "", quoted, plain = ""] = pair
      current.parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? plain)
      continue
    }
    const scheme = take(schemeName)
    if (scheme === null) return found
    found.push({ scheme: scheme[0].toLowerCase(), parameters: new Map() })
    take(token68)
  }
}

/**
 * The challenges for a token: those with the scheme `Bearer` or `DPoP`.
 *
 * @since 0.1.0
 * @category getters
 */
export const forTokens = (header: string | undefined): ReadonlyArray<Challenge> =>
  parse(header).filter(({ scheme }) => scheme === "bearer" || scheme === "dpop")

/**
 * What a resource server requires of the user before it accepts the token (RFC 9470 §3).
 *
 * @since 0.1.0
 * @category models
 */
export interface StepUp {
  /** Pass it as `acr_values` in the `authorizationParameters` of a new login. */
  readonly acrValues: Option.Option<string>
  /** In seconds. Pass it as `max_age` in the same way. */
  readonly maxAge: Option.Option<string>
}

/**
 * Returns the step-up that a response asks for, if it does. The user must log in again: a refresh does not
 * help.
 *
 * @since 0.1.0
 * @category getters
 */
export const stepUp = (header: string | undefined): Option.Option<StepUp> => {
  const challenge = forTokens(header).find(
    ({ parameters }) => parameters.get("error") === "insufficient_user_authentication"
  )
  return Option.map(Option.fromNullable(challenge), ({ parameters }) => ({
    acrValues: Option.fromNullable(parameters.get("acr_values")),
    maxAge: Option.fromNullable(parameters.get("max_age"))
  }))
}
