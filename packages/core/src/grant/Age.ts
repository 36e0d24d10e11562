/**
 * How old the access token is that this process holds, whatever the clocks say: what a process knows beside the
 * record, whose times are by the clock of whoever wrote it. Pure.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import * as Decision from "../Decision.js"

/**
 * A moment by both clocks: the one on the wall, which may be set, and the one that only runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Moment {
  readonly wall: number
  readonly uptime: number
}

/**
 * The access token that is held, and since when; `isOwn`: this process obtained it. `absentAt`: when storage did not
 * hold it yet.
 *
 * @since 0.1.0
 * @category models
 */
export interface Holding {
  readonly since: Moment
  readonly credentials: Credentials.Credentials
  readonly isOwn: boolean
  readonly absentAt: Option.Option<Moment>
}

/**
 * By how many milliseconds our clock was ahead of the server's, and when that was measured.
 *
 * @since 0.1.0
 * @category models
 */
export interface Measured {
  readonly at: Moment
  readonly ahead: number
}

/**
 * All of it. `readAt`: when storage was last read or written.
 *
 * @since 0.1.0
 * @category models
 */
export interface Age {
  readonly holding: Option.Option<Holding>
  readonly readAt: Option.Option<Moment>
  readonly measured: Option.Option<Measured>
}

/**
 * Nothing is known.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unknown: Age = { holding: Option.none(), readAt: Option.none(), measured: Option.none() }

/** The same access token with the same times: one that is issued again may live anew from then. */
const isSameToken = (a: Credentials.Credentials, b: Credentials.Credentials): boolean =>
  Credentials.sameAccessToken(a, b) &&
  Option.getOrNull(a.expiresAt) === Option.getOrNull(b.expiresAt) &&
  Option.getOrNull(a.obtainedAt) === Option.getOrNull(b.obtainedAt)

/** A moment by what the wall clock says now, the earlier one where the two clocks disagree. */
const since = (moment: Moment, now: Moment): number =>
  Math.min(now.wall, moment.wall, now.wall - (now.uptime - moment.uptime))

/** By how much the wall clock was set between two moments; a machine that slept seems to have set it ahead. */
const stepped = (before: Moment, now: Moment): number => now.wall - before.wall - (now.uptime - before.uptime)

/**
 * What is known of the age of these credentials.
 *
 * @since 0.1.0
 * @category getters
 */
export const witness = (
  { holding, measured }: Age,
  credentials: Option.Option<Credentials.Credentials>,
  now: Moment
): Decision.Witness => {
  if (Option.isNone(holding) && Option.isNone(measured)) return Decision.noWitness
  const held = Option.filter(holding, (h) => Option.exists(credentials, (c) => isSameToken(h.credentials, c)))
  return {
    ahead: Option.map(
      Option.filter(measured, ({ at }) => Math.abs(stepped(at, now)) <= Decision.clockTolerance),
      ({ ahead }) => ahead
    ),
    heldSince: Option.match(held, { onNone: () => Infinity, onSome: (h) => since(h.since, now) }),
    isOwn: Option.exists(held, (h) => h.isOwn),
    absentAt: Option.match(
      Option.flatMap(held, (h) => h.absentAt),
      { onNone: () => -Infinity, onSome: (at) => since(at, now) }
    ),
    setBack: Option.match(held, { onNone: () => 0, onSome: (h) => Math.max(0, -stepped(h.since, now)) })
  }
}

/**
 * Notes since when the current access token is held; one that is held already keeps its time.
 *
 * @since 0.1.0
 * @category combinators
 */
export const hold = (
  age: Age,
  credentials: Option.Option<Credentials.Credentials>,
  from: Moment,
  isOwn: boolean,
  absentAt: Option.Option<Moment>
): Age => {
  if (Option.isNone(credentials)) return { ...age, holding: Option.none() }
  const known = Option.filter(age.holding, (h) => isSameToken(h.credentials, credentials.value))
  return {
    ...age,
    holding: Option.some(
      Option.match(known, {
        onNone: () => ({ since: from, credentials: credentials.value, isOwn, absentAt }),
        onSome: (h) => ({ ...h, credentials: credentials.value })
      })
    )
  }
}

/**
 * An answer that took `took` milliseconds brought these credentials, and may say what the server's clock shows.
 *
 * @since 0.1.0
 * @category combinators
 */
export const obtained = (
  age: Age,
  credentials: Credentials.Credentials,
  answer: { readonly took: number; readonly serverTime: Option.Option<number>; readonly now: Moment }
): Age => {
  const { now, serverTime, took } = answer
  const sent = { wall: now.wall - took, uptime: now.uptime - took }
  const next = hold(age, Option.some(credentials), sent, true, Option.none())
  // A new refresh token alone says nothing of the age of the access token.
  const isNew = !Option.exists(age.holding, (h) => isSameToken(h.credentials, credentials))
  return isNew && Option.isSome(serverTime)
    ? { ...next, measured: Option.some({ at: sent, ahead: sent.wall - serverTime.value }) }
    : next
}

/**
 * Whether this clock dated what was obtained, as a user saves it fresh from a login.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isJustNow = ({ obtainedAt }: Credentials.Credentials, now: number): boolean =>
  Option.exists(obtainedAt, (at) => Math.abs(now - at) <= Decision.clockTolerance)
