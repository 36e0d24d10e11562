/** The directory of a provider's own program, where the environment names one. */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Provider } from "../Provider.js"
import * as Paths from "./paths.js"

export const of = ({
  credentials
}: Provider): Effect.Effect<Option.Option<string>, ConfigError.ConfigError> =>
  credentials?.directoryVariable === undefined
    ? Effect.succeedNone
    : Config.option(Config.nonEmptyString(credentials.directoryVariable))

/** A file by its path, or by its name in that directory. */
export const pathIn = (directory: Option.Option<string>, file: string): string =>
  Option.match(directory, {
    onNone: () => Paths.expand(file),
    onSome: (d) => Paths.join(Paths.expand(d), Paths.basename(file))
  })
