/** A directory of this user alone, for what can be kept beside no file of this host. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as PrivateDirectory from "../PrivateDirectory.js"

/** None where there is no such place, or somebody else has made it. */
export const ownDirectory: Effect.Effect<Option.Option<string>> = Effect.promise(async () => {
  const uid = process.getuid?.()
  const directory = Path.join(tmpdir(), `latchkey-${uid ?? "holders"}`)
  const look = () => fs.lstat(directory)
  try {
    // Looked at each time: it may have been removed, and made by somebody else.
    const stats = await look().catch(async () => {
      await PrivateDirectory.make(directory)
      return look()
    })
    // Somebody else's would let them feign the death of our holders.
    const ours = uid === undefined || (stats.uid === uid && (stats.mode & 0o077) === 0)
    return stats.isDirectory() && ours ? Option.some(directory) : Option.none()
  } catch {
    return Option.none()
  }
})
