/** Leases stored beside one file, for the processes of this host and, by their ttl alone, for other hosts. */
import type { Lease, RefreshLease } from "@latchkey/core/RefreshLease"
import { LeaseError, nextFence, ttlMillis } from "@latchkey/core/RefreshLease"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import type { FileProblem } from "./FileProblem.js"
import { locked } from "./FileStorage.js"
import * as HolderStamp from "./HolderStamp.js"
import { close, handOver, openForLock, type Owner, tryLock } from "./KernelLock.js"
import * as LeaseFile from "./LeaseFile.js"
import * as LeaseTime from "./LeaseTime.js"
import * as PrivateFile from "./PrivateFile.js"

interface Held {
  readonly id: string
  readonly fence: number
  readonly place: PrivateFile.Place
  /** Locked while this process lives and holds the lease, which proves that it does. */
  readonly proof: FileHandle
}

type Where = Parameters<typeof locked>[0]

/** `writtenFence` is the fence of what storage holds. The next fence must be above it too. */
export const make = (
  where: Where,
  writtenFence: (target: string) => Effect.Effect<number>
): Context.Tag.Service<RefreshLease> => ({
  acquire: (account, ttl) =>
    Effect.gen(function* () {
      const millis = Math.min(yield* ttlMillis(account, ttl), LeaseTime.longestMillis)
      const held = yield* Effect.acquireRelease(grant(where, account, millis, writtenFence), (mine) =>
        release(where, account, mine)
      )
      yield* Effect.forkScoped(Effect.interruptible(renewal(where, account, millis, held)))
      return { fence: held.fence, isHeld: isHeld(account, held) } satisfies Lease
    })
})

/** The name of an account in the record. A strict JSON reader refuses a key `__proto__`. */
const keyOf = (account: string): string => (account.startsWith("__proto__") ? `${account}_` : account)

const unavailable =
  (account: string) =>
  (problem: FileProblem): LeaseError =>
    new LeaseError({
      reason: "Unavailable",
      account,
      message: problem.message,
      ...(problem.cause === undefined ? {} : { cause: problem.cause })
    })

const grant = (
  where: Where,
  account: string,
  ttl: number,
  writtenFence: (target: string) => Effect.Effect<number>
): Effect.Effect<Held, LeaseError> =>
  locked(where, (place, owner) =>
    Effect.gen(function* () {
      const { beside, target } = place
      const path = PrivateFile.leaseOf(beside)
      yield* PrivateFile.sweep(path)
      const alive = yield* buryTheDead(beside)
      const state = yield* LeaseFile.read(path)
      const now = yield* Clock.currentTimeMillis
      const monotonic = yield* LeaseTime.monotonicMillis
      const inForce = (lease: LeaseFile.Holding) =>
        Effect.map(look(beside, alive, lease, monotonic), (holder) =>
          LeaseTime.isInForce(lease, holder, now, monotonic)
        )
      const key = keyOf(account)
      const other = Object.hasOwn(state.record.leases, key) ? state.record.leases[key] : undefined
      if (other !== undefined && (yield* inForce(other))) {
        // Its limit counts from here, for this process and for later ones.
        if (sightingOf(other, monotonic) === monotonic) {
          const seen = { ...newestSightings(other.seen), [LeaseFile.place]: monotonic }
          const leases = { ...state.record.leases, [key]: { ...other, seen } }
          yield* Effect.ignore(LeaseFile.write(path, { ...state.record, leases }, state, owner))
        }
        return yield* new LeaseError({
          reason: "Busy",
          account,
          holder: `process ${other.pid} on ${other.host}`,
          message: "Another process is refreshing this grant; wait for its result."
        })
      }
      const fence = nextFence(Math.max(state.record.fence, yield* writtenFence(target)), now)
      const id = randomBytes(16).toString("hex")
      const proof = yield* prove(PrivateFile.holderOf(beside, id), owner)
      yield* HolderStamp.write(proof, monotonic)
      const mine = { ...LeaseFile.here, id, fence, pid: process.pid, acquiredAt: now, expiresAt: now + ttl }
      const others = yield* Effect.filter(Object.entries(state.record.leases), ([, lease]) => inForce(lease))
      const leases = { ...Object.fromEntries(others), [key]: mine }
      yield* LeaseFile.write(path, { format: 1, fence, leases }, state, owner).pipe(
        Effect.onError(() => disprove(PrivateFile.holderOf(beside, id), proof))
      )
      return { id, fence, place, proof }
    })
  ).pipe(Effect.catchTag("FileProblem", (problem) => Effect.fail(unavailable(account)(problem))))

/**
 * Returns what is known about the holder of a lease. `alive`: the files that holders on this kernel keep
 * locked.
 */
const look = (
  beside: string,
  alive: ReadonlySet<string>,
  lease: LeaseFile.Holding,
  monotonic: number
): Effect.Effect<LeaseTime.Holder> => {
  const unknown: LeaseTime.Holder = { _tag: "Unknown", firstSeen: sightingOf(lease, monotonic) }
  const { boot, host } = LeaseFile.here
  if (lease.host !== host) return Effect.succeed(unknown)
  // The processes of an earlier boot have ended.
  if (lease.boot !== boot)
    return Effect.succeed(lease.boot === "" || boot === "" ? unknown : { _tag: "Dead" })
  const path = PrivateFile.holderOf(beside, lease.id)
  if (!alive.has(path)) return Effect.succeed({ _tag: "Dead" })
  return Effect.map(
    HolderStamp.read(path),
    Option.match({
      // A holder of an earlier version, which leaves no stamp.
      onNone: () => unknown,
      onSome: (renewedAt): LeaseTime.Holder =>
        renewedAt > monotonic ? unknown : { _tag: "Running", renewedAt }
    })
  )
}

/**
 * When a lease was first seen here in its present state. Now, if it was not, or if that was in another boot.
 */
const sightingOf = ({ seen }: LeaseFile.Holding, monotonic: number): number => {
  const at = seen?.[LeaseFile.place] ?? monotonic
  return at > monotonic ? monotonic : at
}

/** Many hosts may read one file. A host that is left out only starts counting again. */
const newestSightings = (seen: LeaseFile.Holding["seen"]): LeaseFile.Holding["seen"] =>
  Object.fromEntries(Object.entries(seen ?? {}).slice(-15))

const prove = (path: string, owner: Option.Option<Owner>): Effect.Effect<FileHandle, FileProblem> =>
  Effect.flatMap(openForLock(path, constants.O_EXCL), (handle) =>
    handOver(handle, path, owner).pipe(
      Effect.andThen(tryLock(handle, path)),
      Effect.as(handle),
      Effect.onError(() => disprove(path, handle))
    )
  )

const disprove = (path: string, handle: FileHandle): Effect.Effect<void> =>
  Effect.andThen(Effect.ignore(PrivateFile.unlink(path)), close(handle))

/**
 * Removes the files of dead holders, whose lock can be taken, and returns the other files. Holders create and
 * lock these files under the file's lock. So while this process holds that lock, an unlocked file is never
 * one that was just created.
 */
const buryTheDead = (beside: string): Effect.Effect<ReadonlySet<string>, FileProblem> =>
  Effect.map(
    Effect.flatMap(
      PrivateFile.holders(beside),
      Effect.filter((path) =>
        Effect.acquireUseRelease(
          openForLock(path, 0),
          (handle) =>
            Effect.flatMap(tryLock(handle, path), (dead) =>
              dead ? Effect.as(PrivateFile.unlink(path), false) : Effect.succeed(true)
            ),
          close
        )
      )
    ),
    (alive) => new Set(alive)
  )

/** Runs `change` on the record while the lease in it is still this one. Returns whether it was. */
const whileMine = (
  where: Where,
  account: string,
  held: Held,
  change: (state: LeaseFile.State, mine: LeaseFile.Holding) => Effect.Effect<LeaseFile.Record>
): Effect.Effect<boolean, FileProblem> =>
  locked({ ...where, path: held.place.target }, ({ beside }, owner) =>
    Effect.gen(function* () {
      const path = PrivateFile.leaseOf(beside)
      const state = yield* LeaseFile.read(path)
      const current = state.record.leases[keyOf(account)]
      if (current === undefined || current.id !== held.id) return false
      yield* LeaseFile.write(path, yield* change(state, current), state, owner)
      return true
    })
  )

/** A failed renewal is retried after a third of the ttl. Otherwise the lease lapses by itself. */
const renewal = (where: Where, account: string, ttl: number, held: Held): Effect.Effect<void> =>
  whileMine(where, account, held, ({ record }, { seen: _, ...mine }) =>
    Effect.map(Clock.currentTimeMillis, (now) => ({
      ...record,
      leases: { ...record.leases, [keyOf(account)]: { ...mine, acquiredAt: now, expiresAt: now + ttl } }
    }))
  ).pipe(
    Effect.tap((mine) =>
      mine
        ? Effect.flatMap(LeaseTime.monotonicMillis, (at) => HolderStamp.write(held.proof, at))
        : Effect.void
    ),
    Effect.orElseSucceed(() => true),
    Effect.delay(ttl / 3),
    Effect.repeat({ while: (mine) => mine }),
    Effect.asVoid
  )

/** If the record cannot be written, closing the proof still ends the lease. */
const release = (where: Where, account: string, held: Held): Effect.Effect<void> =>
  whileMine(where, account, held, ({ record }) => {
    const { [keyOf(account)]: _, ...leases } = record.leases
    return Effect.succeed({ ...record, leases })
  }).pipe(
    Effect.ignore,
    Effect.ensuring(disprove(PrivateFile.holderOf(held.place.beside, held.id), held.proof))
  )

const isHeld = (account: string, held: Held): Effect.Effect<boolean, LeaseError> =>
  Effect.gen(function* () {
    const { record } = yield* LeaseFile.read(PrivateFile.leaseOf(held.place.beside))
    const current = record.leases[keyOf(account)]
    if (current === undefined || current.id !== held.id) return false
    const now = yield* Clock.currentTimeMillis
    const monotonic = yield* LeaseTime.monotonicMillis
    const alive = new Set([PrivateFile.holderOf(held.place.beside, held.id)])
    const holder = yield* look(held.place.beside, alive, current, monotonic)
    return LeaseTime.isInForce(current, holder, now, monotonic)
  }).pipe(Effect.mapError(unavailable(account)))
