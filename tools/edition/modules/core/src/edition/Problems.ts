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

/** Combines settings by their names. It names all problems, where `Config.all` stops at the first. */
export const allSettings = <A extends Readonly<Record<string, Config.Config<unknown>>>>(settings: A) => {
  const problems = Config.all(
    Object.values(settings).map((setting) =>
      Config.map(setting, (): ReadonlyArray<Config.ConfigError> => []).pipe(
        Config.orElse((problem) => Config.succeed([problem]))
      )
    )
  )
  const check = Config.mapEffect(problems, (each) => failWith(each.flat()))
  return Config.map(Config.all([check, Config.all(settings)]), ([, values]) => values)
}

const failWith = (problems: ReadonlyArray<Config.ConfigError>): Effect.Effect<void, Config.ConfigError> => {
  const [first, ...others] = problems
  if (first === undefined) return Effect.void
  const [issue, ...issues] = problems.flatMap(({ cause }) =>
    cause._tag === "SchemaError" ? [cause.issue] : []
  )
  return Effect.fail(
    others.length === 0 || issue === undefined
      ? first
      : new Config.ConfigError(
          new Schema.SchemaError(new SchemaIssue.Composite(Schema.Unknown.ast, [issue, ...issues]))
        )
  )
}

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
  const message = first?.message ?? error.message
  const { kind, path } = firstLeaf(error.issue)
  return {
    path,
    isMissing: kind === "MissingKey",
    isRefused: kind === "Filter",
    isUnexpected: kind === "UnexpectedKey",
    choices:
      /^Expected ("[A-Za-z0-9]+"(?: \| "[A-Za-z0-9]+")*)(?:,|$)/.exec(message)?.[1]?.split(" | ") ?? [],
    message
  }
}

/** Where the first problem is, and what it is. The value of an `Option` or a `Redacted` has the path of the whole. */
const firstLeaf = (
  issue: SchemaIssue.Issue,
  path: ReadonlyArray<PropertyKey> = []
): { readonly path: ReadonlyArray<PropertyKey>; readonly kind: SchemaIssue.Issue["_tag"] } => {
  switch (issue._tag) {
    case "Pointer":
      return firstLeaf(issue.issue, [...path, ...issue.path])
    case "Encoding":
      return firstLeaf(issue.issue, path)
    case "AnyOf":
    case "Composite": {
      const [first] = issue.issues
      if (first === undefined) return { path, kind: issue._tag }
      const isValue = issue.ast._tag === "Declaration" && first._tag === "Pointer"
      return firstLeaf(isValue ? first.issue : first, path)
    }
    default:
      return { path, kind: issue._tag }
  }
}
