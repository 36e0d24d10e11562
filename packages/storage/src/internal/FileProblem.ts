/** A problem with a file, before it is known which operation of which port it belongs to. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { StorageError } from "@latchkey/core/TokenStorage"

export class FileProblem extends Data.TaggedError("FileProblem")<{
  readonly reason: StorageError["reason"]
  readonly message: string
  readonly cause?: unknown
}> {}

/** Returns the system's code of a failure, such as `ENOENT`. */
export const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string"
    ? error.code
    : "unknown"

const known: Readonly<Record<string, readonly [StorageError["reason"], string]>> = {
  EACCES: ["Denied", "permission is missing: check the owner and mode of the file and its directory"],
  EPERM: ["Denied", "permission is missing: check the owner and mode of the file and its directory"],
  EROFS: ["Denied", "the file system is read-only: remount it for writing, or keep the file elsewhere"],
  ENOSPC: ["Denied", "the disk is full: make room"],
  EDQUOT: ["Denied", "the disk quota is used up: make room"],
  EFBIG: ["Denied", "files may not be that large here: raise the limit (ulimit -f)"],
  ELOOP: [
    "Malformed",
    "the symbolic links lead in a circle, or to a link put there meanwhile: repair the link"
  ],
  EISDIR: ["Malformed", "it is a directory: give the path of a file"],
  EEXIST: ["Malformed", "something else is in its place, such as a link that leads nowhere: move it away"],
  ENOTDIR: ["Malformed", "a part of the path is not a directory: correct the path"],
  ENXIO: ["Malformed", "it is not a regular file: give the path of a file"],
  ENAMETOOLONG: ["Malformed", "the path is too long: shorten it"],
  ENOENT: [
    "Unavailable",
    "a part of the path is missing and cannot be made, or has just vanished: correct the path, or try again"
  ],
  EMFILE: ["Unavailable", "too many files are open: try again later, or raise the limit"],
  ENFILE: ["Unavailable", "too many files are open: try again later, or raise the limit"]
}

/** Converts a failed system call to a problem. The cause keeps only the code. */
export const fromSystem =
  (doing: string, path: string) =>
  (error: unknown): FileProblem => {
    const code = codeOf(error)
    const [reason, advice] = known[code] ?? ["Unavailable", "the system refused; try again later"]
    return new FileProblem({
      reason,
      message: `Cannot ${doing} ${path} (${code}): ${advice}.`,
      cause: { code }
    })
  }

/** Runs a system call, with a typed failure. */
export const attempt = <A>(
  doing: string,
  path: string,
  call: () => Promise<A>
): Effect.Effect<A, FileProblem> => Effect.tryPromise({ try: call, catch: fromSystem(doing, path) })
