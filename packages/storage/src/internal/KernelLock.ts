/**
 * A mutex between processes that the kernel keeps: an exclusive lock on an open file (open file description
 * lock on Linux, `flock` on macOS, `LockFileEx` on Windows). It ends with the process, however that ends, so
 * it is never left behind. It belongs to one open file, so it also excludes within a process.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Fibers } from "@latchkey/core/internal-api"
import { constants } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import * as fs from "node:fs/promises"
import { attempt, codeOf, FileProblem } from "./FileProblem.js"

/** The user for whom a lock is taken, if it is another one. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** The binding, loaded on first use. On a platform without it, this fails with a typed problem. */
export const binding = Effect.tryPromise({
  try: () => import("fs-native-extensions"),
  catch: (error) =>
    new FileProblem({
      reason: "Unavailable",
      message:
        `File locks do not work on this platform (${process.platform} ${process.arch}): the package ` +
        "fs-native-extensions did not load. Install it with its prebuilt binaries, or use another storage.",
      cause: { code: codeOf(error) }
    })
})

/** Opens a file for locking, created with mode 0600 if it is missing. */
export const openForLock = (path: string, flags: number): Effect.Effect<FileHandle, FileProblem> =>
  attempt("open the lock", path, () =>
    fs.open(path, constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0) | flags, 0o600)
  )

/** Tries to lock the open file without waiting. Returns whether this process now holds the lock. */
export const tryLock = (handle: FileHandle, path: string): Effect.Effect<boolean, FileProblem> =>
  Effect.flatMap(binding, (locks) =>
    Effect.try({
      try: () => locks.tryLock(handle.fd),
      catch: (error) =>
        new FileProblem({
          reason: "Unavailable",
          message: `${path} cannot be locked (${codeOf(error)}): its file system may not support locks; keep it on a local one.`,
          cause: { code: codeOf(error) }
        })
    })
  )

export const close = (handle: FileHandle): Effect.Effect<void> =>
  Effect.promise(() => handle.close().catch(() => {}))

/**
 * Runs `use` while holding the lock on the lock file. Waits for it at most `timeoutMillis`, and only the wait
 * can be interrupted. The lock file is never removed: a process that waits on it would then lock nothing.
 */
export const withLock = <A, E>(
  path: string,
  timeoutMillis: number,
  owner: Option.Option<Owner>,
  use: Effect.Effect<A, E>
): Effect.Effect<A, E | FileProblem> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(acquire(path, timeoutMillis, restore), (handle) =>
      Effect.ensuring(Effect.andThen(handOver(handle, path, owner), use), close(handle))
    )
  )

/**
 * In real time, because other processes live in it whatever clock this program uses. A wait inside the kernel
 * would block one of the few threads that the holder's own file operations need.
 */
export const pause = (millis: number): Effect.Effect<void> =>
  Effect.withClock(Effect.sleep(millis), realClock)

const realClock = Fibers.systemClock

/** A process that works on another user's file must not leave files that this user cannot open. */
export const handOver = (
  handle: FileHandle,
  path: string,
  owner: Option.Option<Owner>
): Effect.Effect<void, FileProblem> =>
  Option.match(owner, {
    onNone: () => Effect.void,
    onSome: ({ uid, gid }) => attempt("hand over", path, () => handle.chown(uid, gid))
  })

const acquire = (
  path: string,
  budget: number,
  restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
): Effect.Effect<FileHandle, FileProblem> =>
  Effect.flatMap(openForLock(path, 0), (handle) =>
    poll(handle, path, 1, budget, restore).pipe(
      Effect.andThen(stillThere(handle, path)),
      Effect.onError(() => close(handle)),
      Effect.flatMap((there) =>
        there ? Effect.succeed(handle) : Effect.andThen(close(handle), acquire(path, budget, restore))
      )
    )
  )

const poll = (
  handle: FileHandle,
  path: string,
  wait: number,
  budget: number,
  restore: (effect: Effect.Effect<void>) => Effect.Effect<void>
): Effect.Effect<void, FileProblem> =>
  Effect.flatMap(tryLock(handle, path), (locked) => {
    if (locked) return Effect.void
    if (budget <= 0) {
      return Effect.fail(
        new FileProblem({
          reason: "Unavailable",
          message: `${path} stays locked by another process; look for one that is stopped or hangs, or try again.`
        })
      )
    }
    return Effect.andThen(
      restore(pause(wait)),
      Effect.suspend(() => poll(handle, path, Math.min(wait * 2, 8), budget - wait, restore))
    )
  })

/** The lock file may have been deleted meanwhile, and a lock on a deleted file excludes nobody. */
const stillThere = (handle: FileHandle, path: string): Effect.Effect<boolean, FileProblem> =>
  attempt("look at the lock", path, async () => {
    const mine = await handle.stat({ bigint: true })
    const there = await fs.stat(path, { bigint: true }).catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return undefined
      throw error
    })
    return there !== undefined && there.ino === mine.ino && there.dev === mine.dev
  })
