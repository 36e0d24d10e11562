/**
 * When nothing may be sent to the server, and why: our own cool-down, and the wait that the server asked for.
 */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import { ServerWait } from "../Entry.js"
import { atLeastZero, isExpired, noWitness, type Witness } from "./Expiry.js"
import * as Replay from "./Replay.js"

/** The first cool-down after a failure, and the longest, in milliseconds. */
export interface Limits {
  readonly coolDownBase: number
  readonly coolDownMax: number
}

/**
 * Why nothing is sent for now, and until when.
 *
 * - `Failed`: a refresh failed.
 * - `ServerAsked`: the server asked the last client that sent a request to wait. See `backOff` for a server
 *   that does not say for how long.
 * - `Ineffective`: a refresh brought the same token or expiry, or one that is already due.
 * - `Rejected`: a resource server keeps rejecting fresh tokens.
 *
 * @since 0.1.0
 * @category models
 */
export interface CoolingDown {
  /** When it began. It ends if the clock is set back to before this. */
  readonly since: number
  readonly until: number
  /** Until when the server asked to wait, if it did. A forced refresh respects that too. */
  readonly askedUntil: Option.Option<number>
  readonly reason: "Failed" | "ServerAsked" | "Ineffective" | "Rejected"
  /** How many times in a row. */
  readonly failures: number
}

/** The longest wait that a server can impose: a day. */
export const longestWait = 86_400_000

/**
 * Why nothing may be sent now: our own cool-down or the server's wait, whichever lasts longer. None if
 * sending is allowed. A forced request ignores our own cool-down, never the server's wait.
 */
export const cooling = (
  held: {
    readonly coolDown: Option.Option<CoolingDown>
    readonly serverWait: Option.Option<ServerWait>
  },
  now: number,
  force = false
): Option.Option<CoolingDown> => {
  const own = Option.flatMap(held.coolDown, (c) => {
    if (now < c.since) return Option.none()
    return force
      ? Option.map(c.askedUntil, (until): CoolingDown => ({ ...c, until, reason: "ServerAsked" }))
      : Option.some(c)
  })
  return [own, Option.flatMap(held.serverWait, (wait) => sharedWait(wait, now))]
    .flatMap(Option.toArray)
    .filter(({ until }) => now < until)
    .reduce(
      (longest, c) => (Option.exists(longest, ({ until }) => until >= c.until) ? longest : Option.some(c)),
      Option.none<CoolingDown>()
    )
}

/** None if the wait began further in the future than the clocks of two machines may differ. */
const sharedWait = ({ at, until }: ServerWait, now: number): Option.Option<CoolingDown> => {
  const end = Math.min(until, at + longestWait)
  return now < at - Credentials.clockTolerance
    ? Option.none()
    : Option.some({ since: at, until: end, askedUntil: Option.some(end), reason: "ServerAsked", failures: 1 })
}

/**
 * The wait to store for everyone who shares the grant. Never shorter than the previous one. `retryAfter` is
 * in milliseconds, and at most a day counts.
 */
export const serverWait = (
  before: Option.Option<ServerWait>,
  retryAfter: Option.Option<number>,
  now: number
): Option.Option<ServerWait> =>
  Option.match(
    Option.filter(retryAfter, (millis) => millis > 0),
    {
      onNone: () => before,
      onSome: (millis) => {
        const until = now + Math.min(millis, longestWait)
        return Option.some(
          Option.getOrElse(
            Option.filter(before, (b) => b.at <= now && b.until >= until),
            () => new ServerWait({ at: now, until })
          )
        )
      }
    }
  )

/**
 * How long, in milliseconds, everyone who shares a grant waits after the server refused for now (429, 503,
 * `temporarily_unavailable`, `slow_down`) without naming a time: twice the last wait, from `coolDownBase` to
 * `coolDownMax`. `before` is the last stored wait. A successful refresh removes it.
 */
export const backOff = (before: Option.Option<ServerWait>, now: number, limits: Limits): number => {
  // A wait that begins in the future was stored before the clock was set back.
  const last = Option.match(
    Option.filter(before, ({ at }) => at <= now),
    { onNone: () => 0, onSome: ({ at, until }) => atLeastZero(until - at) }
  )
  return Math.min(Math.max(limits.coolDownBase, 2 * last), limits.coolDownMax)
}

/**
 * The cool-down after one more failure.
 *
 * - It doubles each time up to the maximum, less up to a quarter of jitter.
 * - It is short enough to repeat a request without a response while the server allows that.
 * - It is never shorter than the server asked for (at most a day), now or in the previous cool-down.
 */
export const coolDown = (options: {
  /** How many times in a row it has failed, from 1. */
  readonly failures: number
  readonly now: number
  readonly policy: Limits
  readonly reason: Exclude<CoolingDown["reason"], "ServerAsked">
  readonly retryAfter: Option.Option<number>
  /** How long everyone who shares the grant waits if the server did not say. See `backOff`. */
  readonly shared?: Option.Option<number>
  /** The cool-down that this one replaces. */
  readonly before: Option.Option<CoolingDown>
  /** The replay that an open intent calls for, if there is one. */
  readonly replay: Option.Option<Replay.Replay>
  readonly jitterShare: number
}): CoolingDown => {
  const { failures, now, policy, reason } = options
  const doubled = policy.coolDownBase * 2 ** Math.min(failures - 1, 30)
  const longest = Math.min(policy.coolDownMax, Replay.longestPause(options.replay))
  const own = Math.min(doubled, longest) * (1 - options.jitterShare / 4)
  const asked = Option.match(options.retryAfter, {
    onNone: () => 0,
    onSome: (millis) => Math.min(atLeastZero(millis), longestWait)
  })
  const stillAsked = Option.match(
    Option.filter(options.before, (c) => c.since <= now),
    { onNone: () => 0, onSome: (c) => Option.getOrElse(c.askedUntil, () => now) - now }
  )
  const byServer = Math.max(asked, stillAsked)
  const binding = Math.max(
    byServer,
    Option.getOrElse(options.shared ?? Option.none(), () => 0)
  )
  return {
    since: now,
    until: now + Math.max(own, binding),
    askedUntil: binding > 0 ? Option.some(now + binding) : Option.none(),
    reason: byServer > own ? "ServerAsked" : reason,
    failures
  }
}

/**
 * Whether a refresh achieved nothing: the same access token, the same expiry, or one already past. Repeating
 * it at once would loop.
 */
export const isIneffective = (
  before: Option.Option<Credentials.Credentials>,
  after: Credentials.Credentials,
  now: number,
  witness: Witness = noWitness
): boolean =>
  isExpired(after, now, witness) ||
  Option.exists(
    before,
    (b) =>
      Credentials.sameAccessToken(b, after) ||
      (Option.isSome(b.expiresAt) && Option.getOrNull(b.expiresAt) === Option.getOrNull(after.expiresAt))
  )

/**
 * Returns an account's and instance's share of the jitter: from 0 to below 1, the same for the same text, so
 * that a fleet does not refresh in step and tests are repeatable. FNV-1a with the final mixing of Murmur3.
 * Without the mixing, names that differ in their last letter would get nearly the same share.
 */
export const jitterShare = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x100000000
}
