/** The medium of a database that cannot be written: what is wrong with it, and what can still be read. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { attempt, FileProblem } from "./FileProblem.js"
import { ownDirectory } from "./OwnDirectory.js"
import * as PrivateFile from "./PrivateFile.js"

/** Why nothing can be written there, for people. None if the medium is not the reason. */
export const problemOf = (file: string): Effect.Effect<Option.Option<string>> =>
  Effect.gen(function* () {
    const directory = Path.dirname(file)
    const refusals = yield* Effect.all([
      PrivateFile.refusalOf(file),
      PrivateFile.refusalOf(directory),
      PrivateFile.refusalOf(`${file}-wal`)
    ])
    const code = Option.firstSomeOf(refusals.map(Option.filter((found) => found !== "ENOENT")))
    if (Option.isSome(code)) {
      return Option.some(
        code.value === "EROFS"
          ? `the file system of ${directory} is read-only (EROFS): remount it for writing, or keep the file elsewhere`
          : `${file} or its directory is not writable for this user (${code.value}): check their owner and mode`
      )
    }
    const isFull = yield* Effect.promise(() =>
      fs.statfs(directory).then(
        // The driver's shared memory takes 32 KiB, and its log at least a page of 4 KiB.
        ({ bavail, bsize }) => bavail * bsize < 65_536,
        () => false
      )
    )
    return isFull ? Option.some(`the disk of ${directory} is full (ENOSPC): make room`) : Option.none()
  })

/** The codes with which SQLite blames the medium. */
export const isOfMedium = (code: string): boolean => /^SQLITE_(IOERR|READONLY|CANTOPEN|FULL|PERM)/.test(code)

/**
 * Provides a name under which the driver reads a database without writing anything beside it. If its log
 * holds data that is not in the file yet, that is a copy of both in a directory of this user, while `use`
 * runs.
 */
export const withReadable = <A, E>(
  file: string,
  use: (name: string) => Effect.Effect<A, E>
): Effect.Effect<A, E | FileProblem> =>
  Effect.flatMap(hasLog(file), (log) =>
    log
      ? Effect.acquireUseRelease(copy(file), use, (name) =>
          Effect.promise(() => fs.rm(Path.dirname(name), { recursive: true, force: true }).catch(() => {}))
        )
      : use(`file:${file.split("/").map(encodeURIComponent).join("/")}?immutable=1`)
  )

const hasLog = (file: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    fs.stat(`${file}-wal`).then(
      ({ size }) => size > 0,
      () => false
    )
  )

const copy = (file: string): Effect.Effect<string, FileProblem> =>
  Effect.gen(function* () {
    const own = yield* ownDirectory
    if (Option.isNone(own)) {
      return yield* new FileProblem({
        reason: "Unavailable",
        message: `The log of ${file} cannot be read there, and there is no directory for a copy: set TMPDIR.`,
        cause: { code: "ENOENT" }
      })
    }
    const directory = Path.join(own.value, `read-${randomBytes(16).toString("hex")}`)
    const name = Path.join(directory, "copy.db")
    yield* attempt("copy", file, async () => {
      await fs.mkdir(directory, { mode: 0o700 })
      await fs.copyFile(file, name)
      await fs.copyFile(`${file}-wal`, `${name}-wal`)
    }).pipe(
      Effect.onError(() =>
        Effect.promise(() => fs.rm(directory, { recursive: true, force: true }).catch(() => {}))
      )
    )
    return name
  })
