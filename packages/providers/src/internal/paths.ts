import { realpathSync } from "node:fs"
import { homedir, userInfo } from "node:os"
import * as Path from "node:path"

/** The path with a leading `~` as the home directory. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") || path.startsWith("~\\") ? Path.join(homedir(), path.slice(2)) : path

export const join = Path.join

export const basename = Path.basename

export const dirname = Path.dirname

export const isAbsolute = Path.isAbsolute

/**
 * The one path of a directory without links, as Rust's standard library has it; of one that is not there, by
 * its parent's.
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

/** The name of the user whose process this is; undefined where the user database does not know it. */
export const userName = (): string | undefined => {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
