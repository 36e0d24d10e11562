/**
 * What a caller gets now, and why: serve the token, read storage, refresh, wait, or send the user to log in.
 *
 * All policy about a token is here. `now` and `policy` are arguments. Times are epoch milliseconds. Every
 * function is total: no clock and no lifetime makes one throw or return NaN.
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Credentials from "../Credentials.js"
import type { DeadGrant, Intent, ServerWait } from "../Entry.js"
import type { Mismatch } from "../GrantIdentity.js"
import type * as Rotation from "../RotationPolicy.js"
import { cooling, type CoolingDown, type Limits, longestWait } from "./BackOff.js"
import {
  atLeastZero,
  clampedGrace,
  earliness,
  endsAt,
  endsWithin,
  isAgeUnknown,
  isExpired,
  isFresh,
  keepAliveAt,
  leftAtFirst,
  timeToExpiry,
  type Witness
} from "./Expiry.js"
import * as Replay from "./Replay.js"

/**
 * The part of the policy that the decision needs, in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy extends Limits {
  readonly credentialsTtl: number
  readonly grace: number
  readonly mode: "wait" | "background"
  /** From 0 to 1: the share of the grace that jitter may take away in `background` mode. */
  readonly jitter: number
}

/** What a process knows about the grant, in the form that the decision needs. */
export interface Held {
  readonly credentials: Option.Option<Credentials.Credentials>
  /** When they were read from storage or written there. */
  readonly loadedAt: number
  /** Whether the refresher can work with them. */
  readonly refreshable: boolean
  /** How the grant differs from those that the refresher may redeem, if it does. */
  readonly mismatch: Option.Option<Mismatch>
  /** The mark of this grant if the server has refused it. */
  readonly dead: Option.Option<DeadGrant>
  /** Whether a resource server has rejected this access token. */
  readonly rejected: boolean
  /** This process's own cool-down, after a failure here. */
  readonly coolDown: Option.Option<CoolingDown>
  /** The server's wait, which everyone who shares the grant respects. */
  readonly serverWait: Option.Option<ServerWait>
  /** The intent to spend this refresh token, if the outcome of the request is unknown. */
  readonly openIntent: Option.Option<Intent>
  /** What the server does with a spent refresh token. */
  readonly rotation: Rotation.RotationPolicy
  /** By how many milliseconds the server's clock is ahead of ours. A token is due that much earlier. */
  readonly serverAhead: number
  /** From 0 to 1: the share of the jitter of this account and instance. */
  readonly jitterShare: number
  /** What this process knows about the age of the access token. */
  readonly witness: Witness
}

/**
 * A caller's request beyond the policy: a refresh in any case, or a token that stays valid for `minValidity`
 * more milliseconds.
 */
export interface Request {
  readonly force: boolean
  readonly minValidity: number
}

/** The plain request: any valid token. */
export const anyValid: Request = { force: false, minValidity: 0 }

/**
 * Why a token is served without a refresh: it is not due, or it is due but no refresh could help.
 *
 * `AnswerLost`: the server may have replaced the refresh token, and sending the old one again may end the
 * grant. The manager does so only once there is nothing more to lose.
 *
 * @since 0.1.0
 * @category models
 */
export type UseReason = "NotDue" | "NoRefreshToken" | "GrantDead" | "AnswerLost"

/**
 * Why a token must be refreshed.
 *
 * - `AnswerLost`: it is not due, but an earlier refresh got no response, and the server still allows a
 *   repetition.
 * - `AgeUnknown`: a clock was wrong when it was obtained, or is wrong now, so nobody knows whether it has
 *   expired.
 * - `KeepAlive`: the token is valid, but the server ends a grant that is not used.
 *
 * @since 0.1.0
 * @category models
 */
export type DueReason =
  | "NoToken"
  | "Expired"
  | "AgeUnknown"
  | "InGrace"
  | "KeepAlive"
  | "MinValidity"
  | "Forced"
  | "Rejected"
  | "AnswerLost"

/**
 * Why a user must log in again.
 *
 * @since 0.1.0
 * @category models
 */
export type ReauthorizeReason = "NoCredentials" | "NoRefreshToken" | "GrantDead" | "RotationLost"

/**
 * What to do. Each outcome carries everything the manager needs. The same value drives behaviour, logs,
 * metrics and `explain`. `replay` is set if an earlier refresh with the same refresh token got no response: a
 * refresh is then a replay of it.
 *
 * - `Use`: serve the token. There is nothing else to do before `nextCheckAt`.
 * - `Reload`: read storage, then decide again.
 * - `UseAndRefresh`: serve the token now, and refresh it in the background.
 * - `Refresh`: join the one refresh. Serve `fallback` if it fails or is slow.
 * - `CoolDown`: send nothing before `until`. Serve `fallback` if there is one. `AnswerLost`: see
 *   {@link UseReason}; the token is valid, but not for as long as requested.
 * - `Reauthorize`: only a new login helps.
 * - `TooShortLived`: the server's tokens do not live for the requested `minValidity`.
 * - `Refuse`: the grant belongs to another server, client or account. Nothing of it is sent or served.
 *
 * @since 0.1.0
 * @category models
 */
export type Decision = Data.TaggedEnum<{
  Use: {
    readonly token: Redacted.Redacted
    readonly nextCheckAt: number
    readonly reason: UseReason
    readonly replay: Option.Option<Replay.Replay>
  }
  Reload: { readonly reason: "NotLoaded" | "Stale" | "Expired" }
  UseAndRefresh: {
    readonly token: Redacted.Redacted
    readonly reason: DueReason
    readonly replay: Option.Option<Replay.Replay>
  }
  Refresh: {
    readonly reason: DueReason
    readonly fallback: Option.Option<Redacted.Redacted>
    readonly replay: Option.Option<Replay.Replay>
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

/** Decides from what is in memory. An absent grant is never trusted: storage is read again. */
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

/** Decides from a read of storage just now: {@link decide} without the question of freshness. */
export const judge = (held: Held, now: number, policy: Policy, request: Request = anyValid): Decision => {
  if (Option.isSome(held.mismatch)) return Refuse({ mismatch: held.mismatch.value })
  const replay = Replay.replay(held.rotation, held.openIntent, now)
  if (Option.isNone(held.credentials)) {
    return held.refreshable
      ? refreshOrCoolDown(held, now, { reason: "NoToken", fallback: Option.none(), replay }, request.force)
      : Reauthorize({ reason: "NoCredentials", detail: "No credentials found" })
  }
  const credentials = held.credentials.value
  const token = credentials.accessToken
  const left = timeToExpiry(credentials, now, held.witness)
  const grace = dueGrace(credentials, held, policy)
  const canRefresh = held.refreshable && Option.isNone(held.dead)
  const due = Option.orElse(dueReason(held, credentials, left, grace, now, request), () =>
    canRefresh && Option.exists(replay, ({ open }) => open)
      ? Option.some("AnswerLost" as const)
      : Option.none()
  )
  const use = (reason: UseReason, graceLeft: number): Decision =>
    Use({ token, nextCheckAt: nextCheckAt(held, credentials, now, graceLeft, policy), reason, replay })
  if (Option.isNone(due)) return use("NotDue", grace)

  const tooShort = endsWithin(left, atLeastZero(request.minValidity))
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
    // A replay is the last resort, for when there is nothing more to lose.
    if (usable) return use("AnswerLost", 0)
    const alive = Option.filter(left, (millisLeft) => millisLeft > 0)
    if (Option.isSome(alive)) {
      const until = now + Math.min(alive.value, longestWait)
      return CoolDown({ until, reason: "AnswerLost", fallback: Option.none() })
    }
  }
  const fallback = usable ? Option.some(token) : Option.none()
  const inBackground = due.value === "AnswerLost" || (policy.mode === "background" && canWait.has(due.value))
  return inBackground && usable && Option.isNone(cooling(held, now))
    ? UseAndRefresh({ token, reason: due.value, replay })
    : refreshOrCoolDown(held, now, { reason: due.value, fallback, replay }, request.force)
}

/** The token can be served meanwhile. */
const canWait: ReadonlySet<DueReason> = new Set(["InGrace", "KeepAlive"])

const dueReason = (
  { rejected, witness }: Held,
  credentials: Credentials.Credentials,
  left: Option.Option<number>,
  grace: number,
  now: number,
  request: Request
): Option.Option<DueReason> => {
  if (endsWithin(left, 0)) return Option.some("Expired")
  if (rejected) return Option.some("Rejected")
  if (request.force) return Option.some("Forced")
  if (isAgeUnknown(credentials, now, witness)) return Option.some("AgeUnknown")
  if (endsWithin(left, grace)) return Option.some("InGrace")
  if (keepAliveAt(credentials) <= now) return Option.some("KeepAlive")
  return endsWithin(left, request.minValidity) ? Option.some("MinValidity") : Option.none()
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
    endsAt(credentials, now, held.witness) - grace,
    // The window of an intent that lies in the future opens at that time.
    Option.match(
      Option.filter(held.openIntent, ({ at }) => at > now),
      { onNone: () => Infinity, onSome: ({ at }) => at }
    )
  )

const refreshOrCoolDown = (
  held: Held,
  now: number,
  due: Omit<Extract<Decision, { _tag: "Refresh" }>, "_tag">,
  force: boolean
): Decision =>
  Option.match(cooling(held, now, force), {
    onNone: () => Refresh(due),
    onSome: ({ reason, until }) => CoolDown({ until, reason, fallback: due.fallback })
  })

/**
 * When a decision may change without another request. It is now if storage must be read or a token refreshed.
 * None if only a change in storage, or another request, helps.
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

/** Returns the token that a decision allows to be served now, if any. */
export const servable = (decision: Decision): Option.Option<Redacted.Redacted> => {
  switch (decision._tag) {
    case "Use":
    case "UseAndRefresh":
      return Option.some(decision.token)
    case "Refresh":
    case "CoolDown":
      return decision.fallback
    default:
      return Option.none()
  }
}
