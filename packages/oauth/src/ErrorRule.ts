/**
 * What the errors of a server mean that does not speak RFC 6749 §5.2: rules as data, for the `adaptError` of
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
 * What an error means to a grant. `dead`: it has ended, and the user has to log in again. `transient`: the server
 * cannot now, ask again later. `misconfigured`: it refuses the client or the request, and the grant stays.
 *
 * @since 0.1.0
 * @category models
 */
export type Means = "dead" | "transient" | "misconfigured"

/**
 * A rule. All that it names must hold: one of the statuses; a field, with one of the values; a text somewhere in the
 * body. A rule that names nothing matches nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorRule {
  readonly means: Means
  readonly status?: ReadonlyArray<number> | undefined
  /** The keys that lead to a field of the body; where an array is on the way, any of its items counts. */
  readonly path?: ReadonlyArray<string> | undefined
  /** What may stand there, as text: `BAD_REFRESH_TOKEN`, `50173`, `false`. Anything but null unless given. */
  readonly values?: ReadonlyArray<string> | undefined
  /** What the body contains, whatever it is. */
  readonly contains?: string | undefined
}

/**
 * An answer to be judged.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The body, empty where it is neither JSON nor a form. */
  readonly body: Extras
}

/**
 * What an answer means, with the server's own word for it and its explanation. Both are cut, escaped and masked
 * before anybody sees them.
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
 * The meaning by the first rule that matches; none leaves it to the standard.
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

/** The value that a rule found, empty where it names none; undefined if it does not match. */
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
