/** The file of a database, private from the start. SQLite gives its companions the same mode. */
import * as Effect from "effect/Effect"
import * as fs from "node:fs/promises"
import { attempt, codeOf, FileProblem } from "./FileProblem.js"
import type { ServerProblem } from "./ServerProblem.js"
import * as PrivateFile from "./PrivateFile.js"

export type Problem = FileProblem | ServerProblem

/** Returns the file at the end of the links, because all its users must find the same companions. */
export const prepare = (filename: string): Effect.Effect<string, FileProblem> =>
  Effect.gen(function* () {
    const target = yield* PrivateFile.resolve(filename, "follow")
    yield* PrivateFile.makeDirectory(target)
    yield* attempt("make", target, () =>
      fs.open(target, "wx", 0o600).then(
        (handle) => handle.close(),
        (error: unknown) => {
          if (codeOf(error) !== "EEXIST") throw error
        }
      )
    )
    yield* PrivateFile.check(target, "self")
    const mode = (yield* attempt("look at", target, () => fs.stat(target))).mode & 0o777
    if (process.platform !== "win32" && (mode & ~0o600) !== 0) {
      return yield* new FileProblem({
        reason: "Insecure",
        message:
          `${target} has mode 0${mode.toString(8).padStart(3, "0")}, so other users can access the credentials; ` +
          `repair it with: chmod 600 ${JSON.stringify(target)}`
      })
    }
    return target
  })
