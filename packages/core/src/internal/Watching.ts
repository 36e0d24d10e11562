/** Changes of storage by others, as long as storage tells of them. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { StorageError } from "../TokenStorage.js"

/** How long after a failure it is listened again, in milliseconds. */
const pause = 30_000

/**
 * Calls `note` for each change, until there are no more. Where the stream fails, that is told, `missed` is called for
 * what nobody tells of meanwhile, and it is listened again later.
 */
export const watch = <A>(
  changes: Stream.Stream<A, StorageError>,
  on: {
    readonly note: (change: A) => void
    readonly missed: () => void
    readonly failed: (error: StorageError) => Effect.Effect<void>
  }
): Effect.Effect<void> =>
  Stream.runForEach(changes, (change) => Effect.sync(() => on.note(change))).pipe(
    Effect.catchAll((error) =>
      Effect.gen(function* () {
        yield* on.failed(error)
        on.missed()
        yield* Effect.sleep(pause)
        // What changed before it is listened to again was not told either.
        on.missed()
        return yield* watch(changes, on)
      })
    )
  )
