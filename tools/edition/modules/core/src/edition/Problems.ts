/** The problems with settings and decoded values, which each edition of Effect reports in its own form. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

export const invalidSetting = (path: ReadonlyArray<string>, message: string): Config.ConfigError =>
  configError(path, new SchemaIssue.InvalidValue({ message }))

export const missingSetting = (path: ReadonlyArray<string>, message: string): Config.ConfigError =>
  configError(path, new SchemaIssue.MissingKey({ messageMissingKey: message }))

const configError = (path: ReadonlyArray<string>, issue: SchemaIssue.Issue): Config.ConfigError =>
  new Config.ConfigError(
    new Schema.SchemaError(path.length === 0 ? issue : new SchemaIssue.Pointer(path, issue))
  )

export const isConfigError = (error: unknown): error is Config.ConfigError =>
  error instanceof Config.ConfigError

/** Parses a setting from its text, or returns the problem with the text. */
export const textSetting = <A>(
  name: string,
  read: (text: string) => Result.Result<A, string>
): Config.Config<A> =>
  Config.mapEffect(Config.String(name), (text) =>
    Effect.fromResult(Result.mapError(read(text), (problem) => invalidSetting([name], problem)))
  )

/** Combines settings into one. */
export const mapSettings = <A, B>(
  settings: Config.Config<A>,
  f: (value: A) => Result.Result<B, Config.ConfigError>
): Config.Config<B> => Config.mapEffect(settings, (value) => Effect.fromResult(f(value)))

/** The first problem with a value. */
export interface Issue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly isMissing: boolean
  /** Whether the value has the right type but fails a test. */
  readonly isRefused: boolean
  readonly isUnexpected: boolean
  /** The allowed choices, as JSON. */
  readonly choices: ReadonlyArray<string>
  readonly message: string
}

export type DecodeError = Schema.SchemaError

export const firstIssue = (error: DecodeError): Issue => {
  const format = SchemaIssue.makeFormatterStandardSchemaV1()
  const first = format(error.issue).issues[0]
  const keys = (first?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
  const message = first?.message ?? error.message
  const leaf = leafOf(error.issue)
  return {
    path: keys,
    isMissing: leaf === "MissingKey",
    isRefused: leaf === "Filter",
    isUnexpected: leaf === "UnexpectedKey",
    choices:
      /^Expected ("[A-Za-z0-9]+"(?: \| "[A-Za-z0-9]+")*)(?:,|$)/.exec(message)?.[1]?.split(" | ") ?? [],
    message
  }
}

const leafOf = (issue: SchemaIssue.Issue): SchemaIssue.Issue["_tag"] => {
  switch (issue._tag) {
    case "Pointer":
    case "Encoding":
      return leafOf(issue.issue)
    case "Composite":
      return leafOf(issue.issues[0])
    default:
      return issue._tag
  }
}
