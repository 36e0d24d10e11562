/**
 * How long a lease counts. The written end of a lease is a reading of its holder's clock, and that clock may be
 * wrong by years: so no lease counts for longer than its ttl after its holder last gave a sign of life.
 */
import * as Effect from "effect/Effect"
import { Fibers } from "@latchkey/core/internal-api"
import { hrtime } from "node:process"

/**
 * The longest that a lease counts without a renewal. A longer ttl is cut to it; it costs its holder nothing, since
 * a lease is renewed while it is held.
 */
export const longestMillis = 3_600_000

/** What a lease says of itself, by its holder's clock: when it was last taken or renewed, and its end. */
export interface Written {
  readonly acquiredAt: number
  readonly expiresAt: number
}

/** The bound of a lease, in milliseconds. */
const ttlOf = ({ acquiredAt, expiresAt }: Written): number =>
  Math.min(Math.max(0, expiresAt - acquiredAt), longestMillis)

/** What a waiter knows of the holder of a lease. Instants are of the monotonic clock, see {@link monotonicMillis}. */
export type Holder =
  /** Its process has ended, or another boot of this host took it along. */
  | { readonly _tag: "Dead" }
  /** It runs on this kernel, and last took or renewed the lease then. It may be stopped. */
  | { readonly _tag: "Running"; readonly renewedAt: number }
  /** Nothing but its record is known, which has not changed since it was first seen then. */
  | { readonly _tag: "Unknown"; readonly firstSeen: number }

/**
 * Whether a lease still counts. That of a holder on this kernel goes by the clock that all processes of this kernel
 * share and nobody can set; that of another by its ttl from when it was first seen, or its written end, whichever
 * comes first.
 */
export const isInForce = (lease: Written, holder: Holder, wall: number, monotonic: number): boolean => {
  switch (holder._tag) {
    case "Dead":
      return false
    case "Running":
      return monotonic - holder.renewedAt < ttlOf(lease)
    case "Unknown":
      return wall < lease.expiresAt && monotonic - holder.firstSeen < ttlOf(lease)
  }
}

/** The monotonic clock of the kernel is the same in all its processes; Effect's begins at another point in each. */
const origin = Fibers.monotonicNanos(Fibers.systemClock) - hrtime.bigint()

/**
 * Whole milliseconds, which can be subtracted exactly, of a clock that never jumps, whatever the wall clock is set to.
 * Within one boot of a host it is the same for all processes. Follows the `Clock` of the fiber.
 */
export const monotonicMillis: Effect.Effect<number> = Effect.clockWith((clock) =>
  Effect.sync(() => Number((Fibers.monotonicNanos(clock) - origin) / 1_000_000n))
)
