/**
 * Directories of one user, created if they are missing.
 *
 * @since 0.1.0
 */
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { codeOf } from "./internal/FileProblem.js"

/**
 * Creates a directory and its missing parents, each with mode 0700. An existing directory keeps its mode. If
 * it cannot be created, rejects with the error of the system call, which has its `code`.
 *
 * It does not use Node's `recursive` mode, which tries forever if a directory exists in which nothing can be
 * created and the system reports `ENOENT`, as in `/proc`.
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
      // Another process may have created it meanwhile. A file in its place, or a dangling link, is not a
      // directory.
      if (codeOf(error) !== "EEXIST" || !(await isThere(path))) throw error
    }
  }
}

/**
 * Whether the directory exists. Rejects if something else is in its place, or if that cannot be determined.
 */
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
