import type * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import { Problems } from "@latchkey/core/internal-api"
import { realpathSync } from "node:fs"
import { homedir, userInfo } from "node:os"
import * as Path from "node:path"

/** From `HOME`, or from the user database. Undefined if neither has it, as for a container's user. */
const home = (): string | undefined => {
  for (const find of [homedir, () => userInfo().homedir]) {
    try {
      const found = find()
      if (Path.isAbsolute(found)) return found
    } catch {
      // The next source may know it.
    }
  }
  return undefined
}

/** Expands a leading `~` in the path to the home directory. */
export const expand = (path: string): Either.Either<string, ConfigError.ConfigError> => {
  if (path !== "~" && !path.startsWith("~/") && !path.startsWith("~\\")) return Either.right(path)
  return Either.map(
    Either.fromNullable(home(), () =>
      Problems.missingSetting(
        ["HOME"],
        `${path} is in the home directory, and this user has none: set HOME, or the variable or setting that names another place`
      )
    ),
    (directory) => Path.join(directory, path.slice(2))
  )
}

export const join = Path.join

export const basename = Path.basename

export const dirname = Path.dirname

export const isAbsolute = Path.isAbsolute

/**
 * Returns the canonical path of a directory without links, like Rust's standard library. If it does not
 * exist, uses its parent's.
 */
export const canonical = (path: string): string => {
  const absolute = Path.resolve(path)
  const real =
    realOr(absolute) ??
    Path.join(realOr(Path.dirname(absolute)) ?? Path.dirname(absolute), Path.basename(absolute))
  return process.platform === "win32" && /^[A-Za-z]:\\/.test(real) ? `\\\\?\\${real}` : real
}

const realOr = (path: string): string | undefined => {
  try {
    return realpathSync.native(path)
  } catch {
    return undefined
  }
}

/** Returns the name of this process's user. Undefined if the user database does not know it. */
export const userName = (): string | undefined => {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
