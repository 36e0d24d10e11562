/**
 * When an access token ends, and how long before that it is due for renewal. Times are epoch milliseconds.
 *
 * Every function is total: no clock and no lifetime makes one throw or return NaN.
 */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"

/**
 * What a process knows about the age of an access token besides its record. The times in a record are by the
 * clock of its writer, which may have been wrong, or set since.
 *
 * @since 0.1.0
 * @category models
 */
export interface Witness {
  /**
   * By how many milliseconds our clock is ahead of the server's, as this process measured it. Negative if it
   * is behind. None if this process did not measure it, or if our clock has been set since.
   */
  readonly ahead: Option.Option<number>
  /**
   * Since when this process holds the token, in terms of our present clock. The token is at least that old.
   * Infinity if the process has never held it.
   */
  readonly heldSince: number
  /** Whether this process obtained the token. If so, it was obtained at `heldSince`. */
  readonly isOwn: boolean
  /**
   * The last time when storage did not hold the token yet, in terms of our present clock. Minus infinity if
   * it is unknown.
   */
  readonly absentAt: number
  /** By how many milliseconds our clock was set back while this process held the token. */
  readonly setBack: number
}

/**
 * Only the record is known.
 *
 * @since 0.1.0
 * @category constructors
 */
export const noWitness: Witness = {
  ahead: Option.none(),
  heldSince: Infinity,
  isOwn: false,
  absentAt: -Infinity,
  setBack: 0
}

/** The number, or 0 where it is negative or NaN. */
export const atLeastZero = (value: number): number => (value > 0 ? value : 0)

/** When a token expires by our clock, and whether that is a guess. */
interface End {
  readonly at: number
  readonly isGuess: boolean
}

/**
 * A record without `obtainedAt` has only its expiry. A record with it has a lifetime, and the time left never
 * exceeds that.
 *
 * - A token that this process obtained is as old as the time it was held here, however the clock was set
 *   since.
 * - If this process has measured the server's clock, the age is by that clock.
 * - Otherwise the age is by the writer's clock or by the server's `Date`, whichever leaves less time. A time
 *   in the future is no evidence. If there is no evidence, or if the token is valid by one clock and expired
 *   by the other, the token counts as being as old as it can be since storage did not hold it. If it may have
 *   expired by that measure, the end is a guess.
 */
const endOf = (credentials: Credentials.Credentials, now: number, witness: Witness): Option.Option<End> => {
  const { setBack } = witness
  if (!(setBack > 0)) return endWithoutSetBack(credentials, now, witness)
  // By our clock as it would show if nobody had set it.
  const unset = {
    ...witness,
    ahead: Option.map(witness.ahead, (ahead) => ahead + setBack),
    heldSince: witness.heldSince + setBack,
    absentAt: witness.absentAt + setBack
  }
  return Option.map(endWithoutSetBack(credentials, now + setBack, unset), ({ at, isGuess }) => ({
    at: at - setBack,
    isGuess
  }))
}

const endWithoutSetBack = (
  credentials: Credentials.Credentials,
  now: number,
  { absentAt, ahead, heldSince, isOwn }: Witness
): Option.Option<End> => {
  const { expiresAt, obtainedAt, serverTime } = credentials
  if (Option.isNone(expiresAt) || Number.isNaN(expiresAt.value)) return Option.none()
  const stated = expiresAt.value
  const life = Option.isNone(obtainedAt) ? Number.NaN : stated - obtainedAt.value
  if (Option.isNone(obtainedAt) || Number.isNaN(life)) return Option.some({ at: stated, isGuess: false })
  const end = (at: number, isGuess = false) => {
    const latest = Math.min(at, heldSince + life)
    return Option.some({ at: Number.isNaN(latest) ? stated : latest, isGuess })
  }
  const guess = (at: number) => {
    const sure = absentAt + life
    return sure > now ? end(Math.min(at, sure)) : end(at, true)
  }
  if (isOwn) return end(stated)
  const isPast = (start: number) => now >= start - Credentials.clockTolerance
  if (Option.isSome(serverTime) && Option.isSome(ahead)) {
    const start = serverTime.value + ahead.value
    return isPast(start) ? end(rounded(start + life, stated)) : guess(Math.min(heldSince, now) + life)
  }
  const byServer = Option.map(Option.filter(serverTime, isPast), (start) => start + life)
  if (!isPast(obtainedAt.value)) {
    return Option.match(byServer, {
      onNone: () => guess(Math.min(heldSince, now) + life),
      onSome: (at) => end(at)
    })
  }
  const isDisputed = Option.exists(byServer, (at) => at <= now && now < stated)
  return isDisputed ? guess(stated) : end(Math.min(stated, ...Option.toArray(byServer)))
}

/** A `Date` counts in whole seconds. An end that is later by less than a second is not later. */
const rounded = (byServer: number, stated: number): number =>
  byServer - stated > 0 && byServer - stated < 1000 ? stated : byServer

/** When the token expires by our clock. Infinity if its expiry is unknown. */
export const endsAt = (credentials: Credentials.Credentials, now: number, witness: Witness): number =>
  Option.match(endOf(credentials, now, witness), { onNone: () => Infinity, onSome: ({ at }) => at })

/**
 * Milliseconds until the expiry, negative after it. None if the expiry is unknown. Never more than the
 * token's lifetime, if that is known: a clock that was ahead when it was obtained, or is behind now, adds
 * nothing.
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
 * How much was left of a token when this process obtained it. The next one will not last longer. Infinity if
 * unknown.
 */
export const leftAtFirst = (credentials: Credentials.Credentials, now: number, witness: Witness): number =>
  witness.isOwn ? endsAt(credentials, now, witness) - witness.heldSince : Infinity

/**
 * Whether the age of the token is unknown although its lifetime is known: it was obtained in the future by
 * our clock, or is valid by the clock of its writer and expired by the server's.
 */
export const isAgeUnknown = (
  credentials: Credentials.Credentials,
  now: number,
  witness: Witness = noWitness
): boolean => Option.exists(endOf(credentials, now, witness), ({ isGuess }) => isGuess)

/** Whether no more than `span` is left. A token without an expiry always has more. */
export const endsWithin = (left: Option.Option<number>, span: number): boolean =>
  Option.exists(left, (millisLeft) => millisLeft <= span)

/**
 * Converts the milliseconds left to whole seconds, 0 once there are none.
 *
 * @since 0.1.0
 * @category predicates
 */
export const wholeSeconds = (left: Option.Option<number>): Option.Option<number> =>
  Option.map(left, (ms) => Math.floor(atLeastZero(ms) / 1000))

/**
 * Whether `now` is at or past the expiry. A token without an expiry never expires.
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
 * Whether credentials that were read at `loadedAt` may still be trusted: younger than `ttl`, not from the
 * future (the clock was set back), and not expired.
 */
export const isFresh = (
  credentials: Credentials.Credentials,
  loadedAt: number,
  now: number,
  ttl: number,
  witness: Witness = noWitness
): boolean => now >= loadedAt && now - loadedAt < ttl && !isExpired(credentials, now, witness)

/**
 * Whether a refresh is due: the time left is no more than `grace` milliseconds. A negative grace counts as 0.
 * For the policy's own grace, pass {@link clampedGrace}.
 *
 * @since 0.1.0
 * @category predicates
 */
export const shouldRefresh = (credentials: Credentials.Credentials, now: number, grace: number): boolean =>
  endsWithin(timeToExpiry(credentials, now), atLeastZero(grace))

/**
 * Returns the policy's grace for these credentials, or more if the server wants them renewed earlier. It is
 * at most half of their lifetime, if that is known, so that a token is never due the moment it arrives.
 *
 * @since 0.1.0
 * @category getters
 */
export const clampedGrace = (credentials: Credentials.Credentials, grace: number): number =>
  atMostHalfOfLife(credentials, Math.max(atLeastZero(grace), requestedGrace(credentials)))

/** How long before the expiry the server wants the token renewed, 0 if it does not say. */
const requestedGrace = ({ expiresAt, refreshAt }: Credentials.Credentials): number =>
  Option.match(
    Option.zipWith(expiresAt, refreshAt, (end, renew) => end - renew),
    { onNone: () => 0, onSome: atLeastZero }
  )

/** A renewal that is wanted sooner after a token was obtained concerns the token, not the grant. */
const shortestKeepAlive = 86_400_000

/**
 * When the grant must be used so that the server does not end it: `refreshAt`, if that is a day or more after
 * the token was obtained. `Infinity` if there is no such time. Unlike a grace, half of the token's lifetime
 * does not limit it.
 *
 * @since 0.1.0
 * @category getters
 */
export const keepAliveAt = ({ obtainedAt, refreshAt }: Credentials.Credentials): number =>
  Option.getOrElse(
    Option.filter(refreshAt, (at) => Option.exists(obtainedAt, (from) => at - from >= shortestKeepAlive)),
    () => Infinity
  )

const atMostHalfOfLife = (credentials: Credentials.Credentials, span: number): number =>
  Option.match(Credentials.lifetime(credentials), {
    onNone: () => span,
    onSome: (lifetime) => Math.min(span, lifetime / 2)
  })

/**
 * Whether the policy's grace is not shorter than the lifetime of these credentials. Such a setting must be a
 * mistake, and {@link clampedGrace} is used instead. A grace between half of the lifetime and the whole is
 * also clamped, but is no mistake.
 */
export const isGraceTooLong = (credentials: Credentials.Credentials, grace: number): boolean =>
  Option.exists(Credentials.lifetime(credentials), (lifetime) => grace >= lifetime)

/**
 * A server that seems further ahead than this (5 minutes) is not believed: one of the two clocks is wrong.
 */
const furthestAhead = 300_000

/**
 * How long before its end a token is due: the clamped grace, plus the time by which the server's clock is
 * ahead. At most half of the lifetime in all, if that is known. Our own clock decides when a token has
 * expired.
 */
export const earliness = (credentials: Credentials.Credentials, grace: number, serverAhead: number): number =>
  atMostHalfOfLife(credentials, grace + Math.min(atLeastZero(serverAhead), furthestAhead))
