/**
 * Where the command keeps its files: the XDG base directories, and on Windows the local application data.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import { homedir } from "node:os"
import * as Path from "node:path"

/**
 * - `home`: the user's own directory.
 * - `accounts`: one small file an account that says what it is and where its grant lives; no secrets.
 * - `store`: the embedded database of the grants.
 * - `providers`: the user's own providers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Paths {
  readonly home: string
  readonly data: string
  readonly config: string
  readonly accounts: string
  readonly store: string
  readonly providers: string
}

/**
 * The paths from `HOME`, `XDG_DATA_HOME` and `XDG_CONFIG_HOME`; a relative one of these counts as not set,
 * as the specification of the base directories has it. `LATCHKEY_PROVIDERS_FILE` names another file of providers.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Paths, ConfigError.ConfigError> = Effect.gen(function* () {
  const home = yield* directory("HOME", homedir())
  const windows = process.platform === "win32"
  const local = yield* directory("LOCALAPPDATA", Path.join(home, "AppData", "Local"))
  const dataHome = yield* directory("XDG_DATA_HOME", windows ? local : Path.join(home, ".local", "share"))
  const configHome = yield* directory("XDG_CONFIG_HOME", windows ? local : Path.join(home, ".config"))
  const data = Path.join(dataHome, "latchkey")
  const config = Path.join(configHome, "latchkey")
  const providers = yield* directory("LATCHKEY_PROVIDERS_FILE", Path.join(config, "providers.json"))
  return {
    home,
    data,
    config,
    accounts: Path.join(data, "accounts"),
    store: Path.join(data, "credentials.db"),
    providers
  }
})

/**
 * A path for people: the home directory as `~`.
 *
 * @since 0.1.0
 * @category getters
 */
export const shorten = (paths: Pick<Paths, "home">, path: string): string =>
  path === paths.home
    ? "~"
    : path.startsWith(paths.home + Path.sep)
      ? `~${path.slice(paths.home.length)}`
      : path

const directory = (variable: string, otherwise: string): Config.Config<string> =>
  Config.map(Config.withDefault(Config.string(variable), ""), (value) =>
    Path.isAbsolute(value) ? value : otherwise
  )
