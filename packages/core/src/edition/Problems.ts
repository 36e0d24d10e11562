/** The problems with settings and decoded values, which each edition of Effect reports in its own form. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"

export const invalidSetting = (path: ReadonlyArray<string>, message: string): ConfigError.ConfigError =>
  ConfigError.InvalidData([...path], message)

export const missingSetting = (path: ReadonlyArray<string>, message: string): ConfigError.ConfigError =>
  ConfigError.MissingData([...path], message)

export const isConfigError = ConfigError.isConfigError

/** Parses a setting from its text, or returns the problem with the text. */
export const textSetting = <A>(
  name: string,
  read: (text: string) => Either.Either<A, string>
): Config.Config<A> =>
  Config.mapOrFail(Config.string(name), (text) =>
    Either.mapLeft(read(text), (problem) => ConfigError.InvalidData([], problem))
  )

/** Combines settings into one. */
export const mapSettings = <A, B>(
  settings: Config.Config<A>,
  f: (value: A) => Either.Either<B, ConfigError.ConfigError>
): Config.Config<B> => Config.mapOrFail(settings, f)

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

export type DecodeError = ParseResult.ParseError

export const firstIssue = (error: DecodeError): Issue => {
  const all = ParseResult.ArrayFormatter.formatErrorSync(error)
  const [first] = all
  const path = first?.path ?? []
  // A union has an issue for each of its members.
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

/** The names of the choices come from this library. The text after `actual` comes from the input. */
const choicesIn = (message: string): ReadonlyArray<string> =>
  /^Expected ("[A-Za-z0-9]+"(?: \| "[A-Za-z0-9]+")*), actual/.exec(message)?.[1]?.split(" | ") ?? []
