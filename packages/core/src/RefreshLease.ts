/**
 * Decides who may refresh a grant now: a port, and its layer for one process.
 *
 * A lease is exclusive, expires by itself, and carries a fencing number that rises with every lease granted.
 * With that number storage refuses a write by a holder whose lease has lapsed.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Fibers from "./edition/Fibers.js"
import { startRepeating } from "./TimeLimit.js"

/**
 * A lease that is held.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  /** Higher than that of every lease granted before for this account. Write it into the entry. */
  readonly fence: number
  /** Whether the lease is still held: not lapsed, not taken over. Check it again before the commit. */
  readonly isHeld: Effect.Effect<boolean, LeaseError>
}

/**
 * The lease could not be taken.
 *
 * - `Busy`: another holder has it. Wait for what it writes.
 * - `Unavailable`: the backend does not answer or cannot be written. Nobody may refresh.
 * - `Misconfigured`: the request cannot work as it was made.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseError extends Schema.TaggedError<LeaseError>("@latchkey/core/LeaseError")("LeaseError", {
  reason: Schema.Literal("Busy", "Unavailable", "Misconfigured"),
  account: Schema.String,
  message: Schema.String,
  /** The current holder, described for people, if known. */
  holder: Schema.optional(Schema.String),
  cause: Schema.optional(Schema.Defect)
}) {}

/**
 * The port.
 *
 * `acquire` does not wait: it fails with `Busy` at once. The lease is renewed while the scope is open and
 * ends when the scope closes. If it is not renewed, it lapses after `ttl`. `account` names the grant:
 * everyone who shares the grant must use the same name.
 *
 * @since 0.1.0
 * @category tags
 */
export class RefreshLease extends Context.Tag("@latchkey/core/RefreshLease")<
  RefreshLease,
  {
    readonly acquire: (
      account: string,
      ttl: Duration.DurationInput
    ) => Effect.Effect<Lease, LeaseError, Scope.Scope>
  }
>() {}

/**
 * Returns the next fencing number: above the last one and not below the clock, so that it rises even if the
 * last one was lost.
 *
 * @since 0.1.0
 * @category utils
 */
export const nextFence = (last: number, nowMillis: number): number =>
  Math.max(last + 1, Math.floor(nowMillis))

/**
 * Returns the duration of a lease in milliseconds. Fails with `Misconfigured` if that is not a positive,
 * finite time. For implementers of leases.
 *
 * @since 0.1.0
 * @category utils
 */
export const ttlMillis = (
  account: string,
  ttl: Duration.DurationInput
): Either.Either<number, LeaseError> => {
  const millis = Duration.toMillis(ttl)
  return Number.isFinite(millis) && millis > 0
    ? Either.right(millis)
    : Either.left(
        new LeaseError({
          reason: "Misconfigured",
          account,
          message: "A lease must last for a positive, finite time: correct its ttl."
        })
      )
}

/**
 * Leases among the managers that share this layer, in one process. It relies on the single thread of
 * JavaScript, and does not exclude other processes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeProcess: Effect.Effect<Context.Tag.Service<RefreshLease>> = Effect.sync(() => {
  const leases = new Map<string, { readonly fence: number; until: number }>()
  let lastFence = 0
  const take = (account: string, ttl: Duration.DurationInput) =>
    Effect.flatMap(Effect.zip(Fibers.running(), Clock.currentTimeMillis), ([running, now]) => {
      const millis = ttlMillis(account, ttl)
      if (Either.isLeft(millis)) return Effect.fail(millis.left)
      const other = leases.get(account)
      if (other !== undefined && now < other.until) return Effect.fail(busy(account))
      lastFence = nextFence(lastFence, now)
      const lease = { fence: lastFence, until: now + millis.right }
      leases.set(account, lease)
      const stop = startRepeating(running, millis.right / 3, renewed(lease, millis.right))
      return Effect.succeed({ lease, stop })
    })
  return RefreshLease.of({
    acquire: (account, ttl) =>
      Effect.uninterruptible(
        Effect.flatMap(Effect.scope, (scope) =>
          Effect.flatMap(take(account, ttl), ({ lease, stop }) => {
            const release = Effect.sync(() => {
              stop()
              if (leases.get(account) === lease) leases.delete(account)
            })
            const isHeld = Effect.map(
              Clock.currentTimeMillis,
              (now) => leases.get(account) === lease && now < lease.until
            )
            return Effect.as(Scope.addFinalizer(scope, release), { fence: lease.fence, isHeld })
          })
        )
      )
  })
})

/**
 * Renewing a lease that has lapsed and gone to another holder has no effect: the other lease is in its place.
 */
const renewed = (lease: { until: number }, ttl: number): Effect.Effect<boolean> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    lease.until = now + ttl
    return true
  })

const busy = (account: string): LeaseError =>
  new LeaseError({
    reason: "Busy",
    account,
    holder: "this process",
    message: "Another manager in this process is refreshing this grant; wait for its result."
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layerProcess: Layer.Layer<RefreshLease> = Layer.effect(RefreshLease, makeProcess)
