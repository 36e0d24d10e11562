/**
 * Where the command keeps its files: the XDG base directories, and on Windows the local application data.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { homedir, userInfo } from "node:os"
import * as Path from "node:path"

/**
 * - `home`: the user's home directory. Undefined if there is none.
 * - `tilde`: whether a shell expands `~` to that directory too. It does not if `HOME` is empty or relative.
 * - `accounts`: one small file per account, with its settings and where its grant is stored. No secrets.
 * - `store`: the embedded database of the grants.
 * - `providers`: the user's own providers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Paths {
  readonly home: string | undefined
  readonly tilde: boolean
  readonly data: string
  readonly config: string
  readonly accounts: string
  readonly store: string
  readonly providers: string
}

/**
 * The paths from `HOME`, `XDG_DATA_HOME` and `XDG_CONFIG_HOME`. A relative one counts as not set, as the
 * specification of the base directories requires. `LATCHKEY_PROVIDERS_FILE` names another file of providers.
 * A user without a home directory, as in a container, must set the base directories, and the error says so.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Paths, ConfigError.ConfigError> = Effect.gen(function* () {
  const set = yield* Config.option(Config.string("HOME"))
  const home = Option.orElse(yield* directory("HOME"), homeOfUser)
  const windows = process.platform === "win32"
  const local = windows ? yield* directory("LOCALAPPDATA") : Option.none()
  const base = (variable: string, ...below: ReadonlyArray<string>) =>
    Effect.flatMap(directory(variable), (found) =>
      found.pipe(
        Option.orElse(() => local),
        Option.orElse(() => Option.map(home, (at) => Path.join(at, ...below))),
        Either.fromOption(() =>
          ConfigError.MissingData(
            [variable],
            `This user has no home directory: HOME is not set, and the user database has none. Set ${
              windows ? "LOCALAPPDATA" : "HOME, or XDG_DATA_HOME and XDG_CONFIG_HOME"
            } to an absolute path`
          )
        )
      )
    )
  const dataHome = yield* base("XDG_DATA_HOME", ...(windows ? ["AppData", "Local"] : [".local", "share"]))
  const configHome = yield* base("XDG_CONFIG_HOME", ...(windows ? ["AppData", "Local"] : [".config"]))
  const data = Path.join(dataHome, "latchkey")
  const config = Path.join(configHome, "latchkey")
  const named = yield* directory("LATCHKEY_PROVIDERS_FILE")
  return {
    home: Option.getOrUndefined(home),
    tilde: !Option.exists(set, (value) => !Path.isAbsolute(value)),
    data,
    config,
    accounts: Path.join(data, "accounts"),
    store: Path.join(data, "credentials.db"),
    providers: Option.getOrElse(named, () => Path.join(config, "providers.json"))
  }
})

/**
 * Formats a path for people: the home directory as `~`, if a shell expands it in the same way.
 *
 * @since 0.1.0
 * @category getters
 */
export const shorten = ({ home, tilde }: Pick<Paths, "home" | "tilde">, path: string): string => {
  if (home === undefined || !tilde) return path
  if (path === home) return "~"
  return path.startsWith(home + Path.sep) ? `~${path.slice(home.length)}` : path
}

const directory = (variable: string): Config.Config<Option.Option<string>> =>
  Config.map(Config.withDefault(Config.string(variable), ""), Option.liftPredicate(Path.isAbsolute))

/** Node throws if neither `HOME` nor the user database has one. */
const homeOfUser = (): Option.Option<string> => {
  for (const find of [homedir, () => userInfo().homedir]) {
    try {
      const found = find()
      if (Path.isAbsolute(found)) return Option.some(found)
    } catch {
      // There is none.
    }
  }
  return Option.none()
}
