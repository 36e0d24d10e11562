/**
 * Who may refresh a grant now: a port, and its layer for one process.
 *
 * A lease is exclusive, ends by itself, and carries a fencing number that rises with every lease granted,
 * so that storage can refuse what a holder writes after its lease has lapsed.
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
import { startRepeating } from "./TimeLimit.js"

/**
 * A lease that is held.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  /** Above that of every lease granted before for this account; to be written into the entry. */
  readonly fence: number
  /** Whether it is still held: not lapsed, not taken over. Asked again before the commit. */
  readonly isHeld: Effect.Effect<boolean, LeaseError>
}

/**
 * No lease: `Busy`, another holder has it (wait for what it writes); `Unavailable`, the backend does not
 * answer or cannot be written (nobody may refresh); `Misconfigured`, it was asked for in a way that
 * cannot work.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseError extends Schema.TaggedError<LeaseError>("@latchkey/core/LeaseError")("LeaseError", {
  reason: Schema.Literal("Busy", "Unavailable", "Misconfigured"),
  account: Schema.String,
  message: Schema.String,
  /** Who has it, for people, where that is known. */
  holder: Schema.optional(Schema.String),
  cause: Schema.optional(Schema.Defect)
}) {}

/**
 * The port.
 *
 * `acquire` does not wait: it fails with `Busy` at once. The lease is renewed while the scope is open,
 * ends when it closes, and otherwise lapses after `ttl`. `account` names the grant; all who share the
 * grant must name it alike.
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
 * The next fencing number: above the last one and not below the clock, so that it rises even where the
 * last one was forgotten.
 *
 * @since 0.1.0
 * @category utils
 */
export const nextFence = (last: number, nowMillis: number): number =>
  Math.max(last + 1, Math.floor(nowMillis))

/**
 * The milliseconds that a lease is to last; `Misconfigured` where that is no positive, finite time. For those who
 * implement leases.
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
 * Leases among the managers that share this layer, in one process. It rests on the single thread of JavaScript; it excludes
 * no other process.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeProcess: Effect.Effect<Context.Tag.Service<RefreshLease>> = Effect.sync(() => {
  const leases = new Map<string, { readonly fence: number; until: number }>()
  let lastFence = 0
  const take = (account: string, ttl: Duration.DurationInput) =>
    Effect.flatMap(Effect.zip(Effect.runtime<never>(), Clock.currentTimeMillis), ([runtime, now]) => {
      const millis = ttlMillis(account, ttl)
      if (Either.isLeft(millis)) return Effect.fail(millis.left)
      const other = leases.get(account)
      if (other !== undefined && now < other.until) return Effect.fail(busy(account))
      lastFence = nextFence(lastFence, now)
      const lease = { fence: lastFence, until: now + millis.right }
      leases.set(account, lease)
      const stop = startRepeating(runtime, millis.right / 3, renewed(lease, millis.right))
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

/** A lease that has lapsed and gone to another is renewed in vain: the other's is in its place. */
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
    message: "Another manager in this process is refreshing this grant; wait for what it writes."
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layerProcess: Layer.Layer<RefreshLease> = Layer.effect(RefreshLease, makeProcess)
