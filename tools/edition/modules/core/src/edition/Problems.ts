/** What is wrong with settings and with decoded values, which each edition of Effect reports in its own shape. */
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

/** A setting from its text, or what is wrong with that. */
export const textSetting = <A>(
  name: string,
  read: (text: string) => Result.Result<A, string>
): Config.Config<A> =>
  Config.mapEffect(Config.String(name), (text) =>
    Effect.fromResult(Result.mapError(read(text), (problem) => invalidSetting([name], problem)))
  )

/** The first thing that is wrong with a value. */
export interface Issue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly isMissing: boolean
  readonly message: string
}

export type DecodeError = Schema.SchemaError

export const firstIssue = (error: DecodeError): Issue => {
  const format = SchemaIssue.makeFormatterStandardSchemaV1()
  const first = format(error.issue).issues[0]
  const keys = (first?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
  return { path: keys, isMissing: isMissing(error.issue), message: first?.message ?? error.message }
}

const isMissing = (issue: SchemaIssue.Issue): boolean => {
  switch (issue._tag) {
    case "MissingKey":
      return true
    case "Pointer":
    case "Filter":
    case "Encoding":
      return isMissing(issue.issue)
    case "Composite":
      return isMissing(issue.issues[0])
    default:
      return false
  }
}
