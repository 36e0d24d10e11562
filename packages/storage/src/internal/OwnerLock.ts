/** One lock of another program, taken and released by that program's own protocol. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Fibers } from "@latchkey/core/internal-api"
import { spawn } from "node:child_process"
import { constants, type BigIntStats } from "node:fs"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { codeOf } from "./FileProblem.js"
import * as KernelLock from "./KernelLock.js"
import * as PrivateDirectory from "../PrivateDirectory.js"

/**
 * One lock. `path` is absolute. `stale`, in milliseconds, is for the kind `directory`. `create` says whether
 * to create a missing file of a `kernel` lock, and a missing parent directory of the lock.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnerLock {
  readonly path: string
  readonly kind: "directory" | "kernel"
  readonly during: "refresh" | "write" | "both"
  readonly stale: number
  readonly create: boolean
}

/** `Busy`: another program holds it. `Broken`: what is at its path is not a lock, or cannot become one. */
export class OwnerLockProblem extends Data.TaggedError("OwnerLockProblem")<{
  readonly reason: "Busy" | "Broken"
  readonly path: string
  readonly cause?: unknown
}> {}

export interface Taken {
  readonly isHeld: Effect.Effect<boolean>
  readonly release: Effect.Effect<void>
}

/** Real time, in which other processes and the times of files live, whatever clock this program uses. */
const realClock = Fibers.systemClock

/**
 * The locks that this process holds. The owner's protocol knows only processes, so this set excludes within
 * the process.
 */
const heldHere = new Set<string>()

const busy = (path: string) => new OwnerLockProblem({ reason: "Busy", path })
const broken = (path: string, error: unknown) =>
  new OwnerLockProblem({ reason: "Broken", path, cause: { code: codeOf(error) } })

/** Takes it, or fails at once. */
export const take = (lock: OwnerLock): Effect.Effect<Taken, OwnerLockProblem> =>
  Effect.suspend(() => {
    if (heldHere.has(lock.path)) return Effect.fail(busy(lock.path))
    heldHere.add(lock.path)
    const taking = lock.kind === "directory" ? takeDirectory(lock) : takeKernel(lock)
    return Effect.onError(
      Effect.map(taking, ({ isHeld, release }) => ({
        isHeld,
        release: Effect.ensuring(
          release,
          Effect.sync(() => heldHere.delete(lock.path))
        )
      })),
      () => Effect.sync(() => heldHere.delete(lock.path))
    )
  })

/** Takes it, or shares it if this process holds it for a refresh, whose writes are part of that. */
export const takeAgain = (lock: OwnerLock): Effect.Effect<Taken, OwnerLockProblem> =>
  Effect.suspend(() =>
    heldHere.has(lock.path) && lock.during === "both" ? Effect.succeed(notTaken) : take(lock)
  )

const notTaken: Taken = { isHeld: Effect.succeed(true), release: Effect.void }

/** The owner could not lock there either. What is held there is still visible. */
const unwritable: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS"])

/** How often a holder touches its directory, in milliseconds. `proper-lockfile` does it at least as often. */
const touchEvery = (stale: number): number => Math.min(5000, stale / 3)

const takeDirectory = (lock: OwnerLock): Effect.Effect<Taken, OwnerLockProblem> =>
  Effect.gen(function* () {
    const made = yield* Effect.tryPromise({
      try: () => makeDirectory(lock),
      catch: (error) => (error instanceof OwnerLockProblem ? error : broken(lock.path, error))
    })
    if (made === undefined) return notTaken
    const mine = { touched: made, lost: false }
    const beat = yield* Effect.forkDaemon(
      Effect.forever(
        Effect.andThen(
          KernelLock.pause(touchEvery(lock.stale)),
          Effect.promise(() => touchIfMine(lock.path, mine))
        )
      ).pipe(Effect.interruptible)
    )
    return {
      isHeld: Effect.map(
        Effect.promise(() => isMine(lock.path, mine)),
        (there) => there && !mine.lost
      ),
      release: Effect.andThen(
        Fiber.interrupt(beat),
        Effect.promise(async () => {
          // Another process that took it for stale has it now. Then it must not be removed.
          if (await isMine(lock.path, mine)) await fs.rmdir(lock.path).catch(() => undefined)
        })
      )
    }
  })

/** Returns when it was touched. Undefined if nobody can create it. */
const makeDirectory = async (lock: OwnerLock, attempts = 3): Promise<bigint | undefined> => {
  try {
    await fs.mkdir(lock.path)
    return await touch(lock.path)
  } catch (error) {
    const code = codeOf(error)
    if (unwritable.has(code)) return undefined
    if (attempts === 0) throw busy(lock.path)
    if (code === "ENOENT") {
      if (!lock.create) return undefined
      await PrivateDirectory.make(Path.dirname(lock.path))
      return makeDirectory(lock, attempts - 1)
    }
    if (code !== "EEXIST") throw error
    const there = await statOrNone(lock.path)
    if (there !== undefined) {
      if (!there.isDirectory() || !isStale(there, lock.stale)) throw busy(lock.path)
      await fs.rmdir(lock.path).catch((failure: unknown) => {
        if (codeOf(failure) !== "ENOENT") throw unwritable.has(codeOf(failure)) ? busy(lock.path) : failure
      })
    }
    return makeDirectory(lock, attempts - 1)
  }
}

/** A live holder touches it by today's clock. A time in the future was left before the clock was set. */
const isStale = ({ mtimeMs }: BigIntStats, stale: number): boolean =>
  Math.abs(realClock.unsafeCurrentTimeMillis() - Number(mtimeMs)) > stale

const touch = async (path: string): Promise<bigint> => {
  const seconds = realClock.unsafeCurrentTimeMillis() / 1000
  await fs.utimes(path, seconds, seconds)
  const { mtimeNs } = await fs.stat(path, { bigint: true })
  return mtimeNs
}

const isMine = async (path: string, mine: { readonly touched: bigint }): Promise<boolean> =>
  (await statOrNone(path).catch(() => undefined))?.mtimeNs === mine.touched

const touchIfMine = async (path: string, mine: { touched: bigint; lost: boolean }): Promise<void> => {
  try {
    if (await isMine(path, mine)) mine.touched = await touch(path)
    else mine.lost = true
  } catch {
    mine.lost = true
  }
}

const statOrNone = async (path: string): Promise<BigIntStats | undefined> => {
  try {
    return await fs.stat(path, { bigint: true })
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  }
}

const takeKernel = (lock: OwnerLock): Effect.Effect<Taken, OwnerLockProblem> =>
  Effect.gen(function* () {
    const { path } = lock
    const there = yield* Effect.tryPromise({
      try: () => statOrNone(path),
      catch: (error) => broken(path, error)
    })
    // A directory is the lock of a program that supports no other kind.
    if (there?.isDirectory() === true) {
      return isStale(there, lock.stale) ? notTaken : yield* busy(path)
    }
    if (there === undefined && !lock.create) return notTaken
    const handle = yield* Effect.tryPromise({
      try: () => openOrNone(path),
      catch: (error) => broken(path, error)
    })
    if (handle === undefined) return notTaken
    if (process.platform === "linux") {
      yield* KernelLock.close(handle)
      return yield* Effect.tryPromise({
        try: () => takeByCommand(path),
        catch: (error) => (error instanceof OwnerLockProblem ? error : broken(path, error))
      })
    }
    const locked = yield* KernelLock.tryLock(handle, path).pipe(
      Effect.mapError((error) => broken(path, error)),
      Effect.onError(() => KernelLock.close(handle))
    )
    if (!locked) return yield* Effect.andThen(KernelLock.close(handle), busy(path))
    return { isHeld: Effect.succeed(true), release: KernelLock.close(handle) }
  })

const openOrNone = async (path: string) => {
  try {
    await PrivateDirectory.make(Path.dirname(path))
    return await fs.open(path, constants.O_RDWR | constants.O_CREAT, 0o600)
  } catch (error) {
    if (unwritable.has(codeOf(error))) return undefined
    throw error
  }
}

/** If `flock` exits with this code, the lock is held. */
const conflict = 1

/**
 * On Linux the kernel locks of Node's binding and those of `flock` do not see each other. So the command
 * holds the lock while its input is open. It ends with this process, however that ends.
 */
const takeByCommand = (path: string): Promise<Taken> =>
  new Promise((resolve, reject) => {
    const child = spawn("flock", ["-x", "-n", path, "sh", "-c", "echo held; exec cat >/dev/null"], {
      stdio: ["pipe", "pipe", "ignore"]
    })
    const ended = new Promise<void>((done) => child.once("close", () => done()))
    let alive = true
    // A failed write to a child that has ended does not matter.
    child.stdin.on("error", () => undefined)
    child.once("error", () => {
      // The command does not exist here. What is held is still visible.
      void isHeldByOthers(path).then((held) => (held ? reject(busy(path)) : resolve(notTaken)), reject)
    })
    child.once("exit", (code) => {
      alive = false
      if (code === conflict) reject(busy(path))
      else reject(broken(path, { code: `flock ${String(code)}` }))
    })
    child.stdout.once("data", () =>
      resolve({
        isHeld: Effect.sync(() => alive),
        release: Effect.promise(async () => {
          child.stdin.end()
          await ended
        })
      })
    )
  })

/**
 * Whether anybody holds a lock on the file, from the kernel's list: `1: FLOCK ADVISORY WRITE pid 08:01:42 …`.
 */
const isHeldByOthers = async (path: string): Promise<boolean> => {
  const { dev, ino } = await fs.stat(path, { bigint: true })
  const device = Number(dev)
  const major = ((device >> 8) & 0xfff).toString(16).padStart(2, "0")
  const minor = ((device & 0xff) | ((device >> 12) & 0xfff00)).toString(16).padStart(2, "0")
  const locks = await fs.readFile("/proc/locks", "utf8").catch(() => "")
  return locks.split("\n").some((line) => line.includes(` ${major}:${minor}:${ino} `) && !line.includes("->"))
}
