/** Describes problems with settings. The text names the place and quotes nothing that may be secret. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { Problems } from "@latchkey/core/internal-api"

/** Returns the value, or the place and kind of the problem: `client.id is missing`. */
export const decode = <A, I>(schema: Schema.Schema<A, I>, value: unknown): Either.Either<A, string> =>
  Either.mapLeft(Schema.decodeUnknownEither(schema, strict)(value), firstProblem)

/** Otherwise a misspelt setting would be ignored. */
const strict = { onExcessProperty: "error" } as const

const firstProblem = (error: Problems.DecodeError): string => {
  const { choices, isMissing, isRefused, isUnexpected, message, path } = Problems.firstIssue(error)
  const place = path.length === 0 ? "the value" : path.map(nameOf).join(".")
  if (isMissing) return `${place} is missing`
  if (isUnexpected) return `${place} is not a setting: see providers.schema.json for the settings`
  if (isRefused && !message.startsWith("Expected")) return `${place} ${message}`
  return `${place} is not valid here${choices.length === 0 ? "" : `: ${choices.join(", ")}`}`
}

/** Hides a key that hardly looks like a name: it may be a misplaced secret. */
const nameOf = (key: PropertyKey): string => {
  const name = String(key)
  return /^[\w-]{1,32}$/.test(name) ? name : `(a name of ${name.length} characters)`
}
