/**
 * When the holder of a lease last renewed it, in the file that it keeps locked: an instant of the monotonic clock,
 * which means something to the processes of the same kernel alone.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { FileHandle } from "node:fs/promises"
import * as fs from "node:fs/promises"

/** Always as long, so that one write takes the place of another whole. */
const length = 24

/** Best effort: without a stamp the written end of the lease decides. */
export const write = (handle: FileHandle, monotonic: number): Effect.Effect<void> =>
  Effect.promise(() =>
    handle.write(monotonic.toFixed(3).padStart(length), 0).then(
      () => {},
      () => {}
    )
  )

export const read = (path: string): Effect.Effect<Option.Option<number>> =>
  Effect.promise(() =>
    fs.readFile(path, "utf8").then(
      (text) =>
        Option.filter(Option.some(Number(text)), (at) => text.length === length && Number.isFinite(at)),
      () => Option.none()
    )
  )
