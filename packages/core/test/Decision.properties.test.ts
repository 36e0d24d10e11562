import { describe, expect } from "@effect/vitest"
import { FastCheck as FC, Option, Redacted } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import { BackOff, Decision, Describe, Expiry } from "@latchkey/core/internal-api"
import * as RotationPolicy from "@latchkey/core/RotationPolicy"
import { absurd, held, instant, policy, request, runs } from "./support/Arbitraries.js"
import * as Replay from "../src/grant/Replay.js"
import * as Properties from "./support/Properties.js"

const hour = 3_600_000

/** Whether the process has measured by how much its clock differs from the one that the record is dated by. */
const isMeasured = ({ credentials, witness }: Decision.Held): boolean =>
  Option.isSome(witness.ahead) && Option.exists(credentials, (c) => Option.isSome(c.serverTime))

/** Known, a number, and reached: what no decision may serve. */
const isPast = (held: Decision.Held, now: number): boolean =>
  !isMeasured(held) &&
  Option.exists(
    Option.flatMap(held.credentials, (c) => c.expiresAt),
    (expiresAt) => now >= expiresAt
  )

const tokenIn = (decision: Decision.Decision): Option.Option<Redacted.Redacted> =>
  Decision.$match(decision, {
    Use: ({ token }) => Option.some(token),
    UseAndRefresh: ({ token }) => Option.some(token),
    Refresh: ({ fallback }) => fallback,
    CoolDown: ({ fallback }) => fallback,
    Reload: () => Option.none(),
    Reauthorize: () => Option.none(),
    TooShortLived: () => Option.none(),
    Refuse: () => Option.none()
  })

/** Holds of any decision about `held` at `now`. */
const expectSound = (decision: Decision.Decision, held: Decision.Held, now: number): void => {
  const token = tokenIn(decision)
  if (Option.isSome(token)) {
    expect(isPast(held, now), "an expired token is served").toBe(false)
    expect(held.rejected, "a rejected token is served").toBe(false)
    expect(Option.isSome(held.mismatch), "another's token is served").toBe(false)
    const current = Option.map(held.credentials, (c) => Redacted.value(c.accessToken))
    expect(Option.some(Redacted.value(token.value))).toEqual(current)
  }
  if (decision._tag === "Use") expect(decision.nextCheckAt).not.toBeNaN()
  if (decision._tag === "CoolDown") {
    expect(decision.until).toBeGreaterThan(now)
    expect(Number.isFinite(decision.until)).toBe(true)
  }
  expect(Describe.describe(decision, now)).not.toMatch(/NaN|undefined|\[object/)
}

/** A clock that runs, sleeps, is set back and far ahead; whole milliseconds, as clocks show them. */
const clockHistory = FC.record({
  start: instant,
  steps: FC.array(
    FC.oneof(
      { weight: 5, arbitrary: FC.integer({ min: 0, max: 10 * 60_000 }) },
      { weight: 2, arbitrary: FC.integer({ min: -24 * hour, max: 24 * hour }) },
      { weight: 1, arbitrary: FC.constantFrom(1e15, -1e15, 1e300, -1e300, 0) }
    ),
    { minLength: 1, maxLength: 30 }
  )
}).map(({ start, steps }) => {
  let now = start
  return steps.map((step) => (now += step))
})

describe("total", () => {
  Properties.prop(
    "whatever the clock does and the lifetimes are: no NaN, and never an expired token",
    { held: held(FC.oneof(instant, absurd)), policy, request, clock: clockHistory },
    ({ clock, held, policy, request }) => {
      for (const now of clock) {
        expectSound(Decision.judge(held, now, policy, request), held, now)
        expectSound(Decision.decide(Option.some(held), now, policy, request), held, now)
      }
    },
    runs(2000)
  )

  Properties.prop(
    "nothing in memory is always read",
    { now: absurd, policy, request },
    ({ now, policy, request }) => {
      expect(Decision.decide(Option.none(), now, policy, request)).toEqual(
        Decision.Reload({ reason: "NotLoaded" })
      )
    },
    runs(200)
  )

  Properties.prop(
    "the parts of it, on numbers of any kind",
    { expiresAt: absurd, obtainedAt: absurd, now: absurd, span: absurd, loadedAt: absurd },
    ({ expiresAt, loadedAt, now, obtainedAt, span }) => {
      const credentials = new Credentials.Credentials({
        ...Credentials.make({ accessToken: "at" }),
        expiresAt: Option.some(expiresAt),
        obtainedAt: Option.some(obtainedAt)
      })
      const left = Expiry.timeToExpiry(credentials, now)
      expect(Option.getOrElse(left, () => 0)).not.toBeNaN()
      expect(Option.getOrElse(Expiry.wholeSeconds(left), () => 0)).toBeGreaterThanOrEqual(0)
      expect(Expiry.clampedGrace(credentials, span)).toBeGreaterThanOrEqual(0)
      expect(typeof Expiry.isExpired(credentials, now)).toBe("boolean")
      expect(typeof Expiry.shouldRefresh(credentials, now, span)).toBe("boolean")
      expect(typeof Expiry.isFresh(credentials, loadedAt, now, span)).toBe("boolean")
      expect(Expiry.isFresh(credentials, loadedAt, now, span) && now >= expiresAt).toBe(false)
    },
    runs(2000)
  )
})

describe("monotone in time", () => {
  const later = FC.tuple(instant, FC.nat({ max: 100_000_000 })).map(([t, d]) => [t, t + d] as const)

  Properties.prop(
    "less is left, and what has expired, is due or is stale remains so",
    { held: held(instant), times: later, grace: FC.integer({ min: -hour, max: 2 * hour }) },
    ({ grace, held, times: [before, after] }) => {
      const credentials = Option.getOrElse(held.credentials, () => Credentials.make({ accessToken: "at" }))
      // What is no more than a guess may turn out to be wrong.
      if ([before, after].some((now) => Expiry.isAgeUnknown(credentials, now))) return
      const left = (now: number) => Option.getOrElse(Expiry.timeToExpiry(credentials, now), () => Infinity)
      expect(left(after)).toBeLessThanOrEqual(left(before))
      const stays = (is: (now: number) => boolean) => expect(is(before) && !is(after)).toBe(false)
      stays((now) => Expiry.isExpired(credentials, now))
      stays((now) => Expiry.shouldRefresh(credentials, now, grace))
      stays((now) => !Expiry.isFresh(credentials, before, now, 30_000))
    },
    runs(1000)
  )

  Properties.prop(
    "a token that is used later would have been used before, but for a lost answer that was to be had then",
    { held: held(instant), policy, request, times: later },
    ({ held, policy, request, times: [before, after] }) => {
      const read = { ...held, openIntent: Option.none(), loadedAt: before }
      // What is no more than a guess may turn out to be wrong.
      if (Option.exists(held.credentials, (c) => Expiry.isAgeUnknown(c, before, held.witness))) return
      const used = (now: number) => Decision.decide(Option.some(read), now, policy, request)._tag === "Use"
      expect(used(after) && !used(before)).toBe(false)
    },
    runs(1000)
  )

  Properties.prop(
    "until nextCheckAt the answer stays the same",
    { held: held(instant), policy, at: FC.double({ min: 0, max: 1, noNaN: true }) },
    ({ at, held, policy }) => {
      const now = held.loadedAt
      const decision = Decision.decide(Option.some(held), now, policy)
      if (decision._tag !== "Use") return
      expect(decision.nextCheckAt).toBeGreaterThan(now)
      const then = Math.floor(now + at * (decision.nextCheckAt - now))
      if (then >= decision.nextCheckAt) return
      expect(Decision.decide(Option.some(held), then, policy)).toEqual(decision)
    },
    runs(2000)
  )
})

describe("a lost answer", () => {
  Properties.prop(
    "is never asked for outside the window while the token can be used and nobody insists",
    { held: held(instant), policy, now: instant },
    ({ held, now, policy }) => {
      const decision = Decision.judge(held, now, policy)
      const replay = Replay.replay(held.rotation, held.openIntent, now)
      if (Option.isNone(replay) || replay.value.open) return
      expect(decision._tag).not.toBe("UseAndRefresh")
      if (decision._tag === "Refresh") expect(decision.fallback).toEqual(Option.none())
    },
    runs(1000)
  )

  Properties.prop(
    "is asked for in the window, unless that cannot be or has to wait",
    { held: held(instant), policy, now: instant },
    ({ held, now, policy }) => {
      const decision = Decision.judge(held, now, policy)
      const replay = Replay.replay(held.rotation, held.openIntent, now)
      if (!held.refreshable || Option.isSome(held.mismatch) || Option.isSome(held.dead)) return
      if (Option.isNone(replay) || !replay.value.open) return
      expect(["Refresh", "UseAndRefresh", "CoolDown"]).toContain(decision._tag)
    },
    runs(1000)
  )
})

describe("grace", () => {
  Properties.prop(
    "takes at most half of a lifetime, so that no token is due when it arrives",
    { obtainedAt: instant, lifetime: FC.integer({ min: 1, max: 100 * hour }), grace: absurd, policy },
    ({ grace, lifetime, obtainedAt, policy }) => {
      const credentials = Credentials.make({
        accessToken: "at",
        refreshToken: "rt",
        obtainedAt,
        expiresAt: obtainedAt + lifetime
      })
      const clamped = Expiry.clampedGrace(credentials, grace)
      expect(clamped).toBeGreaterThanOrEqual(0)
      expect(clamped).toBeLessThanOrEqual(lifetime / 2)
      if (grace > 0) expect(clamped).toBeLessThanOrEqual(grace)
      const arrived: Decision.Held = {
        credentials: Option.some(credentials),
        loadedAt: obtainedAt,
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
        witness: Expiry.noWitness
      }
      expect(Decision.judge(arrived, obtainedAt, { ...policy, grace })._tag).toBe("Use")
    },
    runs(1000)
  )
})

describe("coolDown", () => {
  Properties.prop(
    "never ends before it begins, grows with the failures, and lasts no longer than is allowed",
    {
      failures: FC.integer({ min: 1, max: 2000 }),
      now: instant,
      policy,
      retryAfter: FC.option(absurd).map(Option.fromNullable),
      before: FC.constant(Option.none<BackOff.CoolingDown>()),
      replay: FC.constant(Option.none<Replay.Replay>()),
      jitterShare: FC.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
    },
    (options) => {
      const first = BackOff.coolDown({ ...options, reason: "Failed" })
      const next = BackOff.coolDown({ ...options, failures: options.failures + 1, reason: "Failed" })
      expect(first.until).toBeGreaterThanOrEqual(options.now)
      expect(next.until).toBeGreaterThanOrEqual(first.until)
      expect(first.until).toBeLessThanOrEqual(options.now + 24 * hour)
      if (Option.isNone(options.retryAfter)) {
        expect(first.until).toBeLessThanOrEqual(options.now + options.policy.coolDownMax)
      }
    },
    runs(1000)
  )
})

describe("jitterShare", () => {
  Properties.prop(
    "is from 0 to below 1",
    [FC.string({ unit: "binary", maxLength: 200 })],
    ([text]) => {
      const share = BackOff.jitterShare(text)
      expect(share).toBeGreaterThanOrEqual(0)
      expect(share).toBeLessThan(1)
    },
    runs(1000)
  )
})
