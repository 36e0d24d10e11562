import * as Effect from "effect/Effect"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"

/** A directory of its own, removed at the end of the scope. */
export const freshDirectory = Effect.acquireRelease(
  Effect.promise(async () => fs.realpath(await fs.mkdtemp(Path.join(tmpdir(), "latchkey-")))),
  (path) => Effect.promise(() => fs.rm(path, { recursive: true, force: true }))
)

/** The path of a file that is not there yet, in a directory that is. */
export const freshPath = Effect.map(freshDirectory, (directory) => Path.join(directory, "credentials.json"))
