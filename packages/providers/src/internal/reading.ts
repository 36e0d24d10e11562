/** What is wrong with settings, in words that name the place and quote nothing that may be a secret. */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

/** The value, or where it is wrong and how: `client.id is missing`. */
export const decode = <A, I>(schema: Schema.Schema<A, I>, value: unknown): Either.Either<A, string> =>
  Either.mapLeft(Schema.decodeUnknownEither(schema, strict)(value), firstProblem)

/** A misspelt setting would otherwise be no setting. */
const strict = { onExcessProperty: "error" } as const

const firstProblem = (error: ParseResult.ParseError): string => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
  const issue = issues[0]!
  const path = issue.path.map(nameOf).join(".")
  const place = path === "" ? "the value" : path
  switch (issue._tag) {
    case "Missing":
      return `${place} is missing`
    case "Unexpected":
      return `${place} is not a setting: see providers.schema.json for the settings`
    case "Refinement":
      return issue.message.startsWith("Expected") ? `${place} is not valid here` : `${place} ${issue.message}`
    default: {
      // A choice has an issue for each of what is to be chosen from.
      const here = issues.filter((other) => other.path.map(nameOf).join(".") === path)
      const names = here.flatMap(({ message }) => expected(message))
      return `${place} is not valid here${names.length === 0 ? "" : `: ${names.join(", ")}`}`
    }
  }
}

/** Not what hardly is a name: it may be a secret in the wrong place. */
const nameOf = (key: PropertyKey): string => {
  const name = String(key)
  return /^[\w-]{1,32}$/.test(name) ? name : `(a name of ${name.length} characters)`
}

/** The names to choose from are ours; what stands after `actual` is theirs. */
const expected = (message: string): ReadonlyArray<string> =>
  /^Expected ("[A-Za-z0-9]+"(?: \| "[A-Za-z0-9]+")*), actual/.exec(message)?.[1]?.split(" | ") ?? []
