/** When a grant is to be renewed without being asked. Pure, like `Decision`; times are epoch milliseconds. */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import { cooling } from "../grant/BackOff.js"
import type * as Decision from "../grant/Decision.js"
import { clampedGrace, earliness, isAgeUnknown, timeToExpiry } from "../grant/Expiry.js"
import * as Rotation from "../RotationPolicy.js"

/**
 * How long before its expiry a token is renewed: the grace, so that no caller meets it, and this account and
 * instance's share of the window (at most a quarter of the token's lifetime) before that.
 */
export const lead = (
  credentials: Credentials.Credentials,
  policy: Decision.Policy,
  window: number,
  { jitterShare, serverAhead }: Pick<Decision.Held, "jitterShare" | "serverAhead">
): number => {
  const spread = Option.match(Credentials.lifetime(credentials), {
    onNone: () => window,
    onSome: (lifetime) => Math.min(window, lifetime / 4)
  })
  const grace = clampedGrace(credentials, policy.grace)
  return earliness(credentials, grace, serverAhead) + spread * jitterShare
}

/**
 * When to renew; Infinity where there is nothing to renew, or nothing to do it with. A refresh whose answer was
 * lost is repeated at once where the server allows it, and else when there is nothing more to lose.
 */
export const renewAt = (
  held: Decision.Held,
  now: number,
  policy: Decision.Policy,
  window: number
): number => {
  if (Option.isSome(held.dead) || Option.isSome(held.mismatch) || !held.refreshable) return Infinity
  const cooled = Option.match(cooling(held, now), {
    onNone: () => Number.NEGATIVE_INFINITY,
    onSome: ({ until }) => until
  })
  if (Option.isNone(held.credentials)) return Math.max(cooled, now)
  const credentials = held.credentials.value
  const replay = Rotation.replay(held.rotation, held.openIntent, now)
  if (Option.exists(replay, ({ open }) => open)) return Math.max(cooled, now)
  if (isAgeUnknown(credentials, now, held.witness) && Option.isNone(replay)) return Math.max(cooled, now)
  const left = timeToExpiry(credentials, now, held.witness)
  if (Option.isNone(left)) return Infinity
  const early = Option.isSome(replay) ? 0 : lead(credentials, policy, window, held)
  return Math.max(cooled, now + left.value - early)
}
