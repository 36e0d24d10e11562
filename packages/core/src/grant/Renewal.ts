/** When a grant should be renewed in the background. Pure. Times are epoch milliseconds. */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import { cooling } from "./BackOff.js"
import type { Held } from "./Decision.js"
import { clampedGrace, earliness, isAgeUnknown, keepAliveAt, timeToExpiry } from "./Expiry.js"
import * as Replay from "./Replay.js"
import type { Policy, State, Want } from "./State.js"
import { heldOf, replayOf } from "./View.js"

/** What to do next for a grant, and when. `Infinity` if there is nothing to do. */
export interface Plan {
  readonly at: number
  readonly task: "Read" | "Renew"
}

/** Storage that was read within this time, in milliseconds, is not read again before a renewal. */
const readLasts = 60_000

/**
 * How often, in milliseconds, a grant that cannot be renewed is read again if storage does not report
 * changes.
 */
const retryRead = 600_000

const nothing: Plan = { at: Infinity, task: "Read" }

/**
 * The next thing to do for a grant that is renewed `early` milliseconds before its grace. A read comes first:
 * it costs the server nothing, and a peer may have renewed the grant.
 */
export const plan = (policy: Policy, state: State, early: number, now: number): Plan => {
  // A running flight may change everything.
  if (state.phase._tag !== "Idle") return nothing
  if (state.memory._tag === "Unread") return { at: now, task: "Read" }
  const held = heldOf(policy, state, now)
  const at = renewAt(held, now, policy, early)
  if (at < Infinity) return { at, task: isRecent(policy, held, Math.max(at, now)) ? "Renew" : "Read" }
  if (policy.reportsChanges) return held.loadedAt === -Infinity ? { at: now, task: "Read" } : nothing
  const isStuck = Option.isSome(held.dead) || Option.isSome(held.mismatch) || !held.refreshable
  return isStuck ? { at: Math.min(now, held.loadedAt) + retryRead, task: "Read" } : nothing
}

const isRecent = (policy: Policy, { loadedAt }: Held, at: number): boolean =>
  policy.reportsChanges
    ? loadedAt > -Infinity
    : at >= loadedAt && at - loadedAt < Math.max(policy.credentialsTtl, readLasts)

/**
 * When to renew. `Infinity` if there is nothing to renew, or nothing to renew it with. A refresh without a
 * response is replayed at once if the server allows it, and otherwise when the token has expired.
 */
const renewAt = (held: Held, now: number, policy: Policy, early: number): number => {
  if (Option.isSome(held.dead) || Option.isSome(held.mismatch) || !held.refreshable) return Infinity
  const cooled = Option.match(cooling(held, now), {
    onNone: () => now,
    onSome: ({ until }) => until
  })
  if (Option.isNone(held.credentials)) return cooled
  const credentials = held.credentials.value
  const replay = Replay.replay(held.rotation, held.openIntent, now)
  if (Option.exists(replay, ({ open }) => open)) return cooled
  if (isAgeUnknown(credentials, now, held.witness) && Option.isNone(replay)) return cooled
  const left = timeToExpiry(credentials, now, held.witness)
  const keepAlive = Option.isSome(replay) ? Infinity : keepAliveAt(credentials)
  const ahead = Option.isSome(replay) ? 0 : lead(credentials, policy, early, held)
  const expiry = Option.match(left, { onNone: () => Infinity, onSome: (millis) => now + millis - ahead })
  return Math.max(cooled, Math.min(keepAlive, expiry))
}

/**
 * How long before its expiry a token is renewed: the grace, so that no caller ever waits, plus a while before
 * that.
 */
const lead = (
  credentials: Credentials.Credentials,
  policy: Policy,
  early: number,
  { serverAhead }: Held
): number => {
  const most = Option.match(Credentials.lifetime(credentials), {
    onNone: () => early,
    onSome: (lifetime) => Math.min(early, lifetime / 4)
  })
  return earliness(credentials, clampedGrace(credentials, policy.grace), serverAhead) + most
}

/**
 * The refresh to request: a token that outlives the present one. A lost response is replayed whatever is left
 * of the token.
 */
export const want = (policy: Policy, state: State, early: number, now: number): Want => {
  const held = heldOf(policy, state, now)
  const replay = replayOf(policy, state, now)
  const due = Option.exists(replay, ({ open }) => open) ? Option.none() : held.credentials
  const minValidity = Option.match(due, {
    onNone: () => 0,
    onSome: (c) => {
      const left = Option.getOrElse(timeToExpiry(c, now, held.witness), () => 0)
      return Math.max(left, lead(c, policy, early, held))
    }
  })
  const had = Option.map(held.credentials, ({ accessToken }) => accessToken)
  return { force: false, minValidity, had, yields: true }
}
