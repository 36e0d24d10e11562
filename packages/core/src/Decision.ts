/**
 * All judgement about a token: is it expired, due, fresh, and what to do next. No services, no effects;
 * `now` and `policy` are arguments, times are epoch milliseconds.
 *
 * Every function is total: whatever the clock and the lifetimes, none answers NaN or throws.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Credentials from "./Credentials.js"
import { type DeadGrant, type Intent, ServerWait } from "./Entry.js"
import { describeMismatch, type Mismatch } from "./GrantIdentity.js"
import * as Rotation from "./RotationPolicy.js"

/**
 * What the decision needs of the policy, in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy {
  readonly credentialsTtl: number
  readonly grace: number
  readonly mode: "wait" | "background"
  /** From 0 to 1: how much of the grace jitter may take away in `background` mode. */
  readonly jitter: number
  readonly coolDownBase: number
  readonly coolDownMax: number
}

/**
 * Why nothing is posted for now, and until when.
 *
 * - `Failed`: a refresh failed. `ServerAsked`: the server asked whoever posted last to wait; where it did not say for how
 *   long, see {@link backOff}.
 * - `Ineffective`: a refresh brought the same token or expiry, or one already due.
 * - `Rejected`: a resource server keeps rejecting fresh tokens.
 *
 * @since 0.1.0
 * @category models
 */
export interface CoolingDown {
  /** When it began: a clock set back to before it ends it. */
  readonly since: number
  readonly until: number
  /** Until when the server is to be left alone, if it asked for that: a forced refresh waits for that too. */
  readonly askedUntil: Option.Option<number>
  readonly reason: "Failed" | "ServerAsked" | "Ineffective" | "Rejected"
  /** How many times in a row. */
  readonly failures: number
}

/**
 * What is in memory, as the decision sees it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Held {
  readonly credentials: Option.Option<Credentials.Credentials>
  /** When it was read from storage or written there. */
  readonly loadedAt: number
  /** Whether the refresher can work with it. */
  readonly refreshable: boolean
  /** In what the grant differs from those that the refresher may redeem, if in anything. */
  readonly mismatch: Option.Option<Mismatch>
  /** The mark of this very grant, where the server has refused it. */
  readonly dead: Option.Option<DeadGrant>
  /** Whether a resource server has rejected this very access token. */
  readonly rejected: boolean
  /** Our own, after what went wrong here. */
  readonly coolDown: Option.Option<CoolingDown>
  /** What the server asked of whoever posted last. */
  readonly serverWait: Option.Option<ServerWait>
  /** The note of a refresh of this very refresh token whose answer has not been seen. */
  readonly unanswered: Option.Option<Intent>
  /** What the server does with a spent refresh token. */
  readonly rotation: Rotation.RotationPolicy
  /** By how many milliseconds the server's clock is ahead of ours: a token is due that much earlier. */
  readonly serverAhead: number
  /** From 0 to 1: this account and instance's share of the jitter. */
  readonly jitterShare: number
  /** What this process knows of the age of the access token, whatever the clocks say. */
  readonly witness: Witness
}

/**
 * What a process knows of the age of an access token beside what the record says. A record's times are by the clock
 * of whoever wrote it, which may have been wrong, or set since.
 *
 * @since 0.1.0
 * @category models
 */
export interface Witness {
  /**
   * By how many milliseconds our clock is ahead of the server's, negative where it is behind: measured by this
   * process, and none once our clock has been set since.
   */
  readonly ahead: Option.Option<number>
  /**
   * When the token was first held here, by what our clock says now (epoch milliseconds): it is at least that old.
   * Infinity where nobody has held it yet.
   */
  readonly heldSince: number
  /** Whether this process obtained it: then it was obtained at `heldSince`. */
  readonly isOwn: boolean
  /** When storage did not hold it yet, by what our clock says now; minus infinity where nobody looked. */
  readonly absentAt: number
  /** By how many milliseconds our clock was set back since the token is held here. */
  readonly setBack: number
}

/**
 * Nothing but what the record says.
 *
 * @since 0.1.0
 * @category constructors
 */
export const noWitness: Witness = {
  ahead: Option.none(),
  heldSince: Infinity,
  isOwn: false,
  absentAt: Number.NEGATIVE_INFINITY,
  setBack: 0
}

/**
 * How far apart two clocks may be and still count as set right: a minute. Machines that ask a time server are
 * within a second of each other. A minute is below the default grace, so that a token that a peer's fast clock
 * dated too late is still renewed before it dies.
 *
 * @since 0.1.0
 * @category constants
 */
export const clockTolerance = 60_000

/**
 * What a caller asks beyond the policy: a refresh in any case, or a token that still lives for
 * `minValidity` milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly force: boolean
  readonly minValidity: number
}

/**
 * The plain request.
 *
 * @since 0.1.0
 * @category constructors
 */
export const anyValid: Request = { force: false, minValidity: 0 }

/**
 * Why a token is used as it is: it is not due, or it is but no refresh could help. `AnswerLost`: the server
 * may have replaced the refresh token, and to send it again may end the grant, which is left for the time
 * when there is nothing more to lose.
 *
 * @since 0.1.0
 * @category models
 */
export type UseReason = "NotDue" | "NoRefreshToken" | "GrantDead" | "AnswerLost"

/**
 * Why a token is to be refreshed. `AnswerLost`: it is not due, but an earlier refresh got no answer, and the
 * server still lets it be repeated. `AgeUnknown`: a clock was wrong when it was obtained, or is wrong now, and nobody
 * can say whether it has expired.
 *
 * @since 0.1.0
 * @category models
 */
export type DueReason =
  "NoToken" | "Expired" | "AgeUnknown" | "InGrace" | "MinValidity" | "Forced" | "Rejected" | "AnswerLost"

/**
 * Why a user must log in again.
 *
 * @since 0.1.0
 * @category models
 */
export type ReauthorizeReason = "NoCredentials" | "NoRefreshToken" | "GrantDead" | "RotationLost"

/**
 * What to do. Each outcome carries what the shell needs to do it; the same value drives behaviour, logs,
 * metrics and `explain`. `replay` is there where an earlier refresh of the same refresh token got no answer:
 * a refresh is a replay of it then.
 *
 * - `Use`: the token; no need to ask again before `nextCheckAt`.
 * - `Reload`: read storage, then decide again.
 * - `UseAndRefresh`: the token now; one refresh behind.
 * - `Refresh`: join the one refresh; `fallback` is the token to serve if it fails or is slow.
 * - `CoolDown`: nothing may be posted before `until`; `fallback` as above. `AnswerLost`: see {@link UseReason};
 *   the token is valid, but not for as long as was asked.
 * - `Reauthorize`: only a new login helps.
 * - `TooShortLived`: the server's tokens do not live for the `minValidity` asked for.
 * - `Refuse`: the grant is another server's, client's or account's: nothing of it is sent or served.
 *
 * @since 0.1.0
 * @category models
 */
export type Decision = Data.TaggedEnum<{
  Use: {
    readonly token: Redacted.Redacted
    readonly nextCheckAt: number
    readonly reason: UseReason
    readonly replay: Option.Option<Rotation.Replay>
  }
  Reload: { readonly reason: "NotLoaded" | "Stale" | "Expired" }
  UseAndRefresh: {
    readonly token: Redacted.Redacted
    readonly reason: DueReason
    readonly replay: Option.Option<Rotation.Replay>
  }
  Refresh: {
    readonly reason: DueReason
    readonly fallback: Option.Option<Redacted.Redacted>
    readonly replay: Option.Option<Rotation.Replay>
  }
  CoolDown: {
    readonly until: number
    readonly reason: CoolingDown["reason"] | "AnswerLost"
    readonly fallback: Option.Option<Redacted.Redacted>
  }
  Reauthorize: { readonly reason: ReauthorizeReason; readonly detail: string }
  TooShortLived: { readonly lifetime: number; readonly minValidity: number }
  Refuse: { readonly mismatch: Mismatch }
}>

/**
 * @since 0.1.0
 * @category constructors
 */
export const {
  Use,
  Reload,
  UseAndRefresh,
  Refresh,
  CoolDown,
  Reauthorize,
  TooShortLived,
  Refuse,
  $match,
  $is
} = Data.taggedEnum<Decision>()

/** A number of milliseconds that is one: not NaN, not negative. */
const millis = (value: number): number => (value > 0 ? value : 0)

/** When a token ends by our clock, and whether that is no more than a guess. */
interface End {
  readonly at: number
  readonly isGuess: boolean
}

/**
 * A record without `obtainedAt` has its expiry alone. One with it has a lifetime, and what is left never exceeds that.
 *
 * - What this process obtained is as old as it has been held here, however the clock was set since.
 * - Where this process has measured the server's clock, the age is by that.
 * - Else it is by the writer's clock, or by the server's `Date`, whichever leaves less. A time that lies in the future
 *   is no witness. Where none is left, or the token lives by one and is dead by the other, it is as old as it can be
 *   since storage did not hold it. If it may be dead by that, the end is a guess.
 */
const endOf = (credentials: Credentials.Credentials, now: number, witness: Witness): Option.Option<End> => {
  const { setBack } = witness
  if (!(setBack > 0)) return endBy(credentials, now, witness)
  // By the clock as it would be had nobody set it.
  const unset = {
    ...witness,
    ahead: Option.map(witness.ahead, (ahead) => ahead + setBack),
    heldSince: witness.heldSince + setBack,
    absentAt: witness.absentAt + setBack
  }
  return Option.map(endBy(credentials, now + setBack, unset), ({ at, isGuess }) => ({
    at: at - setBack,
    isGuess
  }))
}

/** What a `Date` is written in, in milliseconds: an end by it that is later by less than that is no later. */
const dateResolution = 1000

const precise = (byServer: number, told: number): number =>
  byServer - told > 0 && byServer - told < dateResolution ? told : byServer

const endBy = (
  credentials: Credentials.Credentials,
  now: number,
  { absentAt, ahead, heldSince, isOwn }: Witness
): Option.Option<End> => {
  const { expiresAt, obtainedAt, serverTime } = credentials
  if (Option.isNone(expiresAt) || Number.isNaN(expiresAt.value)) return Option.none()
  const told = expiresAt.value
  const life = Option.isNone(obtainedAt) ? Number.NaN : told - obtainedAt.value
  if (Option.isNone(obtainedAt) || Number.isNaN(life)) return Option.some({ at: told, isGuess: false })
  const end = (at: number, isGuess = false) => {
    const latest = Math.min(at, heldSince + life)
    return Option.some({ at: Number.isNaN(latest) ? told : latest, isGuess })
  }
  const guess = (at: number) => {
    const sure = absentAt + life
    return sure > now ? end(Math.min(at, sure)) : end(at, true)
  }
  if (isOwn) return end(told)
  const isPast = (start: number) => now >= start - clockTolerance
  if (Option.isSome(serverTime) && Option.isSome(ahead)) {
    const start = serverTime.value + ahead.value
    return isPast(start) ? end(precise(start + life, told)) : guess(Math.min(heldSince, now) + life)
  }
  const byWriter = isPast(obtainedAt.value) ? Option.some(told) : Option.none()
  const byServer = Option.map(Option.filter(serverTime, isPast), (start) => start + life)
  if (Option.isNone(byWriter)) {
    return Option.match(byServer, {
      onNone: () => guess(Math.min(heldSince, now) + life),
      onSome: (at) => end(at)
    })
  }
  const isDisputed = Option.exists(byServer, (at) => at <= now && now < told)
  return isDisputed
    ? guess(told)
    : end(
        Math.min(
          told,
          Option.getOrElse(byServer, () => told)
        )
      )
}

/**
 * Milliseconds until the expiry, negative once past it; none where the expiry is unknown. Never more than the lifetime
 * of the token, where that is known: a clock that was ahead when it was obtained, or is behind now, adds nothing.
 *
 * @since 0.1.0
 * @category predicates
 */
export const timeToExpiry = (
  credentials: Credentials.Credentials,
  now: number,
  witness: Witness = noWitness
): Option.Option<number> =>
  Option.filter(
    Option.map(endOf(credentials, now, witness), ({ at }) => Math.min(at - now, longestLife(credentials))),
    (left) => !Number.isNaN(left)
  )

const longestLife = ({ expiresAt, obtainedAt }: Credentials.Credentials): number => {
  const life = Option.getOrElse(
    Option.zipWith(expiresAt, obtainedAt, (end, start) => end - start),
    () => Infinity
  )
  return Number.isNaN(life) ? Infinity : life
}

/**
 * Whether nobody can say how old the token is, though its lifetime is known: it was obtained in the future by our clock,
 * or is alive by the clock of whoever stored it and dead by the server's.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAgeUnknown = (
  credentials: Credentials.Credentials,
  now: number,
  witness: Witness = noWitness
): boolean => Option.exists(endOf(credentials, now, witness), ({ isGuess }) => isGuess)

/** Whether no more than `span` is left. What has no expiry always has more. */
const endsWithin = (left: Option.Option<number>, span: number): boolean =>
  Option.exists(left, (millisLeft) => millisLeft <= span)

/**
 * Milliseconds left as whole seconds, 0 once there are none.
 *
 * @since 0.1.0
 * @category predicates
 */
export const wholeSeconds = (left: Option.Option<number>): Option.Option<number> =>
  Option.map(left, (ms) => Math.floor(millis(ms) / 1000))

/**
 * Whether `now` is at or past the expiry. What has no expiry never expires.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isExpired = (
  credentials: Credentials.Credentials,
  now: number,
  witness: Witness = noWitness
): boolean => endsWithin(timeToExpiry(credentials, now, witness), 0)

/**
 * The policy's grace for these credentials, or more where the server wants them renewed earlier; at most half
 * of their lifetime, where that is known, so that a token is never due the moment it arrives.
 *
 * @since 0.1.0
 * @category getters
 */
export const clampedGrace = (credentials: Credentials.Credentials, grace: number): number => {
  const wanted = Math.max(millis(grace), askedGrace(credentials))
  return Option.match(Credentials.lifetime(credentials), {
    onNone: () => wanted,
    onSome: (lifetime) => Math.min(wanted, lifetime / 2)
  })
}

/**
 * Whether the policy's grace is not below the lifetime of these credentials: a setting that cannot be meant, and is
 * {@link clampedGrace} instead. A grace between half the lifetime and the whole is clamped too, and no mistake.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isGraceTooLong = (credentials: Credentials.Credentials, grace: number): boolean =>
  Option.exists(Credentials.lifetime(credentials), (lifetime) => grace >= lifetime)

/** How long before the expiry the server wants the token renewed, 0 where it does not say. */
const askedGrace = ({ expiresAt, refreshAt }: Credentials.Credentials): number =>
  Option.match(
    Option.zipWith(expiresAt, refreshAt, (end, renew) => end - renew),
    { onNone: () => 0, onSome: millis }
  )

/**
 * Whether a refresh is due: the time left is no more than the grace. Takes the grace as it is, a negative
 * one as 0; {@link clampedGrace} is the policy's.
 *
 * @since 0.1.0
 * @category predicates
 */
export const shouldRefresh = (credentials: Credentials.Credentials, now: number, grace: number): boolean =>
  endsWithin(timeToExpiry(credentials, now), millis(grace))

/**
 * Whether what was read at `loadedAt` may still be trusted: younger than `ttl`, not from the future (the
 * clock was set back), and not expired.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFresh = (
  credentials: Credentials.Credentials,
  loadedAt: number,
  now: number,
  ttl: number,
  witness: Witness = noWitness
): boolean => now >= loadedAt && now - loadedAt < ttl && !isExpired(credentials, now, witness)

/**
 * What to do with what is in memory. Absence is never trusted: storage is asked again.
 *
 * @since 0.1.0
 * @category decisions
 */
export const decide = (
  held: Option.Option<Held>,
  now: number,
  policy: Policy,
  request: Request = anyValid
): Decision => {
  if (Option.isNone(held) || Option.isNone(held.value.credentials)) return Reload({ reason: "NotLoaded" })
  const { credentials, loadedAt, witness } = held.value
  if (isFresh(credentials.value, loadedAt, now, policy.credentialsTtl, witness)) {
    return judge(held.value, now, policy, request)
  }
  return Reload({ reason: isExpired(credentials.value, now, witness) ? "Expired" : "Stale" })
}

/**
 * What to do with what was just read from storage: {@link decide} without the question of freshness.
 *
 * @since 0.1.0
 * @category decisions
 */
export const judge = (held: Held, now: number, policy: Policy, request: Request = anyValid): Decision => {
  if (Option.isSome(held.mismatch)) return Refuse({ mismatch: held.mismatch.value })
  const replay = Rotation.replay(held.rotation, held.unanswered, now)
  if (Option.isNone(held.credentials)) {
    return held.refreshable
      ? postpone(held, now, { reason: "NoToken", fallback: Option.none(), replay }, request.force)
      : Reauthorize({ reason: "NoCredentials", detail: "No credentials found" })
  }
  const credentials = held.credentials.value
  const token = credentials.accessToken
  const left = timeToExpiry(credentials, now, held.witness)
  const grace = dueGrace(credentials, held, policy)
  const canRefresh = held.refreshable && Option.isNone(held.dead)
  const ageUnknown = isAgeUnknown(credentials, now, held.witness)
  const due = Option.orElse(dueReason(left, grace, { rejected: held.rejected, ageUnknown }, request), () =>
    canRefresh && isOpen(replay) ? Option.some("AnswerLost" as const) : Option.none()
  )
  const use = (reason: UseReason, graceLeft: number): Decision =>
    Use({ token, nextCheckAt: nextCheckAt(held, credentials, now, graceLeft, policy), reason, replay })
  if (Option.isNone(due)) return use("NotDue", grace)

  const tooShort = endsWithin(left, millis(request.minValidity))
  const usable = !held.rejected && !tooShort
  if (tooShort && !held.rejected && !endsWithin(left, 0)) {
    const longest = Option.map(Credentials.lifetime(credentials), (lifetime) =>
      Math.min(lifetime, leftAtFirst(credentials, now, held.witness))
    )
    if (Option.isSome(longest) && longest.value <= request.minValidity) {
      return TooShortLived({ lifetime: longest.value, minValidity: request.minValidity })
    }
  }
  if (!canRefresh) {
    return usable && !request.force
      ? use(Option.isSome(held.dead) ? "GrantDead" : "NoRefreshToken", 0)
      : Option.match(held.dead, {
          onSome: (dead) =>
            Reauthorize({ reason: dead.rotationLost ? "RotationLost" : "GrantDead", detail: dead.reason }),
          onNone: () => Reauthorize({ reason: "NoRefreshToken", detail: "There is no refresh token" })
        })
  }
  if (Option.exists(replay, ({ open }) => !open) && !request.force && !held.rejected) {
    // The last resort, for when there is nothing more to lose.
    if (usable) return use("AnswerLost", 0)
    const alive = Option.filter(left, (millisLeft) => millisLeft > 0)
    if (Option.isSome(alive)) {
      const until = now + Math.min(alive.value, longestRetryAfter)
      return CoolDown({ until, reason: "AnswerLost", fallback: Option.none() })
    }
  }
  const fallback = usable ? Option.some(token) : Option.none()
  const behind = due.value === "AnswerLost" || (policy.mode === "background" && due.value === "InGrace")
  return behind && usable && Option.isNone(cooling(held, now))
    ? UseAndRefresh({ token, reason: due.value, replay })
    : postpone(held, now, { reason: due.value, fallback, replay }, request.force)
}

/** What was left of a token when this process obtained it: the next one will not last longer. */
const leftAtFirst = (credentials: Credentials.Credentials, now: number, witness: Witness): number => {
  const end = witness.isOwn ? endOf(credentials, now, witness) : Option.none<End>()
  return Option.isSome(end) ? end.value.at - witness.heldSince : Infinity
}

const isOpen = (replay: Option.Option<Rotation.Replay>): boolean => Option.exists(replay, (r) => r.open)

const dueReason = (
  left: Option.Option<number>,
  grace: number,
  { ageUnknown, rejected }: { readonly ageUnknown: boolean; readonly rejected: boolean },
  request: Request
): Option.Option<DueReason> => {
  if (endsWithin(left, 0)) return Option.some("Expired")
  if (rejected) return Option.some("Rejected")
  if (request.force) return Option.some("Forced")
  if (ageUnknown) return Option.some("AgeUnknown")
  if (endsWithin(left, grace)) return Option.some("InGrace")
  return endsWithin(left, request.minValidity) ? Option.some("MinValidity") : Option.none()
}

/** No server is believed to be further ahead than this, 5 minutes: then one of the clocks is no clock. */
const furthestAhead = 300_000

/**
 * A grace that is clamped already, and by how much the server's clock is ahead before that; at most half of
 * the lifetime in all, where that is known. Only what is due depends on the server's clock: when a token has
 * expired, ours tells.
 *
 * @since 0.1.0
 * @category getters
 */
export const earliness = (
  credentials: Credentials.Credentials,
  grace: number,
  serverAhead: number
): number => {
  const earlier = grace + Math.min(millis(serverAhead), furthestAhead)
  return Option.match(Credentials.lifetime(credentials), {
    onNone: () => earlier,
    onSome: (lifetime) => Math.min(earlier, lifetime / 2)
  })
}

const dueGrace = (credentials: Credentials.Credentials, held: Held, policy: Policy): number => {
  const grace = clampedGrace(credentials, policy.grace)
  const jittered = policy.mode === "background" ? grace * (1 - policy.jitter * held.jitterShare) : grace
  return earliness(credentials, jittered, held.serverAhead)
}

const nextCheckAt = (
  held: Held,
  credentials: Credentials.Credentials,
  now: number,
  grace: number,
  policy: Policy
): number =>
  Math.min(
    held.loadedAt + policy.credentialsTtl,
    Option.match(endOf(credentials, now, held.witness), { onNone: () => Infinity, onSome: ({ at }) => at }) -
      grace,
    // Where a request lies in the future, its window opens when time gets there.
    Option.getOrElse(
      Option.filterMap(held.unanswered, ({ at }) => (at > now ? Option.some(at) : Option.none())),
      () => Infinity
    )
  )

/**
 * Why nothing may be posted now, if so: after a failure of our own, or since the server asked somebody to wait; what
 * lasts longer. A request that forces passes our own cool-down, never what the server asked for.
 *
 * @since 0.1.0
 * @category decisions
 */
export const cooling = (
  held: Pick<Held, "coolDown" | "serverWait">,
  now: number,
  force = false
): Option.Option<CoolingDown> => {
  const own = Option.flatMap(held.coolDown, (c) => {
    if (now < c.since) return Option.none()
    return force
      ? Option.map(c.askedUntil, (until): CoolingDown => ({ ...c, until, reason: "ServerAsked" }))
      : Option.some(c)
  })
  return [own, Option.flatMap(held.serverWait, (wait) => askedOfAll(wait, now))]
    .flatMap(Option.toArray)
    .filter(({ until }) => now < until)
    .reduce(
      (longest, c) => (Option.exists(longest, ({ until }) => until >= c.until) ? longest : Option.some(c)),
      Option.none<CoolingDown>()
    )
}

/** None where it was told in the future, further away than the clocks of two machines are apart. */
const askedOfAll = ({ at, until }: ServerWait, now: number): Option.Option<CoolingDown> => {
  const end = Math.min(until, at + longestRetryAfter)
  return now < at - clockTolerance
    ? Option.none()
    : Option.some({ since: at, until: end, askedUntil: Option.some(end), reason: "ServerAsked", failures: 1 })
}

const postpone = (
  held: Held,
  now: number,
  due: Omit<Extract<Decision, { _tag: "Refresh" }>, "_tag">,
  force: boolean
): Decision =>
  Option.match(cooling(held, now, force), {
    onNone: () => Refresh(due),
    onSome: (c) => CoolDown({ until: c.until, reason: c.reason, fallback: due.fallback })
  })

/** No server may silence us for longer than this. */
const longestRetryAfter = 86_400_000

/**
 * What the server asks of all who share the grant, where it asks for anything; never less than it asked before.
 * `retryAfter` is in milliseconds, and a day at most.
 *
 * @since 0.1.0
 * @category decisions
 */
export const serverWait = (
  before: Option.Option<ServerWait>,
  retryAfter: Option.Option<number>,
  now: number
): Option.Option<ServerWait> =>
  Option.match(
    Option.filter(retryAfter, (asked) => asked > 0),
    {
      onNone: () => before,
      onSome: (asked) => {
        const until = now + Math.min(asked, longestRetryAfter)
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
 * How long, in milliseconds, all who share a grant wait after the server answered that it cannot now (429, 503,
 * `temporarily_unavailable`, `slow_down`) without saying for how long: twice the last wait, from the policy's
 * `coolDownBase` to its `coolDownMax`. `before` is the last wait that is stored: a refresh that goes well removes it.
 *
 * @since 0.1.0
 * @category decisions
 */
export const backOff = (before: Option.Option<ServerWait>, now: number, policy: Policy): number => {
  // A wait that lies in the future was noted before the clock was set back.
  const last = Option.match(
    Option.filter(before, ({ at }) => at <= now),
    { onNone: () => 0, onSome: ({ at, until }) => millis(until - at) }
  )
  return Math.min(Math.max(policy.coolDownBase, 2 * last), policy.coolDownMax)
}

/**
 * The cool-down after one more failure: doubled each time up to the policy's maximum, less up to a quarter
 * of jitter; short enough to ask for a lost answer while that can be had; never shorter than the server
 * asked for (a day at most), now or by the one that this takes the place of.
 *
 * @since 0.1.0
 * @category decisions
 */
export const coolDown = (options: {
  /** How many times in a row it has failed by now, from 1. */
  readonly failures: number
  readonly now: number
  readonly policy: Policy
  readonly reason: Exclude<CoolingDown["reason"], "ServerAsked">
  readonly retryAfter: Option.Option<number>
  /** How long all who share the grant wait, where the server did not say; see {@link backOff}. */
  readonly shared?: Option.Option<number>
  /** The cool-down that this takes the place of. */
  readonly before: Option.Option<CoolingDown>
  /** The refresh whose answer was not seen, if there is one by now. */
  readonly replay: Option.Option<Rotation.Replay>
  readonly jitterShare: number
}): CoolingDown => {
  const doubled = options.policy.coolDownBase * 2 ** Math.min(options.failures - 1, 30)
  const longest = Math.min(options.policy.coolDownMax, Rotation.longestPause(options.replay))
  const own = Math.min(doubled, longest) * (1 - options.jitterShare / 4)
  const { now } = options
  const asked = Option.match(options.retryAfter, {
    onNone: () => 0,
    onSome: (retryAfter) => Math.min(millis(retryAfter), longestRetryAfter)
  })
  const stillAsked = Option.match(
    Option.filter(options.before, (c) => c.since <= now),
    {
      onNone: () => 0,
      onSome: (c) => Option.getOrElse(c.askedUntil, () => now) - now
    }
  )
  const servers = Math.max(asked, stillAsked)
  const binding = Math.max(
    servers,
    Option.getOrElse(options.shared ?? Option.none(), () => 0)
  )
  return {
    since: now,
    until: now + Math.max(own, binding),
    askedUntil: binding > 0 ? Option.some(now + binding) : Option.none(),
    reason: servers > own ? "ServerAsked" : options.reason,
    failures: options.failures
  }
}

/**
 * What is stored of a refresh. Where our clock differs from the server's by as much as at the refresh before, it is wrong
 * for good rather than about to be set: the server's time is left out then, or each process that begins would take the
 * token for dead and renew it.
 *
 * @since 0.1.0
 * @category decisions
 */
export const toStore = (
  before: Option.Option<Credentials.Credentials>,
  after: Credentials.Credentials
): Credentials.Credentials => {
  const offOf = ({ obtainedAt, serverTime }: Credentials.Credentials) =>
    Option.zipWith(obtainedAt, serverTime, (ours, theirs) => ours - theirs)
  const isSteady = Option.exists(
    Option.all([Option.flatMap(before, offOf), offOf(after)]),
    ([then, now]) => Math.abs(now) > clockTolerance && Math.abs(now - then) <= clockTolerance
  )
  return isSteady ? new Credentials.Credentials({ ...after, serverTime: Option.none() }) : after
}

/**
 * Why a token that arrived at `now` is of no use, where it had expired by then: in words, with the clock that is to be
 * set right, if one is. Empty where it is of use.
 *
 * @since 0.1.0
 * @category getters
 */
export const describeArrival = (
  credentials: Credentials.Credentials,
  now: number,
  witness: Witness = noWitness
): string =>
  Option.match(timeToExpiry(credentials, now, witness), {
    onNone: () => "",
    onSome: (left) => (left > 0 ? "" : describeLateArrival(credentials, now, -left))
  })

/** `late` is by how many milliseconds the token had expired when it arrived. */
const describeLateArrival = (credentials: Credentials.Credentials, now: number, late: number): string => {
  const span = (millis: number) => Duration.format(Duration.seconds(Math.round(millis / 1000)))
  const off = Option.map(credentials.serverTime, (server) => now - server)
  if (Option.isSome(off) && Math.abs(off.value) > clockTolerance) {
    const way = off.value > 0 ? "ahead of" : "behind"
    return `The token had expired when it came, and the clock of this machine is ${span(Math.abs(off.value))} ${way} the server's: set it right.`
  }
  const ago = late > 0 ? `, by ${span(late)}` : ""
  return Option.isSome(off)
    ? `The token had expired when it came${ago}, though the clocks agree: the server gives it no time to live.`
    : `The token had expired when it came${ago} by the clock of this machine, ${instantText(now)}: check that clock.`
}

/** Total, as clocks may say anything. */
const instantText = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : "which says no time"

/**
 * Whether a refresh achieved nothing: the same access token, the same expiry, or one already past. To do
 * it again at once would loop.
 *
 * @since 0.1.0
 * @category decisions
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
 * From 0 to below 1, the same for the same text: an account and instance's share of the jitter, so that a
 * fleet does not refresh in step and a test sees the same every time (FNV-1a, with Murmur3's last mixing,
 * without which names that differ in their last letter would get nearly the same share).
 *
 * @since 0.1.0
 * @category getters
 */
export const jitterShare = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x100000000
}

/**
 * When there may be something else to do, without anybody asking for more: at once where storage is to be read
 * or a token refreshed; none where only a change in storage, or another request, helps.
 *
 * @since 0.1.0
 * @category getters
 */
export const looksAgainAt = (decision: Decision, now: number): Option.Option<number> => {
  switch (decision._tag) {
    case "Use":
      return decision.nextCheckAt === Infinity ? Option.none() : Option.some(decision.nextCheckAt)
    case "CoolDown":
      return Option.some(decision.until)
    case "Reload":
    case "UseAndRefresh":
    case "Refresh":
      return Option.some(now)
    case "Reauthorize":
    case "TooShortLived":
    case "Refuse":
      return Option.none()
  }
}

/**
 * A decision in words, for people; never a token.
 *
 * @since 0.1.0
 * @category getters
 */
export const describe = (decision: Decision, now: number): string => {
  const span = (time: number): string => `${millis(time) / 1000} s`
  const served = (fallback: Option.Option<unknown>): string =>
    Option.isSome(fallback) ? "the token is still valid and is served" : "there is no valid token to serve"
  const again = (replay: Option.Option<Rotation.Replay>): string =>
    Option.match(replay, {
      onNone: () => "",
      onSome: ({ open, since }) =>
        `; this repeats a refresh begun ${span(now - since)} ago, whose answer was not seen, ` +
        (open ? "while the server lets it be repeated" : "as a last resort: the server may end the grant")
    })
  switch (decision._tag) {
    case "Use": {
      const { nextCheckAt, reason } = decision
      const look = nextCheckAt === Infinity ? "it has no expiry" : `look again in ${span(nextCheckAt - now)}`
      return `use the token in memory${useWords[reason]}; ${look}`
    }
    case "Reload":
      return `read storage again (${reloadWords[decision.reason]})`
    case "UseAndRefresh":
      return `use the token and refresh it behind (${dueWords[decision.reason]})${again(decision.replay)}`
    case "Refresh":
      return `refresh (${dueWords[decision.reason]}); meanwhile ${served(decision.fallback)}${again(decision.replay)}`
    case "CoolDown":
      return `post nothing for ${span(decision.until - now)} (${coolDownWords[decision.reason]}); ${served(decision.fallback)}`
    case "Reauthorize":
      return `log in${decision.reason === "NoCredentials" ? "" : " again"}: ${decision.detail}`
    case "TooShortLived":
      return `the server's tokens live for ${decision.lifetime / 1000} s, less than the ${decision.minValidity / 1000} s asked for`
    case "Refuse":
      return `use nothing of it: ${describeMismatch(decision.mismatch)}`
  }
}

const useWords = {
  NotDue: "",
  NoRefreshToken: " to its end: there is no refresh token",
  GrantDead: " to its end: the authorization server ended the grant",
  AnswerLost:
    " to its end: the answer to a refresh was not seen, and the server may end the grant if it is repeated"
} as const

const reloadWords = {
  NotLoaded: "nothing is in memory",
  Stale: "what is in memory is older than the credentials TTL",
  Expired: "the token in memory has expired"
} as const

const dueWords = {
  NoToken: "there is no token yet",
  Expired: "the token has expired",
  AgeUnknown: "a clock was set, and how old the token is cannot be said",
  InGrace: "the token is within the grace of its expiry",
  MinValidity: "the token lives for less than was asked for",
  Forced: "it was asked for",
  Rejected: "a resource server rejected the token",
  AnswerLost: "the answer to an earlier refresh was not seen"
} as const

const coolDownWords = {
  Failed: "the last refresh failed",
  ServerAsked: "the server asked to wait",
  Ineffective: "the last refresh brought no newer token",
  Rejected: "fresh tokens keep being rejected",
  AnswerLost: "the answer to a refresh was not seen, and the server may end the grant if it is repeated"
} as const
