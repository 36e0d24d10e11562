/** Whether a place can be written to, found out by writing to it: modes tell nothing of a full or read-only disk. */
import * as fs from "node:fs"
import * as Path from "node:path"
import { codeOf } from "./PrivateText.js"

/** Why a place cannot be written to. `place` is what stands in the way: the path itself, or a folder above it. */
export interface Problem {
  readonly place: string
  readonly code: string
}

/** As large as the smallest block of a file system: less may find room where a grant does not. */
const sample = Buffer.alloc(4096)

/** What is wrong with a folder, or with the nearest one above it that is there; nothing is left in it. */
export const ofFolder = (folder: string): Problem | undefined => {
  const place = nearest(folder)
  try {
    // Under a folder that is yet to be made, as that one would be.
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

/** What is wrong with a file that is there; it stays as it is. */
export const ofFile = (path: string): Problem | undefined => {
  try {
    fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK))
    return undefined
  } catch (error) {
    const code = codeOf(error)
    return code === "ENOENT" || code === "ENOTDIR" ? undefined : { place: path, code }
  }
}

/** A link to nowhere counts: what is made there would be made at its end. */
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

/** The problem in words, and what to do about it; `instead` is a setting by which another place is used. */
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
