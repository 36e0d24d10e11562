/**
 * Watches one file through the kernel's watch on its directory, because a rename replaces the file itself.
 */
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Streams } from "@latchkey/core/internal-api"
import { watch } from "node:fs"
import * as Path from "node:path"
import { type FileProblem, fromSystem } from "./FileProblem.js"
import { pause } from "./KernelLock.js"
import * as PrivateFile from "./PrivateFile.js"

/**
 * A program that writes in place causes several changes. Those within this time, in milliseconds, are
 * reported as one.
 */
const quietMillis = 20

export const changes = (
  settings: { readonly path: string } & Pick<PrivateFile.Policy, "symlinks">,
  failed: (problem: FileProblem) => StorageError
): Stream.Stream<void, StorageError> =>
  Streams.fromCallbacks<void, StorageError>("newest", (emit) =>
    Effect.gen(function* () {
      const target = yield* PrivateFile.resolve(settings.path, settings.symlinks)
      yield* PrivateFile.makeDirectory(target)
      const name = Path.basename(target)
      yield* Effect.acquireRelease(
        Effect.try({
          try: () =>
            watch(Path.dirname(target), { persistent: false }, (_, changed) => {
              if (changed === null || changed === name) emit.single(undefined)
            }).on("error", (error) => emit.fail(failed(fromSystem("watch", target)(error)))),
          catch: fromSystem("watch", target)
        }),
        (watcher) => Effect.sync(() => watcher.close())
      )
    }).pipe(Effect.mapError(failed))
  ).pipe(Stream.tap(() => pause(quietMillis)))
