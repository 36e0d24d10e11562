/**
 * Directories of one user, made where they are missing.
 *
 * @since 0.1.0
 */
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { codeOf } from "./internal/FileProblem.js"

/**
 * Makes a directory and those above it where they are missing, each 0700; one that is there keeps its mode. Where it
 * cannot be made, rejects with the error of the system call, which has its `code`.
 *
 * Not the `recursive` mode of Node: that tries for ever where a directory is there in which nothing can be made and the
 * system says `ENOENT`, as in `/proc`.
 *
 * @since 0.1.0
 * @category operations
 */
export const make = async (directory: string): Promise<void> => {
  const missing: Array<string> = []
  let at = Path.resolve(directory)
  while (!(await isThere(at))) {
    missing.push(at)
    const above = Path.dirname(at)
    if (above === at) break
    at = above
  }
  for (const path of missing.reverse()) {
    try {
      await fs.mkdir(path, { mode: 0o700 })
    } catch (error) {
      // Another process may have made it meanwhile. A file in its place, or a link to nowhere, is no directory.
      if (codeOf(error) !== "EEXIST" || !(await isThere(path))) throw error
    }
  }
}

/** Whether there is a directory; rejects where something else is in its place, or it cannot be known. */
const isThere = async (path: string): Promise<boolean> => {
  try {
    if ((await fs.stat(path)).isDirectory()) return true
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false
    throw error
  }
  throw Object.assign(new Error(`ENOTDIR: not a directory, mkdir ${JSON.stringify(path)}`), {
    code: "ENOTDIR"
  })
}
