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

/** The first thing that is wrong with a value. */
export interface Issue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly isMissing: boolean
  readonly message: string
}

export type DecodeError = ParseResult.ParseError

export const firstIssue = (error: DecodeError): Issue => {
  const [first] = ParseResult.ArrayFormatter.formatErrorSync(error)
  return {
    path: first?.path ?? [],
    isMissing: first?._tag === "Missing",
    message: first?.message ?? error.message
  }
}
