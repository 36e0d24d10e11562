/** Whether a single file is a mount point, as in a container with one file of its host. */
import { readFileSync, realpathSync, statSync } from "node:fs"

/** Spaces, tabs, line feeds and backslashes are written in octal there. */
const unescape = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Returns the mount points in the text of `/proc/self/mountinfo`. */
export const pointsIn = (mountinfo: string): ReadonlyArray<string> =>
  mountinfo.split("\n").flatMap((line) => {
    const point = line.split(" ")[4]
    return point === undefined ? [] : [unescape(point)]
  })

/** False if it cannot be determined. */
export const isMountedFile = (path: string): boolean => {
  try {
    return (
      statSync(path).isFile() &&
      pointsIn(readFileSync("/proc/self/mountinfo", "utf8")).includes(realpathSync(path))
    )
  } catch {
    return false
  }
}
