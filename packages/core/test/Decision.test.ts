import { addEqualityTesters, describe, expect, it } from "@effect/vitest"
import { Duration, Option, Redacted } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import { BackOff, Decision, Describe, Expiry } from "@latchkey/core/internal-api"
import * as RotationPolicy from "@latchkey/core/RotationPolicy"
import type * as Replay from "../src/grant/Replay.js"

// Two Redacted are equal when their secrets are.
addEqualityTesters()

const now = 1_700_000_000_000
const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const policy: Decision.Policy = {
  credentialsTtl: 30 * second,
  grace: 2 * minute,
  mode: "wait",
  jitter: 0.5,
  coolDownBase: second,
  coolDownMax: 5 * minute
}
const background: Decision.Policy = { ...policy, mode: "background" }

const token = Redacted.make("at-1")

/** By default, a token of an hour that expires at `expiresAt`. */
const expiring = (expiresAt: number | undefined, obtainedAt?: number): Credentials.Credentials =>
  Credentials.make({
    accessToken: token,
    refreshToken: "rt-1",
    expiresAt,
    obtainedAt: obtainedAt ?? (expiresAt === undefined ? undefined : expiresAt - hour)
  })

/** What the record's constructors would not let pass, but a careless caller might. */
const raw = (expiresAt: number, obtainedAt: number): Credentials.Credentials =>
  new Credentials.Credentials({
    ...expiring(undefined),
    expiresAt: Option.some(expiresAt),
    obtainedAt: Option.some(obtainedAt)
  })

const holding = (
  credentials: Credentials.Credentials | undefined,
  changes: Partial<Decision.Held> = {}
): Decision.Held => ({
  credentials: Option.fromNullable(credentials),
  loadedAt: now,
  refreshable: true,
  mismatch: Option.none(),
  dead: Option.none(),
  rejected: false,
  coolDown: Option.none(),
  serverWait: Option.none(),
  openIntent: Option.none(),
  rotation: RotationPolicy.rotating(),
  serverAhead: 0,
  jitterShare: 0,
  witness: Expiry.noWitness,
  ...changes
})

const otherClient = new GrantIdentity.Mismatch({ difference: "Client", stored: "app", current: "other" })

/** What a process knows of the age of a token beside its record. */
const knowing = (changes: Partial<Expiry.Witness>): Partial<Decision.Held> => ({
  witness: { ...Expiry.noWitness, ...changes }
})

/** A token of an hour, obtained by a clock that was so far ahead of the server's, so long ago. */
const obtained = (ago: number, ahead: number, serverTime = true): Credentials.Credentials =>
  Credentials.make({
    accessToken: token,
    refreshToken: "rt-1",
    obtainedAt: now - ago + ahead,
    expiresAt: now - ago + ahead + hour,
    serverTime: serverTime ? now - ago : undefined
  })

const dead = (rotationLost: boolean): Partial<Decision.Held> => ({
  dead: Option.some(
    new Entry.DeadGrant({
      fingerprint: Entry.grantFingerprint(expiring(now)),
      at: now - hour,
      reason: "invalid_grant",
      rotationLost
    })
  )
})

const cooling = (
  reason: BackOff.CoolingDown["reason"],
  until: number,
  since = now - second
): Partial<Decision.Held> => ({
  coolDown: Option.some({
    since,
    until,
    askedUntil: reason === "ServerAsked" ? Option.some(until) : Option.none(),
    reason,
    failures: 1
  })
})

/** A cool-down of our own that is longer than the wait that the server asked for. */
const asked = (reason: BackOff.CoolingDown["reason"], askedUntil: number): Partial<Decision.Held> => ({
  coolDown: Option.some({
    since: now - second,
    until: now + hour,
    askedUntil: Option.some(askedUntil),
    reason,
    failures: 1
  })
})

const served = Option.some(token)
const none = Option.none<Redacted.Redacted>()

describe("timeToExpiry, isExpired and wholeSeconds", () => {
  it.each<
    [
      name: string,
      expiresAt: number | undefined,
      left: number | undefined,
      expired: boolean,
      seconds?: number
    ]
  >([
    ["never", undefined, undefined, false],
    ["an hour ago", now - hour, -hour, true, 0],
    ["1 ms ago", now - 1, -1, true, 0],
    ["right now", now, 0, true, 0],
    ["in 1 ms", now + 1, 1, false, 0],
    ["in 999 ms", now + 999, 999, false, 0],
    ["in 1 s", now + second, second, false, 1],
    ["in 1,999 ms", now + 1999, 1999, false, 1],
    ["in an hour", now + hour, hour, false, 3600],
    ["before time", -1e308, -1e308, true, 0],
    ["at minus infinity", -Infinity, -Infinity, true, 0],
    ["at infinity", Infinity, Infinity, false, Infinity]
  ])("%s", (_, expiresAt, left, expired, seconds) => {
    const credentials = expiring(expiresAt)
    expect(Expiry.timeToExpiry(credentials, now)).toEqual(Option.fromNullable(left))
    expect(Expiry.isExpired(credentials, now)).toBe(expired)
    expect(Expiry.wholeSeconds(Expiry.timeToExpiry(credentials, now))).toEqual(Option.fromNullable(seconds))
  })

  it("has an end that is no guess if its lifetime is no number", () => {
    expect(Expiry.isAgeUnknown(raw(Infinity, Infinity), now)).toBe(false)
  })

  it("an expiry that is no number is unknown", () => {
    expect(Expiry.timeToExpiry(raw(Number.NaN, now), now)).toEqual(Option.none())
    expect(Expiry.isExpired(raw(Number.NaN, now), now)).toBe(false)
    expect(Expiry.wholeSeconds(Option.some(Number.NaN))).toEqual(Option.some(0))
  })
})

describe("clampedGrace", () => {
  it.each([
    ["the grace, where half the lifetime is more", hour, 2 * minute, 2 * minute],
    ["the grace, where half the lifetime is as much", 4 * minute, 2 * minute, 2 * minute],
    ["half the lifetime, where that is less by 1 ms", 4 * minute - 2, 2 * minute, 2 * minute - 1],
    ["half of a lifetime of 1 ms", 1, 2 * minute, 0.5],
    ["nothing, for a grace of nothing", hour, 0, 0],
    ["nothing, for a negative grace", hour, -1, 0],
    ["nothing, for a grace that is no number", hour, Number.NaN, 0],
    ["half the lifetime, for an endless grace", hour, Infinity, hour / 2],
    ["the grace, for an endless lifetime", Infinity, 2 * minute, 2 * minute],
    ["the grace, for a lifetime of nothing", 0, 2 * minute, 2 * minute],
    ["the grace, for a negative lifetime", -hour, 2 * minute, 2 * minute],
    ["the grace, for a lifetime that is no number", Number.NaN, 2 * minute, 2 * minute]
  ])("is %s", (_, lifetime, grace, clamped) => {
    expect(Expiry.clampedGrace(raw(now + lifetime, now), grace)).toBe(clamped)
  })

  it.each([
    ["more, where the server wants it renewed earlier", hour, 50 * minute, 10 * minute],
    ["no less, where the server wants it renewed later", hour, 59 * minute, 2 * minute],
    ["half the lifetime, where the server wants it renewed at once", hour, 0, hour / 2],
    ["the grace, where the server's wish is no number", hour, Number.NaN, 2 * minute]
  ])("is %s", (_, lifetime, renewAfter, wanted) => {
    const credentials = new Credentials.Credentials({
      ...raw(now + lifetime, now),
      refreshAt: Option.some(now + renewAfter)
    })
    expect(Expiry.clampedGrace(credentials, 2 * minute)).toBe(wanted)
  })

  it.each([
    ["expiry", Credentials.make({ accessToken: "at", obtainedAt: now })],
    ["start", Credentials.make({ accessToken: "at", expiresAt: now + 1 })],
    ["expiry and start", Credentials.make({ accessToken: "at" })]
  ])("is the grace without %s, never below 0", (_, credentials) => {
    expect(Expiry.clampedGrace(credentials, 2 * minute)).toBe(2 * minute)
    expect(Expiry.clampedGrace(credentials, -1)).toBe(0)
    expect(Expiry.clampedGrace(credentials, Number.NaN)).toBe(0)
  })
})

describe("keepAlive", () => {
  const kept = (lifetime: number | undefined, after: number, from: number | null = now - 10 * day) =>
    new Credentials.Credentials({
      ...expiring(lifetime === undefined ? undefined : now + lifetime, from ?? undefined),
      obtainedAt: Option.fromNullable(from),
      refreshAt: Option.some(now + after)
    })

  it.each([
    ["1 ms before it", kept(30 * day, 1), "Use"],
    ["at it, although half of the lifetime is not over", kept(30 * day, 0), "Refresh"],
    ["at it, for a token without an expiry", kept(undefined, 0), "Refresh"],
    ["before it, for a token without an expiry", kept(undefined, 1), "Use"],
    ["a wish of the server's within a day", kept(30 * day, 0, now - day + 1), "Use"],
    ["exactly a day", kept(30 * day, 0, now - day), "Refresh"],
    ["a token of unknown age", kept(undefined, 0, null), "Use"]
  ])("%s", (_, credentials, expected) => {
    const held = holding(credentials)
    const decision = Decision.judge(held, now, policy)
    expect(decision).toMatchObject({
      _tag: expected,
      ...(expected === "Refresh" && { reason: "KeepAlive", fallback: Option.some(token) })
    })
    if (expected === "Refresh") {
      expect(Decision.judge(held, now, background)).toMatchObject({
        _tag: "UseAndRefresh",
        reason: "KeepAlive"
      })
    }
  })

  it("renews nothing that cannot be renewed, and waits for a cool-down", () => {
    const due = kept(30 * day, 0)
    expect(Decision.judge(holding(due, { refreshable: false }), now, policy)).toMatchObject({ _tag: "Use" })
    expect(
      Decision.judge(
        holding(due, { serverWait: Option.some(new Entry.ServerWait({ at: now, until: now + minute })) }),
        now,
        policy
      )
    ).toMatchObject({ _tag: "CoolDown", fallback: Option.some(token) })
  })
})

describe("isGraceTooLong", () => {
  it.each([
    ["1 ms below the lifetime", minute - 1, raw(now + minute, now), false],
    ["exactly the lifetime", minute, raw(now + minute, now), true],
    ["above it", hour, raw(now + minute, now), true],
    ["an unknown lifetime", hour, Credentials.make({ accessToken: "at", expiresAt: now + minute }), false]
  ])("%s", (_, grace, credentials, tooLong) => {
    expect(Expiry.isGraceTooLong(credentials, grace)).toBe(tooLong)
  })
})

describe("shouldRefresh", () => {
  it.each([
    ["1 ms before the grace", 2 * minute + 1, 2 * minute, false],
    ["exactly at the grace", 2 * minute, 2 * minute, true],
    ["1 ms into the grace", 2 * minute - 1, 2 * minute, true],
    ["exactly at the expiry", 0, 2 * minute, true],
    ["an hour after the expiry", -hour, 2 * minute, true],
    ["1 ms before the expiry, no grace", 1, 0, false],
    ["at the expiry, no grace", 0, 0, true],
    ["1 ms before the expiry, a negative grace", 1, -minute, false],
    ["at the expiry, a negative grace", 0, -minute, true],
    ["after the expiry, a negative grace that is longer", -1, -minute, true],
    ["a grace that is no number", 1, Number.NaN, false],
    ["an endless grace", hour, Infinity, true],
    ["a grace longer than the lifetime, which is not clamped here", hour, 2 * hour, true]
  ])("%s", (_, left, grace, due) => {
    expect(Expiry.shouldRefresh(expiring(now + left), now, grace)).toBe(due)
  })

  it("never where there is no expiry", () => {
    expect(Expiry.shouldRefresh(expiring(undefined), now, 2 * minute)).toBe(false)
    expect(Expiry.shouldRefresh(expiring(undefined), now, Infinity)).toBe(false)
  })
})

describe("a token that was obtained by a clock that was wrong", () => {
  const left = (credentials: Credentials.Credentials, witness: Partial<Expiry.Witness> = {}) => {
    const knows = { ...Expiry.noWitness, ...witness }
    return [
      Option.getOrNull(Expiry.timeToExpiry(credentials, now, knows)),
      Expiry.isAgeUnknown(credentials, now, knows)
    ]
  }

  it.each([
    ["a peer's clock, as far ahead as clocks may be: no more than the lifetime", 0, minute, hour, false],
    ["a clock further ahead: nobody can say", 0, minute + 1, hour, true],
    ["a clock 2 hours ahead, and set right", 59 * minute, 2 * hour, hour, true],
    ["a clock 10 years ahead", 9 * 365 * day, 10 * 365 * day, hour, true],
    ["a clock that was behind: expired early", 10 * minute, -hour, -10 * minute, false]
  ])("no `Date` known: %s", (_, ago, ahead, millis, guessed) => {
    expect(left(obtained(ago, ahead, false))).toEqual([millis, guessed])
  })

  it.each([
    ["ahead, set right: its age is by the server's", 10 * minute, 2 * hour, 50 * minute, false],
    ["ahead, set right, dead by now", hour, 2 * hour, 0, false],
    ["ahead by less than its life: what leaves less", 40 * minute, 30 * minute, 20 * minute, false],
    ["ahead, and time has caught up: alive by one clock, dead by the other", 2 * hour, 2 * hour, hour, true],
    ["ahead: dead by the server's at this moment", hour, 30 * minute, 30 * minute, true],
    ["ahead: dead by both, by our own at this moment", 2 * hour, hour, -hour, false],
    ["behind, set right: what leaves less", 10 * minute, -hour, -10 * minute, false],
    ["far ahead of a server whose own is in the future", -2 * hour, 2 * hour, hour, true]
  ])("a clock that was %s", (_, ago, ahead, millis, guessed) => {
    expect(left(obtained(ago, ahead))).toEqual([millis, guessed])
  })

  it.each([
    ["less than a `Date` can tell", 999, 20 * minute],
    ["a second, which a `Date` can tell", 1000, 20 * minute + 1000],
    ["nothing: it is earlier", -5 * minute, 15 * minute]
  ])("ends by the server's clock, unless that is later by %s", (_, ahead, millis) => {
    expect(left(obtained(40 * minute, 0), { ahead: Option.some(ahead) })).toEqual([millis, false])
  })

  it.each([
    ["held for 20 minutes", { heldSince: now - 20 * minute }, 40 * minute, true],
    ["held for as long as it lives", { heldSince: now - hour }, 0, true],
    [
      "obtained here, however the clock was set",
      { heldSince: now - 20 * minute, isOwn: true },
      40 * minute,
      false
    ],
    ["not there a minute ago", { absentAt: now - minute }, 59 * minute, false],
    ["not there a day ago, which says nothing", { absentAt: now - day }, hour, true],
    ["not there as long ago as it lives, which says no more", { absentAt: now - hour }, hour, true]
  ])("obtained in the future, %s", (_, witness, millis, guessed) => {
    expect(left(obtained(0, 2 * hour, false), witness)).toEqual([millis, guessed])
  })

  it.each([
    ["by a clock as wrong as ours", 2 * hour],
    ["by a peer whose clock is right", 0],
    ["by a peer whose clock is behind", -5 * hour]
  ])("where our clock was measured to be 2 hours ahead of the server's: obtained %s", (_, ahead) => {
    const serverAgo = 2 * hour + 10 * minute
    expect(left(obtained(serverAgo, ahead), { ahead: Option.some(2 * hour) })).toEqual([50 * minute, false])
  })

  it("may have been obtained in the future, also by the server's clock as measured", () => {
    const measured = { ahead: Option.some(0) }
    expect(left(obtained(-2 * hour, 0), measured)).toEqual([hour, true])
    expect(left(obtained(-2 * hour, 0), { ...measured, heldSince: now - 20 * minute })).toEqual([
      40 * minute,
      true
    ])
  })

  it("ends a lifetime from now if nobody knows when it was obtained", () => {
    const ends = (known: Partial<Expiry.Witness>) =>
      Expiry.endsAt(obtained(-2 * hour, 0, "ahead" in known), now, { ...Expiry.noWitness, ...known })
    expect(ends({})).toBe(now + hour)
    expect(ends({ ahead: Option.some(0) })).toBe(now + hour)
  })

  it.each([
    ["obtained here", { heldSince: now - 20 * minute, isOwn: true }, 20 * minute, true, 40 * minute, false],
    [
      "read here, of a clock as ours was",
      { heldSince: now - 5 * minute },
      20 * minute,
      false,
      40 * minute,
      false
    ],
    [
      "of an age by the server's clock",
      { heldSince: now - minute, ahead: Option.some(0) },
      20 * minute,
      true,
      40 * minute,
      false
    ],
    [
      "obtained in the future even so, not there 10 minutes ago",
      { heldSince: now - 5 * minute, absentAt: now - 10 * minute },
      -2 * hour,
      false,
      50 * minute,
      false
    ],
    ["obtained in the future even so", { heldSince: now - 5 * minute }, -2 * hour, false, 55 * minute, true]
  ])("while our clock was set back by 30 minutes: %s", (_, witness, ago, hasServerTime, millis, guessed) => {
    const setBack = 30 * minute
    expect(left(obtained(ago, setBack, hasServerTime), { ...witness, setBack })).toEqual([millis, guessed])
  })

  it("had a whole lifetime left when this process obtained it", () => {
    const atFirst = (isOwn: boolean) =>
      Expiry.leftAtFirst(obtained(20 * minute, 0), now, {
        ...Expiry.noWitness,
        heldSince: now - 20 * minute,
        isOwn
      })
    expect(atFirst(true)).toBe(hour)
    expect(atFirst(false)).toBe(Infinity)
  })

  it("is refreshed, and served only where that cannot be done or fails", () => {
    const held = (changes: Partial<Decision.Held> = {}) =>
      holding(obtained(0, 2 * hour, false), { ...knowing({ heldSince: now - minute }), ...changes })
    const judge = (changes?: Partial<Decision.Held>, at = now) => Decision.judge(held(changes), at, policy)
    expect(judge()).toEqual(
      Decision.Refresh({ reason: "AgeUnknown", fallback: served, replay: Option.none() })
    )
    expect(judge({ ...cooling("Failed", now + minute) })).toMatchObject({
      _tag: "CoolDown",
      fallback: served
    })
    expect(judge({ refreshable: false })).toMatchObject({ _tag: "Use", reason: "NoRefreshToken" })
    // For no longer than it can live.
    const end = now - minute + hour
    expect(judge({ refreshable: false }, end - 1)).toMatchObject({
      _tag: "Use",
      nextCheckAt: now + 30 * second
    })
    expect(judge({ refreshable: false, loadedAt: end }, end - 1)).toMatchObject({ nextCheckAt: end })
    expect(judge({ refreshable: false }, end)).toMatchObject({ _tag: "Reauthorize" })
    expect(judge({ ...cooling("Failed", end + minute) }, end)).toMatchObject({
      _tag: "CoolDown",
      fallback: none
    })
  })
})

describe("isFresh", () => {
  it.each([
    ["just read", 0, hour, true],
    ["read 1 ms less than the TTL ago", 30 * second - 1, hour, true],
    ["read the TTL ago", 30 * second, hour, false],
    ["read 1 ms in the future", -1, hour, false],
    ["just read, expires in 1 ms", 0, 1, true],
    ["just read, expires now", 0, 0, false],
    ["just read, expired", 0, -1, false],
    ["never read", Infinity, hour, false]
  ])("%s", (_, age, left, fresh) => {
    expect(Expiry.isFresh(expiring(now + left), now - age, now, 30 * second)).toBe(fresh)
  })

  it("never with a TTL of nothing, and for ever with an endless one while there is no expiry", () => {
    expect(Expiry.isFresh(expiring(undefined), now, now, 0)).toBe(false)
    expect(Expiry.isFresh(expiring(undefined), 0, now, Infinity)).toBe(true)
  })
})

describe("decide", () => {
  const decide = (held: Decision.Held | undefined, request?: Decision.Request) =>
    Decision.decide(Option.fromNullable(held), now, policy, request)

  it.each([
    ["nothing in memory", undefined, "NotLoaded"],
    ["an absence in memory: it is never trusted", holding(undefined), "NotLoaded"],
    ["read the TTL ago", holding(expiring(now + hour), { loadedAt: now - 30 * second }), "Stale"],
    ["read in the future", holding(expiring(now + hour), { loadedAt: now + 1 }), "Stale"],
    ["expires now", holding(expiring(now)), "Expired"],
    ["expired 1 ms ago", holding(expiring(now - 1)), "Expired"],
    ["expired, and old", holding(expiring(now - 1), { loadedAt: now - hour }), "Expired"]
  ] as const)("reads storage again: %s", (_, held, reason) => {
    expect(decide(held)).toEqual(Decision.Reload({ reason }))
  })

  it("judges what is fresh", () => {
    const held = holding(expiring(now + hour), { loadedAt: now - 30 * second + 1 })
    expect(decide(held)).toEqual(use(now + 1))
  })

  it("passes on what is asked", () => {
    expect(decide(holding(expiring(now + hour)), { force: true, minValidity: 0 })).toEqual(
      refresh("Forced", served)
    )
  })
})

interface Case {
  readonly name: string
  readonly held: Decision.Held
  readonly policy?: Decision.Policy
  readonly request?: Partial<Decision.Request>
  readonly is: Decision.Decision
}

const judged = (cases: ReadonlyArray<Case>) =>
  it.each(cases)("$name", ({ held, is, policy: given, request }) => {
    expect(Decision.judge(held, now, given ?? policy, { ...Decision.anyValid, ...request })).toEqual(is)
  })

const use = (
  nextCheckAt: number,
  reason: Decision.UseReason = "NotDue",
  replay: Option.Option<Replay.Replay> = Option.none()
) => Decision.Use({ token, nextCheckAt, reason, replay })
const refresh = (
  reason: Decision.DueReason,
  fallback: Option.Option<Redacted.Redacted>,
  replay: Option.Option<Replay.Replay> = Option.none()
) => Decision.Refresh({ reason, fallback, replay })
const behind = (reason: Decision.DueReason, replay: Option.Option<Replay.Replay> = Option.none()) =>
  Decision.UseAndRefresh({ token, reason, replay })

describe("judge, at the boundaries of time", () => {
  judged([
    { name: "without expiry: use", held: holding(expiring(undefined)), is: use(now + 30 * second) },
    { name: "an hour left: use", held: holding(expiring(now + hour)), is: use(now + 30 * second) },
    {
      name: "1 ms before the grace: use, until then",
      held: holding(expiring(now + 2 * minute + 1)),
      is: use(now + 1)
    },
    {
      name: "at the grace: refresh, the token being valid",
      held: holding(expiring(now + 2 * minute)),
      is: refresh("InGrace", served)
    },
    {
      name: "1 ms before the expiry: refresh, the token being valid",
      held: holding(expiring(now + 1)),
      is: refresh("InGrace", served)
    },
    {
      name: "at the expiry: refresh, nothing to serve",
      held: holding(expiring(now)),
      is: refresh("Expired", none)
    },
    {
      name: "1 ms after the expiry: refresh, nothing to serve",
      held: holding(expiring(now - 1)),
      is: refresh("Expired", none)
    },
    {
      name: "a lifetime of 2 minutes, 1 ms before half of it: use",
      held: holding(expiring(now + minute + 1, now - minute + 1)),
      is: use(now + 1)
    },
    {
      name: "a lifetime of 2 minutes, at half of it: refresh",
      held: holding(expiring(now + minute, now - minute)),
      is: refresh("InGrace", served)
    },
    {
      name: "no expiry but NaN: use, and look again at the TTL",
      held: holding(raw(Number.NaN, now)),
      is: use(now + 30 * second)
    },
    {
      name: "no grace: use until the expiry",
      held: holding(expiring(now + 1)),
      policy: { ...policy, grace: 0 },
      is: use(now + 1)
    },
    {
      name: "read before the TTL of nothing: use, and look again at once",
      held: holding(expiring(now + hour)),
      policy: { ...policy, credentialsTtl: 0 },
      is: use(now)
    }
  ])

  it("asks nothing more unless told", () => {
    expect(Decision.judge(holding(expiring(now + hour)), now, policy)).toEqual(use(now + 30 * second))
    expect(Decision.anyValid).toEqual({ force: false, minValidity: 0 })
  })
})

describe("judge, where the server's clock is ahead", () => {
  const ahead = (serverAhead: number): Partial<Decision.Held> => ({ serverAhead })
  judged([
    {
      name: "due that much earlier",
      held: holding(expiring(now + 3 * minute), ahead(minute)),
      is: refresh("InGrace", served)
    },
    {
      name: "1 ms before that: use, until then",
      held: holding(expiring(now + 3 * minute + 1), ahead(minute)),
      is: use(now + 1)
    },
    {
      name: "never expired earlier",
      held: holding(expiring(now + 1), ahead(hour)),
      is: refresh("InGrace", served)
    },
    {
      name: "by more than 5 minutes: 5 minutes are believed",
      held: holding(expiring(now + 7 * minute + 1), ahead(day)),
      is: use(now + 1)
    },
    {
      name: "by no number, or behind: no earlier",
      held: holding(expiring(now + 2 * minute + 1), ahead(Number.NaN)),
      is: use(now + 1)
    },
    {
      name: "at most half of a lifetime in all",
      held: holding(expiring(now + 2 * minute + 1, now - 2 * minute + 1), ahead(5 * minute)),
      is: use(now + 1)
    },
    {
      name: "jitter takes its share of the grace alone",
      held: holding(expiring(now + 2.5 * minute + 1), { ...ahead(minute), jitterShare: 0.5 }),
      policy: background,
      is: use(now + 1)
    }
  ])
})

describe("judge, in the background", () => {
  const inGrace = expiring(now + 2 * minute)
  const jittered = { jitterShare: 0.5 }
  judged([
    {
      name: "in the grace: use, and refresh behind",
      held: holding(inGrace),
      policy: background,
      is: behind("InGrace")
    },
    {
      name: "jitter takes its share of the grace: 1 ms before the rest, use until then",
      held: holding(expiring(now + 1.5 * minute + 1), jittered),
      policy: background,
      is: use(now + 1)
    },
    {
      name: "jitter takes its share of the grace: at the rest, refresh behind",
      held: holding(expiring(now + 1.5 * minute), jittered),
      policy: background,
      is: behind("InGrace")
    },
    {
      name: "no jitter where a caller waits",
      held: holding(inGrace, jittered),
      is: refresh("InGrace", served)
    },
    {
      name: "expired: a caller waits all the same",
      held: holding(expiring(now)),
      policy: background,
      is: refresh("Expired", none)
    },
    {
      name: "forced: a caller waits all the same",
      held: holding(inGrace),
      policy: background,
      request: { force: true },
      is: refresh("Forced", served)
    },
    {
      name: "asked for longer than the token lives: nothing to serve behind",
      held: holding(inGrace),
      policy: background,
      request: { minValidity: 2 * minute },
      is: refresh("InGrace", none)
    },
    {
      name: "asked for 1 ms less than the token lives: use, and refresh behind",
      held: holding(inGrace),
      policy: background,
      request: { minValidity: 2 * minute - 1 },
      is: behind("InGrace")
    },
    {
      name: "cooling down: no refresh behind",
      held: holding(inGrace, cooling("Failed", now + 1)),
      policy: background,
      is: Decision.CoolDown({ until: now + 1, reason: "Failed", fallback: served })
    }
  ])
})

describe("judge, when more is asked", () => {
  judged([
    {
      name: "forced: refresh, the token being valid",
      held: holding(expiring(now + hour)),
      request: { force: true },
      is: refresh("Forced", served)
    },
    {
      name: "forced in the grace: still forced",
      held: holding(expiring(now + minute)),
      request: { force: true },
      is: refresh("Forced", served)
    },
    {
      name: "forced after the expiry: expired",
      held: holding(expiring(now)),
      request: { force: true },
      is: refresh("Expired", none)
    },
    {
      name: "rejected: refresh, and the token is not served again",
      held: holding(expiring(now + hour), { rejected: true }),
      is: refresh("Rejected", none)
    },
    {
      name: "rejected and forced: rejected",
      held: holding(expiring(now + hour), { rejected: true }),
      request: { force: true },
      is: refresh("Rejected", none)
    },
    {
      name: "rejected and expired: expired",
      held: holding(expiring(now), { rejected: true }),
      is: refresh("Expired", none)
    },
    {
      name: "rejected, and asked for longer than tokens live: refresh all the same",
      held: holding(expiring(now + hour), { rejected: true }),
      request: { minValidity: 2 * hour },
      is: refresh("Rejected", none)
    },
    {
      name: "10 minutes asked for, 1 ms more left: use",
      held: holding(expiring(now + 10 * minute + 1)),
      request: { minValidity: 10 * minute },
      is: use(now + 30 * second)
    },
    {
      name: "10 minutes asked for, as much left: refresh, the token is too short",
      held: holding(expiring(now + 10 * minute)),
      request: { minValidity: 10 * minute },
      is: refresh("MinValidity", none)
    },
    {
      name: "1 ms less than the lifetime asked for: refresh",
      held: holding(expiring(now + 10 * minute)),
      request: { minValidity: hour - 1 },
      is: refresh("MinValidity", none)
    },
    {
      name: "the lifetime asked for: no refresh would help",
      held: holding(expiring(now + 10 * minute)),
      request: { minValidity: hour },
      is: Decision.TooShortLived({ lifetime: hour, minValidity: hour })
    },
    {
      name: "the lifetime asked for, in the grace: no refresh would help",
      held: holding(expiring(now + minute)),
      request: { minValidity: hour },
      is: Decision.TooShortLived({ lifetime: hour, minValidity: hour })
    },
    {
      name: "more than the lifetime asked for, 1 ms left: no refresh would help",
      held: holding(expiring(now + 1)),
      request: { minValidity: 2 * hour },
      is: Decision.TooShortLived({ lifetime: hour, minValidity: 2 * hour })
    },
    {
      name: "more than the lifetime asked for, expired: refresh first, the next may live longer",
      held: holding(expiring(now)),
      request: { minValidity: 2 * hour },
      is: refresh("Expired", none)
    },
    {
      name: "more asked for than is left, the lifetime unknown: refresh",
      held: holding(
        Credentials.make({ accessToken: token, refreshToken: "rt-1", expiresAt: now + 10 * minute })
      ),
      request: { minValidity: hour },
      is: refresh("MinValidity", none)
    },
    {
      name: "obtained in the future: never more than the lifetime is left, and more is asked for",
      held: holding(expiring(now + hour, now + 50 * minute)),
      request: { minValidity: 30 * minute },
      is: Decision.TooShortLived({ lifetime: 10 * minute, minValidity: 30 * minute })
    },
    {
      name: "obtained in the future, in the grace, with enough left: serve",
      held: holding(expiring(now + 30 * second, now + 10 * second)),
      policy: { ...policy, grace: minute },
      request: { minValidity: 15 * second, force: true },
      is: refresh("Forced", served)
    },
    {
      name: "without expiry there is always enough",
      held: holding(expiring(undefined)),
      request: { minValidity: Infinity },
      is: use(now + 30 * second)
    },
    {
      name: "a negative validity asks nothing",
      held: holding(expiring(now + minute)),
      request: { minValidity: -hour },
      is: refresh("InGrace", served)
    },
    {
      name: "a validity that is no number asks nothing",
      held: holding(expiring(now + minute)),
      request: { minValidity: Number.NaN },
      is: refresh("InGrace", served)
    }
  ])
})

describe("judge, where nothing can be refreshed", () => {
  const noRefresh = { refreshable: false }
  const grantDead = Decision.Reauthorize({ reason: "GrantDead", detail: "invalid_grant" })
  const noRefreshToken = Decision.Reauthorize({
    reason: "NoRefreshToken",
    detail: "There is no refresh token"
  })
  judged([
    {
      name: "nothing there: log in",
      held: holding(undefined, noRefresh),
      is: Decision.Reauthorize({ reason: "NoCredentials", detail: "No credentials found" })
    },
    {
      name: "nothing there, nothing needed: get a token",
      held: holding(undefined),
      is: refresh("NoToken", none)
    },
    {
      name: "no refresh token, an hour left: use",
      held: holding(expiring(now + hour), noRefresh),
      is: use(now + 30 * second)
    },
    {
      name: "no refresh token, in the grace: use until the TTL",
      held: holding(expiring(now + minute), noRefresh),
      is: use(now + 30 * second, "NoRefreshToken")
    },
    {
      name: "no refresh token, 1 ms left: use until the expiry",
      held: holding(expiring(now + 1), noRefresh),
      is: use(now + 1, "NoRefreshToken")
    },
    {
      name: "no refresh token, expired: log in",
      held: holding(expiring(now), noRefresh),
      is: noRefreshToken
    },
    {
      name: "no refresh token, forced: log in",
      held: holding(expiring(now + hour), noRefresh),
      request: { force: true },
      is: noRefreshToken
    },
    {
      name: "no refresh token, rejected: log in",
      held: holding(expiring(now + hour), { ...noRefresh, rejected: true }),
      is: noRefreshToken
    },
    {
      name: "no refresh token, more asked for than is left: log in",
      held: holding(expiring(now + minute), noRefresh),
      request: { minValidity: minute },
      is: noRefreshToken
    },
    {
      name: "dead, in the grace: use, also in the background",
      held: holding(expiring(now + 1), dead(false)),
      policy: background,
      is: use(now + 1, "GrantDead")
    },
    { name: "dead, expired: log in", held: holding(expiring(now), dead(false)), is: grantDead },
    {
      name: "dead, forced: log in",
      held: holding(expiring(now + hour), dead(false)),
      request: { force: true },
      is: grantDead
    },
    {
      name: "dead, rejected: log in",
      held: holding(expiring(now + hour), { ...dead(false), rejected: true }),
      is: grantDead
    },
    {
      name: "dead since an answer was lost: log in, and say so",
      held: holding(expiring(now), dead(true)),
      is: Decision.Reauthorize({ reason: "RotationLost", detail: "invalid_grant" })
    },
    {
      name: "dead comes before the want of a refresh token",
      held: holding(expiring(now), { ...dead(false), ...noRefresh }),
      is: grantDead
    },
    {
      name: "dead comes before the cool-down",
      held: holding(expiring(now), { ...dead(false), ...cooling("Failed", now + hour) }),
      is: grantDead
    }
  ])
})

describe("judge, where the answer to a refresh was lost", () => {
  const window = RotationPolicy.rotating("1 minute")
  const inGrace = expiring(now + minute)
  const noted = (ago: number, rotation: RotationPolicy.RotationPolicy = window): Partial<Decision.Held> => ({
    rotation,
    openIntent: Option.some(
      new Entry.Intent({ fingerprint: Entry.grantFingerprint(inGrace), at: now - ago, attempt: 2 })
    )
  })
  const replay = (ago: number, open: boolean, span = minute) =>
    Option.some({ since: now - ago, attempts: 2, until: now - ago + span, open })
  const strict = (ago: number) => noted(ago, RotationPolicy.rotating())

  judged([
    {
      name: "in the window, in the grace: ask again at once, the token being valid",
      held: holding(inGrace, noted(minute - 1)),
      is: refresh("InGrace", served, replay(minute - 1, true))
    },
    {
      name: "in the window, in the grace, in the background: ask again behind",
      held: holding(inGrace, noted(0)),
      policy: background,
      is: behind("InGrace", replay(0, true))
    },
    {
      name: "in the window, not due: ask again all the same, behind",
      held: holding(expiring(now + hour), noted(second)),
      is: behind("AnswerLost", replay(second, true))
    },
    {
      name: "in the window, not due, cooling down: serve, and wait for the end of it",
      held: holding(expiring(now + hour), { ...noted(second), ...cooling("Failed", now + 1) }),
      is: Decision.CoolDown({ until: now + 1, reason: "Failed", fallback: served })
    },
    {
      name: "in the window, not due, but dead: use",
      held: holding(expiring(now + hour), { ...noted(second), ...dead(true) }),
      is: use(now + 30 * second, "NotDue", replay(second, true))
    },
    {
      name: "in the window, not due, but nothing to refresh with: use",
      held: holding(expiring(now + hour), { ...noted(second), refreshable: false }),
      is: use(now + 30 * second, "NotDue", replay(second, true))
    },
    {
      name: "in the window, forced: ask again now",
      held: holding(expiring(now + hour), noted(second)),
      request: { force: true },
      is: refresh("Forced", served, replay(second, true))
    },
    {
      name: "at the end of the window, in the grace: leave the grant alone and use the token to its end",
      held: holding(inGrace, noted(minute)),
      is: use(now + 30 * second, "AnswerLost", replay(minute, false))
    },
    {
      name: "after the window, in the background: the same",
      held: holding(expiring(now + 1), noted(hour)),
      policy: background,
      is: use(now + 1, "AnswerLost", replay(hour, false))
    },
    {
      name: "after the window, cooling down: the same, there is nothing to wait for",
      held: holding(inGrace, { ...noted(hour), ...cooling("ServerAsked", now + minute) }),
      is: use(now + 30 * second, "AnswerLost", replay(hour, false))
    },
    {
      name: "after the window, not due: use until it is",
      held: holding(expiring(now + 2 * minute + 1), noted(hour)),
      is: use(now + 1, "NotDue", replay(hour, false))
    },
    {
      name: "after the window, expired: the last resort",
      held: holding(expiring(now), noted(hour)),
      is: refresh("Expired", none, replay(hour, false))
    },
    {
      name: "after the window, rejected: the last resort",
      held: holding(expiring(now + hour), { ...noted(hour), rejected: true }),
      is: refresh("Rejected", none, replay(hour, false))
    },
    {
      name: "after the window, forced: the last resort",
      held: holding(inGrace, noted(hour)),
      request: { force: true },
      is: refresh("Forced", served, replay(hour, false))
    },
    {
      name: "after the window, more asked for than is left: not even then, while the token lives",
      held: holding(inGrace, noted(hour)),
      request: { minValidity: 2 * minute },
      is: Decision.CoolDown({ until: now + minute, reason: "AnswerLost", fallback: none })
    },
    {
      name: "after the window, more asked for than there can be: look again in a day",
      held: holding(raw(Infinity, Infinity), noted(hour)),
      request: { minValidity: Infinity },
      is: Decision.CoolDown({ until: now + day, reason: "AnswerLost", fallback: none })
    },
    {
      name: "in the window, more asked for than is left: ask again now",
      held: holding(inGrace, noted(second)),
      request: { minValidity: 2 * minute },
      is: refresh("InGrace", none, replay(second, true))
    },
    {
      name: "after the window, dead: use, since the grant is no more",
      held: holding(inGrace, { ...noted(hour), ...dead(true) }),
      is: use(now + 30 * second, "GrantDead", replay(hour, false))
    },
    {
      name: "no window: it is over at once",
      held: holding(inGrace, strict(0)),
      is: use(now + 30 * second, "AnswerLost", replay(0, false, 0))
    },
    {
      name: "a window without end is never over",
      held: holding(inGrace, noted(day, RotationPolicy.rotating(Duration.infinity))),
      is: refresh("InGrace", served, replay(day, true, Infinity))
    },
    {
      name: "a reusable refresh token: refresh as ever",
      held: holding(inGrace, noted(hour, RotationPolicy.reusable)),
      is: refresh("InGrace", served)
    },
    {
      name: "a request from the future, the clock having been set back: use, and look again when it is then",
      held: holding(inGrace, noted(-1)),
      is: use(now + 1, "AnswerLost", replay(-1, false))
    },
    {
      name: "a request from the future, not due: use",
      held: holding(expiring(now + hour), noted(-second)),
      is: use(now + second, "NotDue", replay(-second, false))
    },
    {
      name: "no token at all: get one",
      held: holding(undefined, noted(second)),
      is: refresh("NoToken", none, replay(second, true))
    }
  ])
})

describe("judge, cooling down", () => {
  const inGrace = expiring(now + minute)
  judged([
    {
      name: "1 ms before its end: wait, and serve the valid token",
      held: holding(inGrace, cooling("Failed", now + 1)),
      is: Decision.CoolDown({ until: now + 1, reason: "Failed", fallback: served })
    },
    {
      name: "at its end: refresh",
      held: holding(inGrace, cooling("Failed", now)),
      is: refresh("InGrace", served)
    },
    {
      name: "right after its start: wait",
      held: holding(inGrace, cooling("Ineffective", now + 1, now)),
      is: Decision.CoolDown({ until: now + 1, reason: "Ineffective", fallback: served })
    },
    {
      name: "before its start, the clock having been set back: refresh",
      held: holding(inGrace, cooling("Failed", now + hour, now + 1)),
      is: refresh("InGrace", served)
    },
    {
      name: "expired: wait, with nothing to serve",
      held: holding(expiring(now), cooling("ServerAsked", now + minute)),
      is: Decision.CoolDown({ until: now + minute, reason: "ServerAsked", fallback: none })
    },
    {
      name: "rejected: wait, with nothing to serve",
      held: holding(expiring(now + hour), { rejected: true, ...cooling("Rejected", now + minute) }),
      is: Decision.CoolDown({ until: now + minute, reason: "Rejected", fallback: none })
    },
    {
      name: "not due: use",
      held: holding(expiring(now + hour), cooling("Failed", now + minute)),
      is: use(now + 30 * second)
    },
    {
      name: "no token yet: wait",
      held: holding(undefined, cooling("Failed", now + minute)),
      is: Decision.CoolDown({ until: now + minute, reason: "Failed", fallback: none })
    },
    {
      name: "no token yet, forced: refresh",
      held: holding(undefined, cooling("Failed", now + minute)),
      request: { force: true },
      is: refresh("NoToken", none)
    },
    ...(["Failed", "Ineffective", "Rejected"] as const).map((reason) => ({
      name: `forced past our own cool-down (${reason}): refresh`,
      held: holding(inGrace, cooling(reason, now + minute)),
      request: { force: true },
      is: refresh("Forced", served)
    })),
    {
      name: "forced, but the server asked to wait: wait",
      held: holding(inGrace, cooling("ServerAsked", now + minute)),
      request: { force: true },
      is: Decision.CoolDown({ until: now + minute, reason: "ServerAsked", fallback: served })
    },
    {
      name: "forced past our own cool-down, but the server asked to wait for a part of it: wait that long",
      held: holding(inGrace, asked("Rejected", now + 1)),
      request: { force: true },
      is: Decision.CoolDown({ until: now + 1, reason: "ServerAsked", fallback: served })
    },
    {
      name: "forced past our own cool-down, the server's wait just over: refresh",
      held: holding(inGrace, asked("Rejected", now)),
      request: { force: true },
      is: refresh("Forced", served)
    }
  ])
})

describe("coolDown", () => {
  const after = (failures: number, changes: Partial<Parameters<typeof BackOff.coolDown>[0]> = {}) =>
    BackOff.coolDown({
      failures,
      now,
      policy,
      reason: "Failed",
      retryAfter: Option.none(),
      before: Option.none(),
      replay: Option.none(),
      jitterShare: 0,
      ...changes
    })

  it.each([
    [1, second],
    [2, 2 * second],
    [3, 4 * second],
    [9, 256 * second],
    [10, 5 * minute],
    [11, 5 * minute],
    [5000, 5 * minute]
  ])("after %d failures waits %d ms", (failures, waits) => {
    expect(after(failures)).toEqual({
      since: now,
      until: now + waits,
      askedUntil: Option.none(),
      reason: "Failed",
      failures
    })
  })

  it.each([
    [0, 4 * second],
    [0.5, 3.5 * second],
    [1, 3 * second]
  ])("a share of %d in the jitter leaves %d ms of 4 s", (jitterShare, waits) => {
    expect(after(3, { jitterShare }).until).toBe(now + waits)
  })

  it.each([
    ["less than our own", 3999, 4000, "Failed", 3999],
    ["as long as our own", 4000, 4000, "Failed", 4000],
    ["longer than our own", 4001, 4001, "ServerAsked", 4001],
    ["longer than our longest", 10 * minute, 10 * minute, "ServerAsked", 10 * minute],
    ["a day", day, day, "ServerAsked", day],
    ["more than a day", day + 1, day, "ServerAsked", day],
    ["for ever", Infinity, day, "ServerAsked", day],
    ["nothing", 0, 4000, "Failed", undefined],
    ["less than nothing", -hour, 4000, "Failed", undefined],
    ["no number", Number.NaN, 4000, "Failed", undefined]
  ] as const)("the server asks for %s", (_, retryAfter, waits, reason, askedFor) => {
    expect(after(3, { retryAfter: Option.some(retryAfter) })).toEqual({
      since: now,
      until: now + waits,
      askedUntil: Option.map(Option.fromNullable(askedFor), (millis) => now + millis),
      reason,
      failures: 3
    })
  })

  describe("in place of one that the server asked for", () => {
    const before = (since: number, askedUntil: number) => ({
      before: Option.some<BackOff.CoolingDown>({
        since,
        until: askedUntil,
        askedUntil: Option.some(askedUntil),
        reason: "ServerAsked",
        failures: 1
      })
    })

    it("which goes on longer: the server's stands", () => {
      expect(after(1, { ...before(now - second, now + minute), reason: "Rejected" })).toEqual({
        since: now,
        until: now + minute,
        askedUntil: Option.some(now + minute),
        reason: "ServerAsked",
        failures: 1
      })
    })

    it("at this very moment: the server's stands", () => {
      expect(after(1, { ...before(now, now + minute), reason: "Rejected" }).until).toBe(now + minute)
    })

    it("which ends earlier: ours stands, and the server's within it", () => {
      expect(after(3, { ...before(now - second, now + second), reason: "Rejected" })).toEqual({
        since: now,
        until: now + 4 * second,
        askedUntil: Option.some(now + second),
        reason: "Rejected",
        failures: 3
      })
    })

    it.each([
      ["which is over", now - minute, now],
      ["which began after now, by a clock that was set back", now + 1, now + minute]
    ])("%s: ours alone", (_, since, askedUntil) => {
      expect(after(3, before(since, askedUntil))).toMatchObject({
        until: now + 4 * second,
        askedUntil: Option.none(),
        reason: "Failed"
      })
    })
  })

  it("is short enough to ask for a lost answer within the window, but not shorter than the server asked", () => {
    const replay = Option.some({ since: now - 1, attempts: 1, until: now - 1 + 20 * second, open: true })
    expect(after(1, { replay }).until).toBe(now + second)
    expect(after(9, { replay }).until).toBe(now + 5 * second)
    expect(after(9, { replay, jitterShare: 1 }).until).toBe(now + 3.75 * second)
    expect(after(9, { replay, retryAfter: Option.some(minute) }).until).toBe(now + minute)
  })

  it("keeps the reason it is given", () => {
    expect(after(1, { reason: "Ineffective" }).reason).toBe("Ineffective")
    expect(after(1, { reason: "Rejected", retryAfter: Option.some(1) }).reason).toBe("Rejected")
  })

  it("stays finite whatever the policy and however many failures", () => {
    const endless = { ...policy, coolDownMax: 1e300 }
    expect(after(31, { policy: endless }).until).toBe(now + 2 ** 30 * second)
    expect(after(32, { policy: endless }).until).toBe(now + 2 ** 30 * second)
    expect(after(5000, { policy: { ...policy, coolDownBase: 0 } }).until).toBe(now)
  })
})

describe("isIneffective", () => {
  const made = (accessToken: string, expiresAt?: number) => Credentials.make({ accessToken, expiresAt })
  const at1 = Option.some(made("at-1", now + hour))

  it.each([
    ["a new token and a later expiry", at1, made("at-2", now + 2 * hour), false],
    ["a new token and an earlier expiry", at1, made("at-2", now + minute), false],
    ["a new token that expires in 1 ms", at1, made("at-2", now + 1), false],
    ["a new token that has just expired", at1, made("at-2", now), true],
    ["a new token without expiry", at1, made("at-2"), false],
    ["the same token, a later expiry", at1, made("at-1", now + 2 * hour), true],
    ["a new token, the same expiry", at1, made("at-2", now + hour), true],
    ["new tokens that never expire", Option.some(made("at-1")), made("at-2"), false],
    ["the same token that never expires", Option.some(made("at-1")), made("at-1"), true],
    ["the first token", Option.none(), made("at-1", now + hour), false],
    ["the first token, expired", Option.none(), made("at-1", now), true]
  ])("%s", (_, before, after, ineffective) => {
    expect(BackOff.isIneffective(before, after, now)).toBe(ineffective)
  })
})

describe("jitterShare", () => {
  it("is the same for the same text and spreads similar ones over the whole range", () => {
    const shares = Array.from({ length: 1000 }, (_, i) => BackOff.jitterShare(`acct-1 host-${i}`))
    expect(shares).toEqual(Array.from({ length: 1000 }, (_, i) => BackOff.jitterShare(`acct-1 host-${i}`)))
    const tenths = Array.from({ length: 10 }, (_, i) => shares.filter((s) => Math.floor(s * 10) === i).length)
    expect(tenths.reduce((sum, n) => sum + n)).toBe(1000)
    for (const n of tenths) expect(n).toBeGreaterThan(60)
  })

  it.each([
    ["", 0xab3e7c0b],
    ["a", 0x1a80b1b3],
    ["foobar", 0xc0da6dc],
    ["acct-1 host-1", 0x7f4b0c13],
    ["acct-1 host-2", 0x198b6e23]
  ])("of %j is FNV-1a with Murmur3's last mixing", (text, hash) => {
    expect(BackOff.jitterShare(text)).toBe(hash / 2 ** 32)
  })
})

describe("a grant of another identity", () => {
  const mismatch = { mismatch: Option.some(otherClient) }
  it.each([
    ["fresh", holding(expiring(now + hour), mismatch)],
    ["expired", holding(expiring(now - 1), mismatch)],
    ["dead", holding(expiring(now - 1), { ...mismatch, ...dead(false) })],
    ["cooling down", holding(expiring(now - 1), { ...mismatch, ...cooling("Failed", now, now + hour) })],
    ["without refresh token", holding(expiring(now - 1), { ...mismatch, refreshable: false })]
  ])("is refused, whatever else there is to it: %s", (_, held) => {
    for (const request of [Decision.anyValid, { force: true, minValidity: 0 }]) {
      expect(Decision.judge(held, now, policy, request)).toEqual(Decision.Refuse({ mismatch: otherClient }))
    }
  })
})

describe("looksAgainAt", () => {
  it.each<[Decision.Decision, number | undefined]>([
    [use(now + 1), now + 1],
    [use(Infinity), undefined],
    [Decision.CoolDown({ until: now + 2, reason: "Failed", fallback: none }), now + 2],
    [Decision.Reload({ reason: "Stale" }), now],
    [behind("InGrace"), now],
    [refresh("Expired", none), now],
    [Decision.Reauthorize({ reason: "GrantDead", detail: "invalid_grant" }), undefined],
    [Decision.TooShortLived({ lifetime: 1, minValidity: 2 }), undefined],
    [Decision.Refuse({ mismatch: otherClient }), undefined]
  ])("%o", (decision, at) => {
    expect(Decision.looksAgainAt(decision, now)).toEqual(Option.fromNullable(at))
  })
})

describe("describe", () => {
  const lost = (open: boolean) =>
    Option.some({ since: now - 2 * second, attempts: 1, until: now + minute, open })
  it.each<[Decision.Decision, string]>([
    [use(now + 1500), "use the token in memory; look again in 1.5 s"],
    [use(now - 1), "use the token in memory; look again in 0 s"],
    [use(Infinity), "use the token in memory; it has no expiry"],
    [
      use(now + 1500, "NoRefreshToken"),
      "use the token in memory to its end: there is no refresh token; look again in 1.5 s"
    ],
    [
      use(now + 1500, "GrantDead"),
      "use the token in memory to its end: the authorization server ended the grant; look again in 1.5 s"
    ],
    [
      use(now + 1500, "AnswerLost", lost(false)),
      "use the token in memory to its end: the answer to a refresh was lost, and the server may end the grant if the refresh is repeated; look again in 1.5 s"
    ],
    [
      behind("AnswerLost", lost(true)),
      "use the token and refresh it in the background (the answer to an earlier refresh was lost); this repeats a refresh of 2 s ago, whose answer was lost, while the server accepts a repeat"
    ],
    [
      refresh("Expired", none, lost(false)),
      "refresh (the token has expired); meanwhile there is no valid token; this repeats a refresh of 2 s ago, whose answer was lost, as a last resort: the server may end the grant"
    ],
    [Decision.Reload({ reason: "NotLoaded" }), "read storage again (nothing is in memory)"],
    [
      Decision.Reload({ reason: "Stale" }),
      "read storage again (what is in memory is older than the credentials TTL)"
    ],
    [Decision.Reload({ reason: "Expired" }), "read storage again (the token in memory has expired)"],
    [
      behind("InGrace"),
      "use the token and refresh it in the background (the token is within the grace of its expiry)"
    ],
    [
      refresh("InGrace", served),
      "refresh (the token is within the grace of its expiry); meanwhile the token is still valid and is served"
    ],
    [refresh("NoToken", none), "refresh (there is no token yet); meanwhile there is no valid token"],
    [refresh("Expired", none), "refresh (the token has expired); meanwhile there is no valid token"],
    [
      refresh("MinValidity", none),
      "refresh (the token does not live as long as was asked for); meanwhile there is no valid token"
    ],
    [
      refresh("Forced", served),
      "refresh (a refresh was asked for); meanwhile the token is still valid and is served"
    ],
    [
      refresh("Rejected", none),
      "refresh (a resource server rejected the token); meanwhile there is no valid token"
    ],
    [
      Decision.CoolDown({ until: now + 2000, reason: "Failed", fallback: served }),
      "send nothing for 2 s (the last refresh failed); the token is still valid and is served"
    ],
    [
      Decision.CoolDown({ until: now, reason: "ServerAsked", fallback: none }),
      "send nothing for 0 s (the server asked to wait); there is no valid token"
    ],
    [
      Decision.CoolDown({ until: now + 1, reason: "Ineffective", fallback: none }),
      "send nothing for 0.001 s (the last refresh brought no newer token); there is no valid token"
    ],
    [
      Decision.CoolDown({ until: now + 1000, reason: "Rejected", fallback: none }),
      "send nothing for 1 s (fresh tokens keep being rejected); there is no valid token"
    ],
    [
      Decision.CoolDown({ until: now + 1000, reason: "AnswerLost", fallback: none }),
      "send nothing for 1 s (the answer to a refresh was lost, and the server may end the grant if the refresh is repeated); there is no valid token"
    ],
    [Decision.Reauthorize({ reason: "GrantDead", detail: "invalid_grant" }), "log in again: invalid_grant"],
    [
      Decision.Refuse({ mismatch: otherClient }),
      "do not use the stored grant: The stored grant was obtained by the client app, not by other"
    ],
    [
      Decision.TooShortLived({ lifetime: 1500, minValidity: hour }),
      "the server's tokens live for 1.5 s, less than the 3600 s asked for"
    ]
  ])("%o", (decision, words) => {
    expect(Describe.describe(decision, now)).toBe(words)
  })

  it("has the reason of each reauthorization in its detail", () => {
    const decision = Decision.judge(holding(undefined, { refreshable: false }), now, policy)
    expect(Describe.describe(decision, now)).toBe("log in: No credentials found")
  })
})

describe("a wait that the server asked of whoever shares the grant", () => {
  const wait = (at: number, until: number) => ({
    serverWait: Option.some(new Entry.ServerWait({ at, until }))
  })
  const untilOf = (held: Partial<Decision.Held>, force = false, at = now) =>
    Option.getOrUndefined(
      Option.map(BackOff.cooling(holding(undefined, held), at, force), ({ reason, until }) => [reason, until])
    )

  it.each([false, true])("is kept to, whether forced (%s) or not", (force) => {
    const held = holding(expiring(now - second), wait(now - second, now + minute))
    expect(Decision.judge(held, now, policy, { force, minValidity: 0 })).toEqual(
      Decision.CoolDown({ until: now + minute, reason: "ServerAsked", fallback: none })
    )
    expect(Decision.judge(held, now + minute, policy)._tag).toBe("Refresh")
  })

  it("outlasts a cool-down of ours, and not a longer one", () => {
    const asks = wait(now - second, now + minute)
    expect(untilOf({ ...cooling("Failed", now + second), ...asks })).toEqual(["ServerAsked", now + minute])
    expect(untilOf({ ...cooling("Failed", now + hour), ...asks })).toEqual(["Failed", now + hour])
    expect(untilOf({ ...cooling("Failed", now + minute), ...asks })).toEqual(["Failed", now + minute])
    expect(untilOf({ ...cooling("Failed", now + hour), ...asks }, true)).toEqual([
      "ServerAsked",
      now + minute
    ])
    // Ours began in a time that a clock that was set back has taken away.
    expect(untilOf({ ...cooling("Failed", now + hour, now + 1), ...asks })).toEqual([
      "ServerAsked",
      now + minute
    ])
  })

  it.each([
    ["over", now - minute, now, undefined],
    ["told by a clock that is a minute ahead", now + minute, now + 2 * minute, now + 2 * minute],
    ["told by one further ahead", now + minute + 1, now + 2 * minute, undefined],
    ["a day", now, now + day, now + day],
    ["longer than a day", now, now + 2 * day, now + day]
  ])("where it is %s", (_, at, until, ends) => {
    expect(untilOf(wait(at, until))).toEqual(ends === undefined ? undefined : ["ServerAsked", ends])
  })

  it.each([
    ["nothing, before or now", undefined, undefined, undefined],
    [
      "nothing anew: the earlier one stands",
      [now - second, now + minute],
      undefined,
      [now - second, now + minute]
    ],
    ["nothing by 0", [now - second, now + minute], 0, [now - second, now + minute]],
    ["nothing by 0, and nothing before", undefined, 0, undefined],
    [
      "as long as before: the earlier one stands",
      [now - second, now + second],
      second,
      [now - second, now + second]
    ],
    ["less than was told this very moment", [now, now + minute], second, [now, now + minute]],
    ["no number", undefined, Number.NaN, undefined],
    ["a wait", undefined, second, [now, now + second]],
    ["a longer one", [now - second, now + minute], minute + 1, [now, now + minute + 1]],
    [
      "a shorter one: the earlier one stands",
      [now - second, now + minute],
      second,
      [now - second, now + minute]
    ],
    ["one in place of what was told in the future", [now + 1, now + minute], second, [now, now + second]],
    ["for ever", undefined, Infinity, [now, now + day]]
  ] as const)("asked for: %s", (_, before, retryAfter, expected) => {
    const of = (pair: readonly [number, number] | undefined) =>
      Option.map(Option.fromNullable(pair), ([at, until]) => new Entry.ServerWait({ at, until }))
    expect(BackOff.serverWait(of(before), Option.fromNullable(retryAfter), now)).toEqual(of(expected))
  })
})

describe("describeArrival", () => {
  const agree = "although the clocks agree: the server gives it no lifetime."
  const check = (time: string) => `by the clock of this machine, ${time}: check that clock.`
  const late = "The token had expired when it arrived"
  const at = (server: number) => ({ ...obtained(2 * hour, 0), serverTime: Option.some(server) })

  it.each([
    ["is of use", obtained(0, 0), ""],
    ["no expiry", { ...obtained(2 * hour, 0), expiresAt: Option.none() }, ""],
    [
      "a clock ahead of the server's",
      obtained(2 * hour, 0),
      `${late}, and the clock of this machine is 2h ahead of the server's: correct it.`
    ],
    [
      "a clock behind the server's",
      at(now + hour),
      `${late}, and the clock of this machine is 1h behind the server's: correct it.`
    ],
    ["clocks that agree", at(now), `${late}, by 1h, ${agree}`],
    [
      "clocks that agree as far as they must",
      at(now - Credentials.clockTolerance),
      `${late}, by 1h, ${agree}`
    ],
    [
      "clocks that agree as far as they must",
      at(now + Credentials.clockTolerance),
      `${late}, by 1h, ${agree}`
    ],
    ["expired at this moment", { ...obtained(hour, 0), serverTime: Option.some(now) }, `${late}, ${agree}`],
    ["no Date", obtained(2 * hour, 0, false), `${late}, by 1h ${check("2023-11-14T22:13:20.000Z")}`]
  ])("%s", (_, credentials, words) => {
    expect(Describe.describeArrival(new Credentials.Credentials(credentials), now)).toBe(words)
  })

  it.each([
    [8.64e15, "+275760-09-13T00:00:00.000Z"],
    [8.64e15 + 1, "which says no time"]
  ])("has words for a clock that shows anything: %d", (clock, time) => {
    expect(Describe.describeArrival(obtained(0, 0, false), clock)).toContain(` ${check(time)}`)
  })
})
