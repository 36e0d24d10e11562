/**
 * A directory that only this user can access, for files that have no place beside another file of this host.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as PrivateDirectory from "../PrivateDirectory.js"

/** None if there is no such place, or if somebody else created it. */
export const ownDirectory: Effect.Effect<Option.Option<string>> = Effect.promise(async () => {
  const uid = process.getuid?.()
  const directory = Path.join(tmpdir(), `latchkey-${uid ?? "holders"}`)
  const look = () => fs.lstat(directory)
  try {
    // Checked each time: it may have been removed, and created by somebody else.
    const stats = await look().catch(async () => {
      await PrivateDirectory.make(directory)
      return look()
    })
    // The owner of another user's directory could fake the death of our holders.
    const ours = uid === undefined || (stats.uid === uid && (stats.mode & 0o077) === 0)
    return stats.isDirectory() && ours ? Option.some(directory) : Option.none()
  } catch {
    return Option.none()
  }
})
