import { homedir } from "node:os"
import * as Path from "node:path"

/** The path with a leading `~` as the home directory. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") || path.startsWith("~\\") ? Path.join(homedir(), path.slice(2)) : path

export const join = Path.join

export const basename = Path.basename
