/**
 * A file that only its owner may read: found through its symbolic links, read within limits, replaced in one
 * step that a crash cannot tear. Callers hold the file's lock for all writes.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { createHash, randomBytes } from "node:crypto"
import type { BigIntStats } from "node:fs"
import { constants } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { attempt, codeOf, FileProblem } from "./FileProblem.js"
import { close, handOver, type Owner, withLock } from "./KernelLock.js"
import { ownDirectory } from "./OwnDirectory.js"
import * as PrivateDirectory from "../PrivateDirectory.js"

/** What is accepted about a file's environment. */
export interface Policy {
  readonly symlinks: "follow" | "refuse"
  readonly owner: "self" | "any"
  /** What to do with a file that others may read or write. Default: `refuse`. */
  readonly exposed?: "refuse" | "accept"
  readonly maxBytes: number
}

/** The bytes of a file, and what shows that it has not changed. */
export interface Contents {
  readonly bytes: Uint8Array
  readonly stats: BigIntStats
  /** What is wrong with its mode, if that was accepted. */
  readonly exposure: Option.Option<string>
}

/** Windows has neither modes nor owners of this kind. Its directories cannot be flushed. */
const posix = process.platform !== "win32"

const problem = (reason: FileProblem["reason"], message: string, cause?: unknown): FileProblem =>
  new FileProblem({ reason, message, ...(cause === undefined ? {} : { cause }) })

/** As many links as Linux follows. */
const maxLinks = 40

/** Returns the file at the end of a path's symbolic links, whether it exists or not. */
export const resolve = (
  path: string,
  symlinks: Policy["symlinks"],
  links = 0
): Effect.Effect<string, FileProblem> =>
  Effect.gen(function* () {
    const stats = yield* orAbsent("look at", path, () => fs.lstat(path))
    if (Option.isNone(stats) || !stats.value.isSymbolicLink()) return path
    if (symlinks === "refuse") {
      return yield* problem(
        "Denied",
        `${path} is a symbolic link, and they are refused here: give the path of the file itself.`
      )
    }
    if (links >= maxLinks) {
      return yield* problem("Malformed", `The symbolic links at ${path} lead in a circle: repair the link.`)
    }
    const next = yield* attempt("follow the link", path, async () =>
      Path.resolve(await fs.realpath(Path.dirname(path)), await fs.readlink(path))
    )
    return yield* resolve(next, symlinks, links + 1)
  })

/**
 * Refuses a file that may not be used, before anything is put beside it. Returns its owner if that is another
 * user.
 */
export const check = (
  path: string,
  owner: Policy["owner"]
): Effect.Effect<Option.Option<Owner>, FileProblem> =>
  Effect.gen(function* () {
    const stats = yield* orAbsent("look at", path, () => fs.lstat(path, { bigint: true }))
    if (Option.isNone(stats)) return Option.none()
    const refused = kindProblem(path, stats.value, owner)
    if (refused !== undefined) return yield* refused
    const other = { uid: Number(stats.value.uid), gid: Number(stats.value.gid) }
    return posix && other.uid !== process.getuid?.() ? Option.some(other) : Option.none()
  })

/** Returns the contents of a private file, or none if there is no file. */
export const read = (path: string, policy: Policy): Effect.Effect<Option.Option<Contents>, FileProblem> =>
  Effect.acquireUseRelease(
    // O_NONBLOCK: a FIFO must not block the open.
    orAbsent("read", path, () =>
      fs.open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOFOLLOW ?? 0))
    ),
    Option.match({
      onNone: () => Effect.succeedNone,
      onSome: (handle) => Effect.asSome(readOpen(handle, path, policy))
    }),
    Option.match({ onNone: () => Effect.void, onSome: close })
  )

const readOpen = (handle: FileHandle, path: string, policy: Policy): Effect.Effect<Contents, FileProblem> =>
  Effect.gen(function* () {
    const stats = yield* attempt("read", path, () => handle.stat({ bigint: true }))
    const change = yield* changeable(path, stats)
    const refused = kindProblem(path, stats, policy.owner, change)
    if (refused !== undefined) return yield* refused
    const exposure = Option.map(exposureOf(path, stats), (found) => `${found}; ${modeAdvice(path, change)}`)
    if (Option.isSome(exposure) && policy.exposed !== "accept") {
      return yield* problem("Insecure", exposure.value)
    }
    if (stats.size > BigInt(policy.maxBytes)) return yield* tooLarge(path, policy.maxBytes)
    // The file may grow while it is read. The limit applies to the bytes read, not to the announced size.
    const buffer = Buffer.alloc(Math.min(Number(stats.size), policy.maxBytes) + 1)
    let length = 0
    while (length < buffer.length) {
      const { bytesRead } = yield* attempt("read", path, () =>
        handle.read(buffer, length, buffer.length - length)
      )
      if (bytesRead === 0) break
      length += bytesRead
    }
    if (length > policy.maxBytes) return yield* tooLarge(path, policy.maxBytes)
    return { bytes: buffer.subarray(0, length), stats, exposure }
  })

/** Whether this process may change the mode and the owner of a file, and why not. */
type Change = "possible" | "read-only" | "not-owner"

const changeable = (path: string, stats: BigIntStats): Effect.Effect<Change> => {
  const self = process.getuid?.()
  if (!posix || isPrivate(stats, self)) return Effect.succeed("possible")
  // For a file that nobody may write, the directory shows whether its medium is read-only.
  return Effect.map(Effect.all([refusalOf(path), refusalOf(Path.dirname(path))]), (codes) =>
    codes.some((code) => Option.contains(code, "EROFS"))
      ? "read-only"
      : self !== 0 && Number(stats.uid) !== self
        ? "not-owner"
        : "possible"
  )
}

const modeOf = (stats: BigIntStats): number => Number(stats.mode & 0o777n)

const isPrivate = (stats: BigIntStats, self: number | undefined): boolean =>
  (modeOf(stats) & ~0o600) === 0 && Number(stats.uid) === self

const exposureOf = (path: string, stats: BigIntStats): Option.Option<string> => {
  const mode = modeOf(stats)
  return posix && (mode & ~0o600) !== 0
    ? Option.some(
        `${path} has mode 0${mode.toString(8).padStart(3, "0")}, so other users can access the credentials`
      )
    : Option.none()
}

/** Somebody else made a read-only mount, of a secret for example, and can change it. */
const modeAdvice = (path: string, change: Change): string =>
  change === "possible"
    ? `repair it with: chmod 600 ${quoted(path)}`
    : `${unchangeable[change]}. Mount it with mode 0400 for this user (\`defaultMode\` in Kubernetes), or copy it to a ` +
      'directory of this user, or accept it unchanged with the option `exposed: "accept"`.'

const unchangeable = {
  "read-only": "its file system is read-only, so its mode cannot be changed here",
  "not-owner": "it belongs to another user, so its mode cannot be changed here"
}

const kindProblem = (
  path: string,
  stats: BigIntStats,
  owner: Policy["owner"],
  change: Change = "possible"
): FileProblem | undefined => {
  if (!stats.isFile()) {
    const kind = stats.isDirectory() ? "a directory" : stats.isFIFO() ? "a FIFO" : "not a regular file"
    return problem("Malformed", `${path} is ${kind}: give the path of a file.`)
  }
  const self = process.getuid?.()
  return posix && owner === "self" && Number(stats.uid) !== self
    ? problem(
        "Denied",
        `${path} belongs to user ${stats.uid}, not to this one (${self}): ` +
          (change === "read-only"
            ? "its file system is read-only, so its owner cannot be changed here. Mount it for this user " +
              "(`runAsUser` or `fsGroup` in Kubernetes), or copy it to a directory of this user, or accept it with " +
              'the option `owner: "any"`.'
            : `run as its owner, or change the owner with: chown ${self} ${quoted(path)}`)
      )
    : undefined
}

export const tooLarge = (path: string, maxBytes: number): FileProblem =>
  problem("Malformed", `${path} is larger than the ${maxBytes} bytes allowed: is it the right file?`)

/** Quotes a word for a POSIX shell, so that you can copy the command from a message. */
const quoted = (path: string): string =>
  /^[\w./~+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`

const exists = (path: string): Effect.Effect<boolean, FileProblem> =>
  Effect.map(
    orAbsent("look at", path, () => fs.lstat(path)),
    Option.isSome
  )

export const directoryExists = (path: string): Effect.Effect<boolean, FileProblem> =>
  exists(Path.dirname(path))

/** Creates the directory of a file with mode 0700, and its missing parents. */
export const makeDirectory = (path: string): Effect.Effect<void, FileProblem> =>
  Effect.asVoid(attempt("make the directory of", path, () => PrivateDirectory.make(Path.dirname(path))))

/** The suffixes of the files beside a credential file. Other programs use a plain `.lock` themselves. */
export const lockOf = (path: string): string => `${path}.latchkey.lock`
export const leaseOf = (path: string): string => `${path}.latchkey.lease`
/** The complete contents that are being written in place. */
export const journalOf = (path: string): string => `${path}.latchkey.journal`
const temporaryOf = (path: string): string => `${path}.latchkey.${randomBytes(16).toString("hex")}.tmp`
export const holderOf = (path: string, id: string): string => `${path}.latchkey.holder-${id}`
const holder = /\.latchkey\.holder-[0-9a-f]{32}$/
const temporary = /\.latchkey\.[0-9a-f]{32}\.tmp$/
const backup = /\.latchkey\.backup-(\d{1,15})$/

/** A file, and the path beside which its companions lie: its own path wherever they can be created there. */
export interface Place {
  readonly target: string
  readonly beside: string
  /** Its reader does not know the journal, so it is never written in place. */
  readonly onlyReplaced?: boolean
}

/**
 * A file may be writable while its directory is not (for example a single file mounted into a container whose
 * other files are read-only). Then its companions lie in a directory of this user.
 */
export const placeOf = (target: string): Effect.Effect<Place, FileProblem> =>
  Effect.gen(function* () {
    const here = { target, beside: target }
    if (!posix || Option.isNone(yield* refusalOf(Path.dirname(target)))) return here
    // If the file cannot be written either, a later write reports it.
    if (Option.isSome(yield* refusalOf(target))) return here
    const own = yield* ownDirectory
    if (Option.isNone(own)) {
      return yield* problem(
        "Denied",
        `The directory of ${target} cannot be written, and there is none for its lock in ${tmpdir()}: ` +
          "make one of them writable, or set TMPDIR."
      )
    }
    const name = createHash("sha256").update(target).digest("hex").slice(0, 32)
    return { target, beside: Path.join(own.value, `${name}-${Path.basename(target)}`) }
  })

/** Returns the system's code for why this process may not write there. None if it may. */
export const refusalOf = (path: string): Effect.Effect<Option.Option<string>> =>
  Effect.promise(() =>
    fs.access(path, constants.W_OK).then(
      () => Option.none<string>(),
      (error: unknown) => Option.some(codeOf(error))
    )
  )

/**
 * Replaces the contents of a file durably, with mode 0600. `previous` is the contents read before: if it has
 * changed, nothing is written and the result is false. `owner` becomes the file's owner, if that is another
 * user. The last `backups` earlier contents are kept. A step that fails undoes nothing that was good: the new
 * contents are complete before the old file is touched, and only then an old backup is removed.
 */
export const replace = (
  place: Place,
  bytes: Uint8Array,
  previous: Option.Option<Contents>,
  owner: Option.Option<Owner>,
  backups = 0
): Effect.Effect<boolean, FileProblem> => {
  const { beside, target } = place
  const temp = temporaryOf(beside)
  return Effect.gen(function* () {
    yield* writeNew(temp, bytes, owner)
    const backup =
      backups > 0 && Option.isSome(previous)
        ? yield* keepBackup(beside, previous.value.bytes, owner)
        : Option.none<string>()
    const dropBackup = Option.match(backup, {
      onNone: () => Effect.void,
      onSome: (path) => Effect.ignore(unlink(path))
    })
    const done = yield* Effect.onError(swap(place, temp, bytes, previous), () => dropBackup)
    if (!done) {
      yield* dropBackup
      yield* unlink(temp)
      return false
    }
    yield* syncDirectory(target)
    yield* Effect.ignore(pruneBackups(beside, backups))
    return true
  }).pipe(Effect.onError(() => Effect.ignore(unlink(temp))))
}

/** The codes of a failed rename of a mount point, or in a directory of another user. */
const unmovable: ReadonlySet<string> = new Set(["EBUSY", "EXDEV", "EPERM", "EACCES"])

const swap = (
  place: Place,
  temp: string,
  bytes: Uint8Array,
  previous: Option.Option<Contents>
): Effect.Effect<boolean, FileProblem> =>
  Effect.gen(function* () {
    const { beside, onlyReplaced = !posix, target } = place
    if (!(yield* isStill(target, previous))) return false
    const there = Option.getOrUndefined(previous)
    if (beside !== target && there !== undefined) return yield* writeInPlace(place, temp, bytes, there)
    const renamed = yield* Effect.either(attempt("replace", target, () => fs.rename(temp, target)))
    if (Either.isRight(renamed)) return true
    const code = codeOf(renamed.left.cause)
    if (onlyReplaced || there === undefined || !unmovable.has(code)) return yield* renamed.left
    return yield* Effect.mapError(writeInPlace(place, temp, bytes, there), (failed) =>
      problem(
        failed.reason,
        `${target} cannot be replaced (${code}): it may be a mounted file. Writing it in place ` +
          `failed too: ${failed.message} Mount its directory instead.`,
        failed.cause
      )
    )
  })

/**
 * Writes the bytes into the file itself, if it cannot be replaced. `temp`, which holds all of them, first
 * becomes the journal: a file that a crash tears is read from there. Programs that see the same file through
 * other mounts do not see its companions, so the file itself is locked too.
 */
const writeInPlace = (
  { beside, target }: Place,
  temp: string,
  bytes: Uint8Array,
  previous: Contents
): Effect.Effect<boolean, FileProblem> => {
  const journal = journalOf(beside)
  const overwrite = Effect.acquireUseRelease(
    attempt("write", target, () => fs.open(target, constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0))),
    (handle) =>
      attempt("write", target, () => fill(handle, bytes)).pipe(
        Effect.onError(() =>
          attempt("write", target, () => fill(handle, previous.bytes)).pipe(
            Effect.andThen(unlink(journal)),
            Effect.ignore
          )
        )
      ),
    close
  )
  return withLock(
    target,
    inPlaceLockMillis,
    Option.none(),
    Effect.gen(function* () {
      if (!(yield* isStill(target, Option.some(previous)))) return false
      yield* attempt("replace", journal, () => fs.rename(temp, journal))
      yield* syncDirectory(journal)
      yield* overwrite
      yield* Effect.ignore(unlink(journal))
      return true
    })
  )
}

const inPlaceLockMillis = 5_000

/** Replaces the contents of a file with these bytes, and flushes it. */
const fill = async (handle: FileHandle, bytes: Uint8Array): Promise<void> => {
  for (let at = 0; at < bytes.length;) {
    at += (await handle.write(bytes, at, bytes.length - at, at)).bytesWritten
  }
  await handle.truncate(bytes.length)
  await handle.sync()
}

/** Creates a file, complete and flushed, or none. */
const writeNew = (
  path: string,
  bytes: Uint8Array,
  owner: Option.Option<Owner>
): Effect.Effect<void, FileProblem> =>
  Effect.acquireUseRelease(
    attempt("write", path, () => fs.open(path, "wx", 0o600)),
    (handle) =>
      Effect.andThen(
        handOver(handle, path, owner),
        attempt("write", path, async () => {
          await handle.writeFile(bytes)
          await handle.sync()
        })
      ).pipe(Effect.onError(() => Effect.ignore(unlink(path)))),
    close
  )

const isStill = (path: string, previous: Option.Option<Contents>): Effect.Effect<boolean, FileProblem> =>
  Effect.map(
    orAbsent("look at", path, () => fs.lstat(path, { bigint: true })),
    (now) => {
      if (Option.isNone(now) || Option.isNone(previous)) return Option.isNone(now) && Option.isNone(previous)
      const then = previous.value.stats
      return (["dev", "ino", "size", "mtimeNs", "ctimeNs"] as const).every(
        (key) => now.value[key] === then[key]
      )
    }
  )

/** Removes a file durably, if it exists. A file that cannot be removed is left with only `{}` in it. */
export const remove = (
  place: Place,
  contents: Option.Option<Contents>,
  owner: Option.Option<Owner>
): Effect.Effect<boolean, FileProblem> =>
  unlink(place.target).pipe(
    Effect.andThen(syncDirectory(place.target)),
    Effect.as(true),
    Effect.catchIf(
      ({ cause }) => posix && unremovable.has(codeOf(cause)),
      (failed) =>
        Effect.catchAll(replace(place, Buffer.from("{}\n"), contents, owner), () => Effect.fail(failed))
    )
  )

/** The codes of a failed removal of a mount point, or from a directory that cannot be written. */
const unremovable: ReadonlySet<string> = new Set([...unmovable, "EROFS"])

export const unlink = (path: string): Effect.Effect<void, FileProblem> =>
  Effect.asVoid(orAbsent("remove", path, () => fs.unlink(path)))

const syncDirectory = (path: string): Effect.Effect<void, FileProblem> =>
  posix
    ? Effect.acquireUseRelease(
        attempt("open the directory of", path, () => fs.open(Path.dirname(path), constants.O_RDONLY)),
        (handle) =>
          attempt("flush the directory of", path, () =>
            handle.sync().catch((error: unknown) => {
              // Some file systems have nothing to flush for a directory, and report an error.
              if (!["EINVAL", "ENOTSUP"].includes(codeOf(error))) throw error
            })
          ),
        close
      )
    : Effect.void

const siblings = (path: string, pattern: RegExp): Effect.Effect<ReadonlyArray<string>, FileProblem> =>
  attempt("list the directory of", path, async () => {
    const base = Path.basename(path)
    const names = await fs.readdir(Path.dirname(path))
    return names
      .filter((name) => name.startsWith(base) && pattern.test(name) && name.replace(pattern, "") === base)
      .map((name) => Path.join(Path.dirname(path), name))
  })

/**
 * Removes the temporary files of dead writers. Only the holder of the lock writes one, so each one that the
 * holder finds is an orphan.
 */
export const sweep = (path: string): Effect.Effect<void, FileProblem> =>
  Effect.flatMap(siblings(path, temporary), Effect.forEach(unlink, { discard: true }))

/** Returns the files that the holders of leases keep locked, both of living and dead holders. */
export const holders = (path: string): Effect.Effect<ReadonlyArray<string>, FileProblem> =>
  siblings(path, holder)

const serialOf = (name: string): number => Number(backup.exec(name)?.[1] ?? 0)

const backupsOf = (path: string): Effect.Effect<ReadonlyArray<string>, FileProblem> =>
  Effect.map(siblings(path, backup), (found) => [...found].sort((a, b) => serialOf(b) - serialOf(a)))

/**
 * Keeps these bytes beside the file with mode 0600. Returns the path, unless they were already kept. A backup
 * gets its name last, so it is always complete.
 */
const keepBackup = (
  path: string,
  bytes: Uint8Array,
  owner: Option.Option<Owner>
): Effect.Effect<Option.Option<string>, FileProblem> =>
  Effect.gen(function* () {
    const [newest = ""] = yield* backupsOf(path)
    const kept = newest !== "" && (yield* holds(newest, bytes))
    if (kept) return Option.none<string>()
    const temp = temporaryOf(path)
    const name = `${path}.latchkey.backup-${serialOf(newest) + 1}`
    yield* writeNew(temp, bytes, owner)
    yield* Effect.onError(
      attempt("keep a backup of", path, () => fs.rename(temp, name)),
      () => Effect.ignore(unlink(temp))
    )
    return Option.some(name)
  })

const holds = (path: string, bytes: Uint8Array): Effect.Effect<boolean> =>
  Effect.promise(() =>
    fs.readFile(path).then(
      (found) => found.equals(bytes),
      () => false
    )
  )

/** Keeps the last `count` backups. */
const pruneBackups = (path: string, count: number): Effect.Effect<void, FileProblem> =>
  count === 0
    ? Effect.void
    : Effect.flatMap(backupsOf(path), (kept) => Effect.forEach(kept.slice(count), unlink, { discard: true }))

/** Removes the journal of an unfinished write in place, now that the file is complete again. */
export const dropJournal = (path: string): Effect.Effect<void> => Effect.ignore(unlink(journalOf(path)))

/** Removes all backups beside the file. */
export const removeKept = (path: string): Effect.Effect<void, FileProblem> =>
  Effect.flatMap(siblings(path, backup), (kept) =>
    Effect.forEach([...kept, journalOf(path)], unlink, { discard: true })
  )

/** Runs a call on something that may not exist. */
const orAbsent = <A>(
  doing: string,
  path: string,
  call: () => Promise<A>
): Effect.Effect<Option.Option<A>, FileProblem> =>
  attempt(doing, path, () =>
    call().then(Option.some, (error: unknown) => {
      if (codeOf(error) === "ENOENT") return Option.none<A>()
      throw error
    })
  )
