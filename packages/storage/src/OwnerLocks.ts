/**
 * The locks of the program that owns a file. Latchkey waits for them, and takes them while it refreshes or
 * writes, so that two programs never redeem one refresh token.
 *
 * **What it relies on.** A `directory` lock is made by `mkdir`, which fails if it exists. Its holder touches
 * it. A lock that has not been touched for its `stale` time was left behind (the protocol of the package
 * `proper-lockfile`). A `kernel` lock is `flock` on an open file (`LockFileEx` on Windows). It ends with its
 * holder, and the file stays.
 *
 * **Limits.** On Linux a kernel lock is taken through the command `flock` of util-linux or BusyBox. Without
 * it, Latchkey respects the owner's lock (by `/proc/locks`) but does not take it. In a directory that cannot
 * be written nobody can take a `directory` lock, so Latchkey does not either.
 *
 * @since 0.1.0
 */
import { type Lease, LeaseError, RefreshLease } from "@latchkey/core/RefreshLease"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { pause } from "./internal/KernelLock.js"
import * as Taking from "./internal/OwnerLock.js"
import type { OwnerLock } from "./internal/OwnerLock.js"

export type { OwnerLock } from "./internal/OwnerLock.js"

/**
 * The owner of the locks. `owner` names the program, for messages. `wait` is how long, in milliseconds, a
 * write waits for them, default 10,000.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly owner: string
  readonly locks: ReadonlyArray<OwnerLock>
  readonly wait?: number | undefined
}

/**
 * Wraps the lease so that it is taken together with the owner's locks for a refresh. It fails with `Busy`
 * while the owner holds one of them. Then the owner is refreshing: wait for what it writes.
 *
 * @since 0.1.0
 * @category combinators
 */
export const lease = (
  inner: Context.Tag.Service<RefreshLease>,
  { locks, owner }: Options
): Context.Tag.Service<RefreshLease> => {
  const ours = locks.filter(({ during }) => during !== "write")
  if (ours.length === 0) return inner
  return RefreshLease.of({
    acquire: (account, ttl) =>
      Effect.gen(function* () {
        // If one lock is busy, the locks taken before it are released at once, not when the caller gives up.
        const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
        return yield* Effect.gen(function* () {
          const held = yield* inner.acquire(account, ttl)
          const taken = yield* Effect.forEach(ours, (lock) =>
            Effect.acquireRelease(Taking.take(lock), ({ release }) => release)
          ).pipe(Effect.mapError(leaseError(account, owner)))
          const allHeld = Effect.map(
            Effect.forEach(taken, ({ isHeld }) => isHeld),
            (all) => all.every((one) => one)
          )
          return {
            fence: held.fence,
            isHeld: Effect.zipWith(held.isHeld, allHeld, (a, b) => a && b)
          } satisfies Lease
        }).pipe(
          Scope.extend(scope),
          Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
        )
      })
  })
}

/**
 * Wraps the storage so that it is written only while no other program holds the owner's locks for a write. A
 * write waits for them, and fails with `Unavailable` if they stay taken.
 *
 * @since 0.1.0
 * @category combinators
 */
export const storage = (
  inner: Context.Tag.Service<TokenStorage>,
  { locks, owner, wait = 10_000 }: Options
): Context.Tag.Service<TokenStorage> => {
  const ours = locks.filter(({ during }) => during !== "refresh")
  if (ours.length === 0) return inner
  // If there is nothing yet, there is nothing to remove.
  const present = ours.map((lock) => ({ ...lock, create: false }))
  const guarded = <A, E>(
    operation: StorageError["operation"],
    needed: ReadonlyArray<OwnerLock>,
    use: Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageError> =>
    Effect.scoped(
      Effect.andThen(
        Effect.forEach(needed, (lock) => patiently(lock, wait)).pipe(
          Effect.mapError(storageError(operation, inner.location, owner))
        ),
        use
      )
    )
  return TokenStorage.of({
    location: inner.location,
    load: inner.load,
    commit: (entry, expected) => guarded("commit", ours, inner.commit(entry, expected)),
    remove: guarded("remove", present, inner.remove),
    changes: inner.changes
  })
}

/** Waits in real time, because other processes live in it. Only the wait can be interrupted. */
const patiently = (
  lock: OwnerLock,
  left: number,
  next = 5
): Effect.Effect<void, Taking.OwnerLockProblem, Scope.Scope> =>
  Effect.acquireRelease(Taking.takeAgain(lock), ({ release }) => release).pipe(
    Effect.asVoid,
    Effect.catchIf(
      ({ reason }) => reason === "Busy" && left > 0,
      () =>
        Effect.andThen(
          pause(next),
          Effect.suspend(() => patiently(lock, left - next, Math.min(next * 2, 100)))
        )
    )
  )

const advice = "If it is not running, remove that lock"

const leaseError =
  (account: string, owner: string) =>
  ({ cause, path, reason }: Taking.OwnerLockProblem): LeaseError =>
    reason === "Busy"
      ? new LeaseError({
          reason,
          account,
          holder: owner,
          message: `${owner} holds its lock ${path}, as it does while it refreshes this grant: wait for its result. ${advice}.`
        })
      : new LeaseError({
          reason: "Unavailable",
          account,
          message: `The lock ${path} of ${owner} cannot be taken: check that path, and try again.`,
          ...(cause !== undefined && { cause })
        })

const storageError =
  (operation: StorageError["operation"], location: string, owner: string) =>
  ({ cause, path, reason }: Taking.OwnerLockProblem): StorageError =>
    new StorageError({
      reason: "Unavailable",
      operation,
      location,
      message:
        reason === "Busy"
          ? `${owner} holds its lock ${path}, and nothing was written: try again. ${advice}.`
          : `The lock ${path} of ${owner} cannot be taken, and nothing was written: check that path, and try again.`,
      ...(cause !== undefined && { cause })
    })
