/**
 * Changes a settings file of another program: completely or not at all, and never over a change that was
 * made meanwhile.
 */
import * as PrivateDirectory from "@latchkey/storage/PrivateDirectory"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import { attempt, beside, codeOf, describe, type FileProblem, read, replace } from "./PrivateText.js"

const failed = (problem: FileProblem): Failure.Failure => Failure.storage("Settings", describe(problem))

const ifAny = <A>(found: Promise<A>): Promise<A | undefined> =>
  found.catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  })

/** A link to the file, as those of a folder of settings, stays a link. */
const target = (path: string): Effect.Effect<string, FileProblem> =>
  attempt(path, async () => {
    const real = await ifAny(fs.realpath(path))
    if (real !== undefined) return real
    if ((await ifAny(fs.lstat(path))) !== undefined) throw Object.assign(new Error(), { code: "EEXIST" })
    await PrivateDirectory.make(Path.dirname(path))
    return Path.join(await fs.realpath(Path.dirname(path)), Path.basename(path))
  })

/** git and kubectl use a lock of this name for their own changes. */
const locked = (path: string) =>
  Effect.acquireRelease(
    Effect.mapError(
      attempt(path, () => fs.open(`${path}.lock`, "wx", 0o600)),
      (problem) =>
        problem.code === "EEXIST"
          ? new Failure.Failure({
              code: ExitCode.tryLater,
              reason: "Busy",
              message: `${path} is being changed by another program: ${path}.lock exists.`,
              next: "try again; if no program runs, remove that lock"
            })
          : failed(problem)
    ),
    (handle) =>
      Effect.promise(async () => {
        await handle.close()
        await fs.rm(`${path}.lock`, { force: true })
      })
  )

/** Returns the text of a file without changing anything. None if there is no file. */
export const current = (path: string): Effect.Effect<Option.Option<string>, Failure.Failure> =>
  Effect.mapError(read(path), failed)

const same = (a: Option.Option<string>, b: Option.Option<string>): boolean =>
  Option.getOrUndefined(a) === Option.getOrUndefined(b)

/**
 * Replaces the text of a file with what `change` returns for it; none leaves it as it is. `change` gets the
 * real path too. Returns whether the file was changed. A new file gets `mode`; an old one keeps mode and
 * owner.
 */
export const edit = <R>(
  path: string,
  mode: number,
  change: (
    text: Option.Option<string>,
    path: string
  ) => Effect.Effect<Option.Option<string>, Failure.Failure, R>
): Effect.Effect<boolean, Failure.Failure, R> =>
  Effect.gen(function* () {
    const real = yield* Effect.mapError(target(path), failed)
    yield* locked(real)
    const before = yield* current(real)
    const after = yield* change(before, real)
    if (Option.isNone(after) || same(before, after)) return false
    if (!same(before, yield* current(real))) {
      return yield* new Failure.Failure({
        code: ExitCode.tryLater,
        reason: "Busy",
        message: `${path} was changed by another program at the same time, and was left as it is.`,
        next: "try again"
      })
    }
    yield* Effect.mapError(
      attempt(real, () => replaceAlike(real, after.value, mode)),
      failed
    )
    return true
  }).pipe(Effect.scoped, Effect.uninterruptible)

/** The new file has owner and mode of the old one. */
const replaceAlike = async (path: string, text: string, mode: number): Promise<void> => {
  const old = await ifAny(fs.stat(path))
  await replace(path, text, async (handle) => {
    if (old !== undefined && (old.uid !== process.getuid?.() || old.gid !== process.getgid?.())) {
      await handle.chown(old.uid, old.gid)
    }
    await handle.chmod(old === undefined ? mode : old.mode & 0o7777)
  })
}

/**
 * Has a program change a private copy of the file, in the same folder, so that relative paths in it stay
 * true. Returns the new text.
 */
export const inCopy = <A, R>(
  path: string,
  text: Option.Option<string>,
  use: (copy: string) => Effect.Effect<A, Failure.Failure, R>
): Effect.Effect<string, Failure.Failure, R> =>
  Effect.acquireUseRelease(
    Effect.mapError(
      attempt(path, async () => {
        const copy = beside(path)
        await fs.writeFile(
          copy,
          Option.getOrElse(text, () => ""),
          { mode: 0o600, flag: "wx" }
        )
        return copy
      }),
      failed
    ),
    (copy) =>
      Effect.andThen(
        use(copy),
        Effect.map(current(copy), (changed) => Option.getOrElse(changed, () => ""))
      ),
    (copy) => Effect.promise(() => fs.rm(copy, { force: true }))
  )
