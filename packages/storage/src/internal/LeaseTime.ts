/**
 * How long a lease counts. The written end of a lease is by its holder's clock, which may be wrong by years.
 * So no lease counts for longer than its ttl after its holder's last sign of life.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Fibers } from "@latchkey/core/internal-api"
import { hrtime } from "node:process"

/**
 * The longest time, in milliseconds, that a lease counts without a renewal. A longer ttl is cut to it. That
 * costs the holder nothing, because a lease is renewed while it is held.
 */
export const longestMillis = 3_600_000

/** The times in a lease's record, by its holder's clock: when it was last taken or renewed, and its end. */
export interface Written {
  readonly acquiredAt: number
  readonly expiresAt: number
}

/** The limit of a lease, in milliseconds. */
const ttlOf = ({ acquiredAt, expiresAt }: Written): number =>
  Math.min(Math.max(0, expiresAt - acquiredAt), longestMillis)

/**
 * What a waiter knows about the holder of a lease. Instants are of the monotonic clock, see
 * {@link monotonicMillis}.
 */
export type Holder =
  /** Its process has ended, or belonged to an earlier boot of this host. */
  | { readonly _tag: "Dead" }
  /** It runs on this kernel, and took or renewed the lease at that time. It may be stopped. */
  | { readonly _tag: "Running"; readonly renewedAt: number }
  /** Only its record is known, which has not changed since it was first seen at that time. */
  | { readonly _tag: "Unknown"; readonly firstSeen: number }

/**
 * Whether a lease still counts. If its holder is on this kernel, the kernel's monotonic clock decides, which
 * all its processes share and nobody can set. Otherwise the lease ends at its ttl after it was first seen, or
 * at its written end, whichever comes first.
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

/**
 * The kernel's monotonic clock is the same in all its processes. Effect's begins at another point in each
 * process.
 */
const origin = Fibers.monotonicNanos(Fibers.systemClock) - hrtime.bigint()

/**
 * Whole milliseconds, which can be subtracted exactly, of a clock that never jumps, even if the wall clock is
 * set. Within one boot of a host it is the same for all processes. Uses the `Clock` of the fiber.
 */
export const monotonicMillis: Effect.Effect<number> = Effect.map(Clock.currentTimeNanos, (nanos) =>
  Number((nanos - origin) / 1_000_000n)
)
