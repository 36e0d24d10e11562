/**
 * The meaning of errors of a server that departs from RFC 6749 §5.2: rules as data, for the `adaptError` of
 * `TokenEndpoint`.
 *
 * ```ts
 * const adaptError = ErrorRule.matching([
 *   { means: "dead", status: [400], path: ["status"], values: ["BAD_REFRESH_TOKEN"] },
 *   { means: "transient", status: [404] }
 * ])
 * ```
 *
 * @since 0.1.0
 */
import type { Extras } from "@latchkey/core/Credentials"
import * as Option from "effect/Option"

/**
 * What an error means for a grant.
 *
 * - `dead`: the grant has ended, and the user must log in again.
 * - `transient`: the server cannot answer now. Try again later.
 * - `misconfigured`: the server refuses the client or the request. The grant remains.
 *
 * @since 0.1.0
 * @category models
 */
export type Means = "dead" | "transient" | "misconfigured"

/**
 * A rule. Everything that it names must hold: one of the statuses; a field with one of the values; a text
 * somewhere in the body. A rule that names nothing matches nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorRule {
  readonly means: Means
  readonly status?: ReadonlyArray<number> | undefined
  /** The keys that lead to a field of the body. If there is an array on the way, any of its items counts. */
  readonly path?: ReadonlyArray<string> | undefined
  /** The allowed values as text: `BAD_REFRESH_TOKEN`, `50173`, `false`. Default: anything but null. */
  readonly values?: ReadonlyArray<string> | undefined
  /** A text that the body contains, whatever its format. */
  readonly contains?: string | undefined
}

/**
 * A response to be judged.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The body. Empty if it is neither JSON nor a form. */
  readonly body: Extras
}

/**
 * The meaning of a response, with the server's own code and explanation. Both are truncated, escaped and
 * masked before they are shown.
 *
 * @since 0.1.0
 * @category models
 */
export interface Meaning {
  readonly means: Means
  readonly code?: string | undefined
  readonly description?: string | undefined
}

/**
 * Returns the meaning by the first rule that matches. None leaves it to the standard.
 *
 * @since 0.1.0
 * @category constructors
 */
export const matching =
  (rules: ReadonlyArray<ErrorRule>) =>
  (answer: ErrorAnswer): Option.Option<Meaning> => {
    for (const rule of rules) {
      const code = match(rule, answer)
      if (code !== undefined) return Option.some({ means: rule.means, ...(code !== "" && { code }) })
    }
    return Option.none()
  }

/** Returns the value that a rule found, empty if it names none. Undefined if the rule does not match. */
const match = (
  { contains, path, status, values }: ErrorRule,
  { body, status: answered, text }: ErrorAnswer
): string | undefined => {
  if (status === undefined && path === undefined && contains === undefined) return undefined
  if (status !== undefined && !status.includes(answered)) return undefined
  if (contains !== undefined && (contains === "" || !text.includes(contains))) return undefined
  if (path === undefined) return ""
  const found = valuesAt(body, path)
  if (values === undefined) return found[0]
  return found.find((value) => values.includes(value))
}

const valuesAt = (value: unknown, path: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (Array.isArray(value)) return value.flatMap((item) => valuesAt(item, path))
  const [key, ...rest] = path
  if (key === undefined) {
    return ["string", "number", "boolean"].includes(typeof value) ? [String(value)] : []
  }
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? valuesAt((value as Extras)[key], rest)
    : []
}
