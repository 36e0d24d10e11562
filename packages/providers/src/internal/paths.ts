import { homedir, userInfo } from "node:os"
import * as Path from "node:path"

/** The path with a leading `~` as the home directory. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") || path.startsWith("~\\") ? Path.join(homedir(), path.slice(2)) : path

export const join = Path.join

export const basename = Path.basename

/** The name of the user whose process this is; undefined where the user database does not know it. */
export const userName = (): string | undefined => {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
