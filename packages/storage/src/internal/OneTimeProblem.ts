/** How a value that can be taken once may be misused. */
import { StorageError } from "@latchkey/core/TokenStorage"

const misuse = (location: string, message: string): StorageError =>
  new StorageError({ reason: "Malformed", operation: "commit", location, message })

export const badTimeToLive = (location: string): StorageError =>
  misuse(location, "A value for one use needs a positive, finite time to live. Nothing was stored.")

export const keyInUse = (location: string): StorageError =>
  misuse(location, "A value for one use needs a key of its own. Nothing was stored.")
