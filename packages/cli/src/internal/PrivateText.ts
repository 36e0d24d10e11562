/** Small text files of this user: read completely, replaced completely. */
import * as PrivateDirectory from "@latchkey/storage/PrivateDirectory"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import * as Path from "node:path"

export class FileProblem extends Data.TaggedError("FileProblem")<{
  readonly path: string
  readonly code: string
}> {}

/** Far larger than any file written by hand. */
const maxBytes = 1_048_576

export const codeOf = (error: unknown): string => {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code
  return typeof code === "string" ? code : "unknown"
}

export const attempt = <A>(path: string, use: () => Promise<A>): Effect.Effect<A, FileProblem> =>
  Effect.tryPromise({ try: use, catch: (error) => new FileProblem({ path, code: codeOf(error) }) })

/** None if there is no file. */
export const read = (path: string): Effect.Effect<Option.Option<string>, FileProblem> =>
  attempt(path, async () => {
    const handle = await fs.open(path, "r").catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return undefined
      throw error
    })
    if (handle === undefined) return Option.none()
    try {
      if ((await handle.stat()).size > maxBytes) throw Object.assign(new Error(), { code: "EFBIG" })
      return Option.some(await handle.readFile("utf8"))
    } finally {
      await handle.close()
    }
  })

/** A name for a copy beside a file, which no other process uses. */
export const beside = (path: string): string => `${path}.${randomBytes(6).toString("hex")}.tmp`

/**
 * Replaces a file: completely or not at all, even after a crash. The new one is private until `settle` has set its owner
 * and mode.
 */
export const replace = async (
  path: string,
  text: string,
  settle?: (handle: fs.FileHandle) => Promise<void>
): Promise<void> => {
  const temporary = beside(path)
  try {
    const handle = await fs.open(temporary, "wx", 0o600)
    try {
      await handle.writeFile(text)
      await settle?.(handle)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, path)
  } catch (error) {
    await fs.rm(temporary, { force: true })
    throw error
  }
}

/** Private from the start. Complete or not at all, even after a crash. */
export const write = (path: string, text: string): Effect.Effect<void, FileProblem> =>
  attempt(path, async () => {
    await PrivateDirectory.make(Path.dirname(path))
    await replace(path, text)
  })

export const remove = (path: string): Effect.Effect<void, FileProblem> =>
  attempt(path, () => fs.rm(path, { force: true }))

/** The names in a directory. None if it does not exist. */
export const list = (path: string): Effect.Effect<ReadonlyArray<string>, FileProblem> =>
  attempt(path, () =>
    fs.readdir(path).catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return []
      throw error
    })
  )

const words: Readonly<Record<string, string>> = {
  EACCES: "this user may not read or write it: check its owner and mode",
  EPERM: "this user may not read or write it: check its owner and mode",
  EROFS: "it is on a read-only file system: mount it writable, or keep it elsewhere",
  ENOSPC: "there is no space left: make room",
  EDQUOT: "the disk quota is used up: make room",
  EISDIR: "it is a directory: move it away",
  ENOTDIR: "a part of its path is not a directory: move that part away",
  EEXIST: "a link in its path is broken: remove that link",
  ENOENT: "its directory cannot be created: check the directories above it",
  EFBIG: "it is larger than 1 MiB: move it away",
  ELOOP: "its links are broken: remove them"
}

export const describe = ({ code, path }: FileProblem): string =>
  `${path} cannot be used: ${words[code] ?? `the system says ${code}: check that path`}.`
