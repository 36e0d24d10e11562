/**
 * The compiled code of this command, which Node 22.8 and later keep in a directory of this user: it holds code only.
 * Another user who can write there could change what the command does. So the directory is neither Node's own
 * default, which users share, nor one of another user.
 */
import { existsSync, mkdirSync, statSync } from "node:fs"
import * as Module from "node:module"
import { dirname, isAbsolute, join } from "node:path"

/** The directory, in the user's cache directory. Undefined without one, and where files have no owner. */
export const directoryIn = (
  environment: Readonly<Record<string, string | undefined>>
): string | undefined => {
  const { HOME: home = "", XDG_CACHE_HOME: cache = "" } = environment
  if (isAbsolute(cache)) return join(cache, "latchkey", "compiled")
  return isAbsolute(home) ? join(home, ".cache", "latchkey", "compiled") : undefined
}

/** Creates what is missing of a directory: itself, and at most the two above it. */
const create = (directory: string): void => {
  // Not by `recursive`: if nothing can be created, as in /proc, Node tries again without end. And not by
  // `PrivateDirectory`, which would load Effect before the cache is on, and create a home that is missing.
  for (const part of [dirname(dirname(directory)), dirname(directory), directory]) {
    if (!existsSync(part)) mkdirSync(part, { mode: 0o700 })
  }
}

/** Creates a directory, and returns whether only this user can write there. */
export const isPrivate = (directory: string): boolean => {
  create(directory)
  const { mode, uid } = statSync(directory)
  return uid === process.getuid?.() && (mode & 0o022) === 0
}

/** Without a cache, the command only starts more slowly. */
export const enable = (environment: Readonly<Record<string, string | undefined>>): void => {
  // The types are those of Node 20, which has no such cache.
  const { enableCompileCache } = Module as { readonly enableCompileCache?: (directory: string) => unknown }
  const directory = directoryIn(environment)
  if (enableCompileCache === undefined || directory === undefined) return
  try {
    if (isPrivate(directory)) enableCompileCache(directory)
  } catch {
    // Not writable.
  }
}
