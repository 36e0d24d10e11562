/**
 * The age of the access token that this process holds, independent of wrong clocks. The times in a token's
 * record are by the clock of its writer. This module records what the process knows besides.
 */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import { noWitness, type Witness } from "./Expiry.js"

/** A moment by two clocks: the wall clock, which may be set, and the monotonic clock, which never is. */
export interface Moment {
  readonly wall: number
  readonly uptime: number
}

/** The access token that this process holds, and since when. */
interface Holding {
  readonly since: Moment
  readonly credentials: Credentials.Credentials
  /** Whether this process obtained it. */
  readonly isOwn: boolean
  /** The last time when storage did not hold it yet. */
  readonly absentAt: Option.Option<Moment>
}

export interface Age {
  readonly holding: Option.Option<Holding>
  /** When storage was last read or written. */
  readonly readAt: Option.Option<Moment>
  /** By how many milliseconds our clock was ahead of the server's, and when that was measured. */
  readonly measured: Option.Option<{ readonly at: Moment; readonly ahead: number }>
}

/** Nothing is known. */
export const unknown: Age = { holding: Option.none(), readAt: Option.none(), measured: Option.none() }

/**
 * Whether it is the same access token with the same times. A token that is issued again may have a new
 * lifetime.
 */
const isSameToken = (a: Credentials.Credentials, b: Credentials.Credentials): boolean =>
  Credentials.sameAccessToken(a, b) &&
  Option.getOrNull(a.expiresAt) === Option.getOrNull(b.expiresAt) &&
  Option.getOrNull(a.obtainedAt) === Option.getOrNull(b.obtainedAt)

/** A past moment in terms of the present wall clock. If the two clocks disagree, the earlier one counts. */
const since = (moment: Moment, now: Moment): number =>
  Math.min(now.wall, moment.wall, now.wall - (now.uptime - moment.uptime))

/**
 * By how much the wall clock was set between two moments. A sleep of the machine looks like a clock that was
 * set ahead.
 */
const stepped = (before: Moment, now: Moment): number => now.wall - before.wall - (now.uptime - before.uptime)

/** Returns what is known about the age of the given credentials. */
export const witness = (
  { holding, measured }: Age,
  credentials: Option.Option<Credentials.Credentials>,
  now: Moment
): Witness => {
  if (Option.isNone(holding) && Option.isNone(measured)) return noWitness
  const held = Option.filter(holding, (h) => Option.exists(credentials, (c) => isSameToken(h.credentials, c)))
  return {
    ahead: Option.map(
      Option.filter(measured, ({ at }) => Math.abs(stepped(at, now)) <= Credentials.clockTolerance),
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

/** Records since when the current access token is held. A token that is already held keeps its time. */
const hold = (
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

/** Storage was read, and these credentials are current. */
export const read = (age: Age, credentials: Option.Option<Credentials.Credentials>, now: Moment): Age => ({
  ...hold(age, credentials, now, false, age.readAt),
  readAt: Option.some(now)
})

/** These credentials were written to storage. If they come fresh from a login, our clock dated them. */
export const written = (age: Age, credentials: Credentials.Credentials, now: Moment): Age => {
  const isOwn = Option.exists(
    credentials.obtainedAt,
    (at) => Math.abs(now.wall - at) <= Credentials.clockTolerance
  )
  return { ...hold(age, Option.some(credentials), now, isOwn, Option.none()), readAt: Option.some(now) }
}

/** A response that took `took` milliseconds brought these credentials, and may show the server's clock. */
export const obtained = (
  age: Age,
  credentials: Credentials.Credentials,
  answer: { readonly took: number; readonly serverTime: Option.Option<number>; readonly now: Moment }
): Age => {
  const { now, serverTime, took } = answer
  const sent = { wall: now.wall - took, uptime: now.uptime - took }
  const next = hold(age, Option.some(credentials), sent, true, Option.none())
  // A new refresh token alone does not show the age of the access token.
  const isNew = !Option.exists(age.holding, (h) => isSameToken(h.credentials, credentials))
  return isNew && Option.isSome(serverTime)
    ? { ...next, measured: Option.some({ at: sent, ahead: sent.wall - serverTime.value }) }
    : next
}

/**
 * Prepares the credentials of a refresh for storage. If our clock differs from the server's by as much as at
 * the previous refresh, it is permanently wrong rather than about to be corrected. Then the server's time is
 * left out. Otherwise each process that starts would take the token for expired and renew it.
 */
export const toStore = (
  before: Option.Option<Credentials.Credentials>,
  after: Credentials.Credentials
): Credentials.Credentials => {
  const offOf = ({ obtainedAt, serverTime }: Credentials.Credentials) =>
    Option.zipWith(obtainedAt, serverTime, (ours, theirs) => ours - theirs)
  const { clockTolerance } = Credentials
  const isSteady = Option.exists(
    Option.all([Option.flatMap(before, offOf), offOf(after)]),
    ([then, now]) => Math.abs(now) > clockTolerance && Math.abs(now - then) <= clockTolerance
  )
  return isSteady ? new Credentials.Credentials({ ...after, serverTime: Option.none() }) : after
}
