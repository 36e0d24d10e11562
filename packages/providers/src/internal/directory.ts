/** The directory of a provider's own program, if the environment names one. */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
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
 * Returns a file by its path, or by its name in that directory. On most file systems two Unicode forms of one
 * name are two places, so only its program's form is right.
 */
export const pathIn = (
  { credentials }: Provider,
  directory: Option.Option<string>,
  file: string
): Either.Either<string, ConfigError.ConfigError> =>
  Either.map(
    Option.match(directory, {
      onNone: () => Paths.expand(file),
      onSome: (d) => Either.map(Paths.expand(d), (found) => Paths.join(found, Paths.basename(file)))
    }),
    formed(credentials?.directoryForm)
  )

const formed =
  (form: "NFC" | "NFD" | undefined) =>
  (path: string): string =>
    form === undefined ? path : path.normalize(form)

const settingsDirectory = "$XDG_CONFIG_HOME"

/**
 * Expands a path that may begin with a directory of settings: an XDG base directory, or the local application
 * data on Windows.
 */
export const expand = (path: string): Effect.Effect<string, ConfigError.ConfigError> =>
  path.startsWith(`${settingsDirectory}/`)
    ? Effect.map(settingsHome, (directory) => Paths.join(directory, path.slice(settingsDirectory.length)))
    : Effect.suspend(() => Paths.expand(path))

const isWindows = process.platform === "win32"

/** A relative one counts as not set, as the specification requires. */
export const settingsHome: Effect.Effect<string, ConfigError.ConfigError> = Effect.flatMap(
  Config.withDefault(Config.string(isWindows ? "LOCALAPPDATA" : "XDG_CONFIG_HOME"), ""),
  (directory) =>
    Paths.isAbsolute(directory)
      ? Effect.succeed(directory)
      : Paths.expand(isWindows ? "~/AppData/Local" : "~/.config")
)
