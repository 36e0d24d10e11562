/** What is wrong with settings and with decoded values, which each edition of Effect reports in its own shape. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"

export const invalidSetting = (path: ReadonlyArray<string>, message: string): ConfigError.ConfigError =>
  ConfigError.InvalidData([...path], message)

export const missingSetting = (path: ReadonlyArray<string>, message: string): ConfigError.ConfigError =>
  ConfigError.MissingData([...path], message)

export const isConfigError = ConfigError.isConfigError

/** A setting from its text, or what is wrong with that. */
export const textSetting = <A>(
  name: string,
  read: (text: string) => Either.Either<A, string>
): Config.Config<A> =>
  Config.mapOrFail(Config.string(name), (text) =>
    Either.mapLeft(read(text), (problem) => ConfigError.InvalidData([], problem))
  )

/** A setting made of others. */
export const mapSettings = <A, B>(
  settings: Config.Config<A>,
  f: (value: A) => Either.Either<B, ConfigError.ConfigError>
): Config.Config<B> => Config.mapOrFail(settings, f)

/** The first thing that is wrong with a value. */
export interface Issue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly isMissing: boolean
  /** A value that is right in kind, and does not pass a test. */
  readonly isRefused: boolean
  readonly isUnexpected: boolean
  /** What there is to choose from, as JSON. */
  readonly choices: ReadonlyArray<string>
  readonly message: string
}

export type DecodeError = ParseResult.ParseError

export const firstIssue = (error: DecodeError): Issue => {
  const all = ParseResult.ArrayFormatter.formatErrorSync(error)
  const [first] = all
  const path = first?.path ?? []
  // A choice has an issue for each of what is to be chosen from.
  const here = all.filter((other) => other.path.join() === path.join())
  return {
    path,
    isMissing: first?._tag === "Missing",
    isRefused: first?._tag === "Refinement",
    isUnexpected: first?._tag === "Unexpected",
    choices: here.flatMap(({ message }) => choicesIn(message)),
    message: first?.message ?? error.message
  }
}

/** The names to choose from are ours; what stands after `actual` is theirs. */
const choicesIn = (message: string): ReadonlyArray<string> =>
  /^Expected ("[A-Za-z0-9]+"(?: \| "[A-Za-z0-9]+")*), actual/.exec(message)?.[1]?.split(" | ") ?? []
