/**
 * Tests whether a place can be written by writing to it, because modes do not reveal a full or read-only
 * disk.
 */
import * as fs from "node:fs"
import * as Path from "node:path"
import { codeOf } from "./PrivateText.js"

/** Why a place cannot be written. `place` is the obstacle: the path itself, or a folder above it. */
export interface Problem {
  readonly place: string
  readonly code: string
}

/** As large as the smallest block of a file system. A smaller file may find room where a grant does not. */
const sample = Buffer.alloc(4096)

/** Returns the problem with a folder, or with the nearest existing one above it. Leaves nothing in it. */
export const ofFolder = (folder: string): Problem | undefined => {
  const place = nearest(folder)
  try {
    // Under a folder that will be created, because permissions apply to it in the same way.
    const own = fs.mkdtempSync(Path.join(place, ".latchkey-doctor-"))
    try {
      const file = Path.join(own, "sample")
      const descriptor = fs.openSync(file, "wx", 0o600)
      try {
        fs.writeSync(descriptor, sample)
        fs.fsyncSync(descriptor)
      } finally {
        fs.closeSync(descriptor)
      }
    } finally {
      fs.rmSync(own, { recursive: true, force: true })
    }
    return undefined
  } catch (error) {
    return { place, code: codeOf(error) }
  }
}

/** Returns the problem with an existing file, which stays unchanged. */
export const ofFile = (path: string): Problem | undefined => {
  try {
    fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK))
    return undefined
  } catch (error) {
    const code = codeOf(error)
    return code === "ENOENT" || code === "ENOTDIR" ? undefined : { place: path, code }
  }
}

/** A dangling link counts: a file created there would be at its end. */
const nearest = (folder: string): string => {
  const above = Path.dirname(folder)
  try {
    fs.lstatSync(folder)
    return folder
  } catch (error) {
    const code = codeOf(error)
    return above === folder || (code !== "ENOENT" && code !== "ENOTDIR") ? folder : nearest(above)
  }
}

/** Describes the problem, and what to do about it. `instead` is a setting that chooses another place. */
export const describe = (
  { code, place }: Problem,
  instead?: string
): { readonly found: string; readonly mend: string } => {
  const quoted = JSON.stringify(place)
  const or = (remedy: string): string =>
    instead === undefined ? remedy : `${remedy}; or set ${instead} to a folder that can be written`
  switch (code) {
    case "EROFS":
      return {
        found: `${place} is on a read-only file system.`,
        mend: or("mount it writable")
      }
    case "ENOSPC":
    case "EDQUOT":
      return {
        found: `there is no space left at ${place}${code === "EDQUOT" ? ", by the quota of this user" : ""}.`,
        mend: or("make room on that disk")
      }
    case "ENOTDIR":
      return {
        found: `${place} is not a folder.`,
        mend: or(`move ${quoted} away`)
      }
    case "EACCES":
    case "EPERM":
      return {
        found: `${place} cannot be written by this user (${code}).`,
        mend: or(`chmod u+rwX ${quoted}, or have its owner do so`)
      }
    default:
      return {
        found: `${place} cannot be written (${code}).`,
        mend: or("check that folder")
      }
  }
}
