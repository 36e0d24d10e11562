import { homedir, userInfo } from "node:os"
import * as Path from "node:path"

/** The path with a leading `~` as the home directory. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") || path.startsWith("~\\") ? Path.join(homedir(), path.slice(2)) : path

export const join = Path.join

export const basename = Path.basename

/** The name of the user whose process this is. */
export const userName = (): string => {
  try {
    return userInfo().username
  } catch {
    // The user database need not know a container's user.
    return process.env["USER"] ?? "user"
  }
}
