/**
 * The lease of one grant in this process. A refresh takes it; it is released once storage holds what came of the
 * refresh, and not before: a peer that gets the lease earlier reads the spent refresh token and sends it again.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Lease, LeaseError } from "../RefreshLease.js"
import * as TokenEvent from "../TokenEvent.js"
import type { Parts } from "./StoredGrant.js"

/** A lease that outlives the refresh it was taken for. */
export interface Kept {
  readonly lease: Lease
  readonly release: Effect.Effect<void>
}

/** What one user of the lease holds of it: nothing at first. */
export interface Held {
  lease: Lease | undefined
  release: Effect.Effect<void>
  scope: Scope.CloseableScope | undefined
}

export const none = (): Held => ({ lease: undefined, release: Effect.void, scope: undefined })

/** The lease that this grant kept, if it is still held, or else a new one. */
export const take = (parts: Parts, held: Held): Effect.Effect<Lease, LeaseError> =>
  Effect.suspend(() => {
    const kept = takeKept(parts, held)
    if (kept === undefined) return takeNew(parts, held)
    return Effect.flatMap(isStillHeld(parts, kept), (isHeld) =>
      isHeld ? Effect.succeed(kept) : Effect.zipRight(lapsed(parts, held), takeNew(parts, held))
    )
  })

/** By the lease, and by storage, which knows of a later one where the two holders have no lease in common. */
export const isStillHeld = ({ fencedOff }: Parts, lease: Lease): Effect.Effect<boolean, LeaseError> =>
  lease.fence <= fencedOff ? Effect.succeed(false) : lease.isHeld

/** From here on the caller answers for the lease that was kept. */
export const takeKept = (parts: Parts, held: Held): Lease | undefined => {
  const { kept } = parts
  if (kept === undefined) return undefined
  parts.kept = undefined
  held.lease = kept.lease
  held.release = kept.release
  return kept.lease
}

/** Uninterruptible, so that a lease that was taken always gets its release. */
const takeNew = ({ account, config, lease }: Parts, held: Held): Effect.Effect<Lease, LeaseError> => {
  const ttl = config.leaseTtl
  if (lease.take !== undefined) {
    return Effect.uninterruptible(
      Effect.map(lease.take(account, ttl), (taken) => {
        held.release = taken.release
        return (held.lease = taken)
      })
    )
  }
  return Effect.flatMap(held.scope === undefined ? Scope.make() : Effect.succeed(held.scope), (scope) => {
    held.scope = scope
    held.release = Scope.close(scope, Exit.void)
    return Effect.map(Scope.extend(lease.acquire(account, ttl), scope), (taken) => (held.lease = taken))
  })
}

/** Reports a lease that lapsed before storage took the rotation: a peer may have spent the old token by now. */
export const lapsed = (parts: Parts, held: Held): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { release } = held
    Object.assign(held, none())
    parts.owed = undefined
    const report = Effect.flatMap(Clock.currentTimeMillis, (at) =>
      Option.match(parts.state.unsaved, {
        onNone: () => Effect.void,
        onSome: ({ entry: { generation } }) =>
          parts.emit(TokenEvent.SaveFailed({ at, generation, reason: "LeaseLapsed" }))
      })
    )
    return Effect.zipRight(report, release)
  })

const isSettled = ({ owed, state }: Parts): boolean => Option.isNone(state.unsaved) && owed === undefined

/** Ends one use of the lease: releases it, or keeps it for as long as storage lags behind. */
export const end = (parts: Parts, held: Held): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { lease, release } = held
    if (lease === undefined || isSettled(parts)) return release
    if (lease.fence <= parts.fencedOff) return lapsed(parts, held)
    const other = parts.kept
    // One of the two has lapsed, or both of them could not be had: the later one is kept.
    if (other !== undefined && other.lease.fence > lease.fence) return release
    parts.kept = { lease, release }
    return other === undefined ? Effect.void : other.release
  })

/** Releases a lease that was kept for what storage holds by now, or for what a login has replaced. */
export const releaseIfSettled = (parts: Parts): Effect.Effect<void> =>
  Effect.suspend(() => (isSettled(parts) ? release(parts) : Effect.void))

/** Releases what was kept, whatever storage holds. */
export const release = (parts: Parts): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { kept } = parts
    parts.kept = undefined
    return kept === undefined ? Effect.void : kept.release
  })
