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
    : Effect.map(
        Config.option(Config.nonEmptyString(credentials.directoryVariable)),
        Option.map(formed(credentials.directoryForm))
      )

/**
 * A file by its path, or by its name in that directory. Two forms of one name are two places on most file
 * systems, so its program's form is the only right one.
 */
export const pathIn = ({ credentials }: Provider, directory: Option.Option<string>, file: string): string =>
  formed(credentials?.directoryForm)(
    Option.match(directory, {
      onNone: () => Paths.expand(file),
      onSome: (d) => Paths.join(Paths.expand(d), Paths.basename(file))
    })
  )

const formed =
  (form: "NFC" | "NFD" | undefined) =>
  (path: string): string =>
    form === undefined ? path : path.normalize(form)
