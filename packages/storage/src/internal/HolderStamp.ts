/**
 * When the holder of a lease last renewed it, stored in the file that it keeps locked. It is an instant of
 * the monotonic clock, which has a meaning only for processes of the same kernel.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { FileHandle } from "node:fs/promises"
import * as fs from "node:fs/promises"

/** A fixed length, so that one write replaces another completely. */
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
