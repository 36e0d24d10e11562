/** Checks the fields of a token response one by one: which are usable, and what is wrong with the rest. */
import * as Either from "effect/Either"
import * as Option from "effect/Option"

/**
 * Fields that this library does not interpret, kept as they came.
 *
 * @since 0.1.0
 * @category models
 */
export type Extras = Readonly<Record<string, unknown>>

/** In characters. Servers refuse headers that are far shorter. */
const longestToken = 131_072

/**
 * Returns the problem with a token, if there is one. A token is one or more visible ASCII characters or
 * spaces (RFC 6749, appendix A.12), and not a word that broken software writes in place of a token.
 *
 * @since 0.1.0
 * @category validation
 */
export const tokenProblem = (value: unknown): Option.Option<string> => {
  if (typeof value !== "string") return Option.some(`is ${describeType(value)}, not a string`)
  if (value.trim() === "") return Option.some("is blank")
  if (value === "undefined" || value === "null") return Option.some(`is the word "${value}"`)
  if (value.length > longestToken) return Option.some("is longer than any header can carry")
  return /^[\x20-\x7e]+$/.test(value)
    ? Option.none()
    : Option.some("has a control character or one outside ASCII")
}

/**
 * Returns the problem with a token type, if there is one. It goes into a header as a scheme: one to 100
 * characters of an RFC 9110 §5.6.2 token.
 *
 * @since 0.1.0
 * @category validation
 */
export const tokenTypeNameProblem = (value: unknown): Option.Option<string> =>
  typeof value !== "string"
    ? Option.some(`is ${describeType(value)}, not a string`)
    : /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/.test(value)
      ? Option.none()
      : Option.some("is not a token type (RFC 9110 §5.6.2)")

export const describeType = (value: unknown): string => {
  if (value === undefined) return "missing"
  if (value === null) return "null"
  if (Array.isArray(value)) return "an array"
  return typeof value === "object" ? "an object" : `a ${typeof value}`
}

/** Some servers send an array instead of a space-separated string. */
export const scopesOf = (value: unknown): Either.Either<ReadonlyArray<string>, string> => {
  const words = (text: string) => text.split(/\s/).filter((scope) => scope !== "")
  if (value == null) return Either.right([])
  if (typeof value === "string") return Either.right(words(value))
  return Array.isArray(value) && value.every((each) => typeof each === "string")
    ? Either.right(value.flatMap(words))
    : Either.left(
        `is ${Array.isArray(value) ? "an array of other things" : describeType(value)}, not a string`
      )
}

/** Lifetimes above this (about 31 years) are absolute times or nonsense. */
const maxLifetimeSeconds = 1_000_000_000

export const lifetimeSeconds = (value: unknown): Either.Either<Option.Option<number>, string> => {
  if (value === undefined) return Either.right(Option.none())
  const seconds = typeof value === "string" && /^\d{1,12}(\.\d{1,12})?$/.test(value) ? Number(value) : value
  if (typeof seconds !== "number") {
    return Either.left(
      `is ${typeof value === "string" ? "not a number" : describeType(value)}, not a number of seconds`
    )
  }
  if (seconds < 0) return Either.left("is negative")
  return seconds <= maxLifetimeSeconds
    ? Either.right(Option.some(seconds))
    : Either.left("is too large: it may be an absolute time, or in the wrong unit")
}

const known = new Set([
  ...["access_token", "refresh_token", "id_token", "token_type", "expires_in", "refresh_in", "scope"]
])

/**
 * The limits for unknown fields, in characters of JSON and in levels of nesting. More could not be stored.
 */
const mostExtras = 262_144
const deepestExtras = 64

/**
 * Merges the unknown fields of a response over those that are kept. It leaves out a field that would keep the
 * tokens from being stored. It leaves out all of them if they would grow without end, refresh after refresh.
 */
export const withUnknownFields = (kept: Extras, response: Extras): Extras => {
  const fields = Object.entries(response).filter(
    ([name, value]) => !known.has(name) && name !== "__proto__" && isFlat(value, deepestExtras)
  )
  if (fields.length === 0) return kept
  const merged = { ...kept, ...Object.fromEntries(fields) }
  return JSON.stringify(merged).length <= mostExtras ? merged : kept
}

const isFlat = (value: unknown, levels: number): boolean =>
  typeof value !== "object" ||
  value === null ||
  (levels > 0 &&
    Object.entries(value).every(([name, inner]) => name !== "__proto__" && isFlat(inner, levels - 1)))
