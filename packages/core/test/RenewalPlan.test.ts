/** When a grant should be renewed in the background, and what comes first. */
import { describe, expect, it } from "@effect/vitest"
import { Option } from "effect"
import { Credentials, Entry } from "@latchkey/core"
import * as Renewal from "../src/grant/Renewal.js"
import * as State from "../src/grant/State.js"
import type { Version } from "../src/TokenStorage.js"
import { grant, minute, start } from "./support/Bench.js"
import { policy as anyPolicy } from "./support/Policy.js"

const policy: State.Policy = { ...anyPolicy, grace: 2 * minute, jitterShare: 0 }

const holding = (entry: Entry.Entry, at = start): State.State => ({
  ...State.initial,
  memory: { _tag: "Read", stored: Option.some({ entry, version: "1" as Version }), at }
})

const tenMinutes = Entry.first(grant(1, 10 * minute))
const fingerprint = Entry.grantFingerprint(tenMinutes.credentials)
const dead = new Entry.Entry({
  ...tenMinutes,
  dead: Option.some(
    new Entry.DeadGrant({ fingerprint, at: start, reason: "invalid_grant", rotationLost: false })
  )
})
const intended = (ago: number) =>
  new Entry.Entry({
    ...tenMinutes,
    intent: Option.some(new Entry.Intent({ fingerprint, at: start - ago, attempt: 1 }))
  })
const noRefreshToken = Entry.first(Credentials.make({ accessToken: "at", expiresAt: start + minute }))
const noExpiry = Entry.first(Credentials.make({ accessToken: "at", refreshToken: "rt" }))
const day = 24 * 60 * minute
const kept = (lifetime?: number) =>
  Entry.first(
    Credentials.make({
      accessToken: "at",
      refreshToken: "rt",
      obtainedAt: start,
      refreshAt: start + 6 * day,
      ...(lifetime !== undefined && { expiresAt: start + lifetime })
    })
  )
const noLifetime = Entry.first(
  Credentials.make({ accessToken: "at", refreshToken: "rt", expiresAt: start + 10 * minute })
)
const fromTheFuture = Entry.first(
  Credentials.make({
    accessToken: "at",
    refreshToken: "rt",
    obtainedAt: start + 60 * minute,
    expiresAt: start + 90 * minute
  })
)
const cooling = (until: number): State.State => ({
  ...holding(tenMinutes),
  coolDown: Option.some({ since: start, until, askedUntil: Option.none(), reason: "Failed", failures: 1 })
})
const silent: State.Policy = { ...policy, reportsChanges: false }

const read = (at: number) => ({ task: "Read", at })
const renew = (at: number) => ({ task: "Renew", at })
/** The grace of two minutes, and one more, before the end. */
const due = start + 7 * minute

describe("a grant is renewed", () => {
  it.each([
    ["what was never read is read", policy, State.initial, start, read(start)],
    ["also where changes are not reported", silent, State.initial, start, read(start)],
    ["a while before the grace", policy, holding(tenMinutes), start, renew(due)],
    ["where it is overdue, at once", policy, holding(tenMinutes), due + 5000, renew(due + 5000)],
    [
      "what is known to have changed is read when it is due",
      policy,
      holding(tenMinutes, -Infinity),
      start,
      read(due)
    ],
    [
      "where changes are not reported, it is read when it is due",
      silent,
      holding(tenMinutes),
      start,
      read(due)
    ],
    ["and renewed, where that was a moment ago", silent, holding(tenMinutes, due - 59_999), due, renew(due)],
    [
      "and read again, where that was a minute ago",
      silent,
      holding(tenMinutes, due - 60_000),
      due,
      read(due)
    ],
    ["and renewed, where that was this moment", silent, holding(tenMinutes, due), due, renew(due)],
    ["and read again, where that lies in the future", silent, holding(tenMinutes, due + 1), due, read(due)],
    ["a lost answer is replayed at once in its window", policy, holding(intended(5000)), start, renew(start)],
    [
      "and otherwise at the end of the token",
      policy,
      holding(intended(minute)),
      start,
      renew(start + 10 * minute)
    ],
    ["a dead grant is left alone", policy, holding(dead), start, read(Infinity)],
    ["until storage changes", policy, holding(dead, -Infinity), start, read(start)],
    ["or for ten minutes, where it does not say so", silent, holding(dead), start, read(start + 10 * minute)],
    [
      "counted from now, where the clock was set back",
      silent,
      holding(dead, start + 5000),
      start,
      read(start + 10 * minute)
    ],
    ["so is one without a refresh token", silent, holding(noRefreshToken), start, read(start + 10 * minute)],
    ["not before a cool-down has passed", policy, cooling(due + 5000), start, renew(due + 5000)],
    ["at once, where nobody knows the token's age", policy, holding(fromTheFuture), start, renew(start)],
    ["also where its lifetime is unknown", policy, holding(noLifetime), start, renew(due)],
    ["a token without an end needs nothing", silent, holding(noExpiry), start, read(Infinity)],
    ["unless its grant ends when it is not used", policy, holding(kept()), start, renew(start + 6 * day)],
    ["which may be overdue", policy, holding(kept()), start + 7 * day, renew(start + 7 * day)],
    [
      "or be sooner than a long life of the token",
      policy,
      holding(kept(60 * day)),
      start,
      renew(start + 6 * day)
    ],
    ["or later than a short one", policy, holding(kept(10 * minute)), start, renew(due)],
    [
      "nothing is planned during a flight",
      policy,
      { ...holding(tenMinutes), phase: { _tag: "Rereading" } as State.Phase },
      due,
      read(Infinity)
    ]
  ] as const)("%s", (_, policy, state, now, expected) => {
    expect(Renewal.plan(policy, state, minute, now)).toEqual(expected)
  })

  it("earlier by at most a quarter of its lifetime", () => {
    expect(Renewal.plan(policy, holding(tenMinutes), 5 * minute, start)).toEqual(renew(due - 1.5 * minute))
  })

  it("by a refresh that outlives today's token, and leaves it to another holder of the lease", () => {
    const want = Renewal.want(policy, holding(tenMinutes), minute, due)
    expect(want).toMatchObject({ force: false, yields: true, minValidity: 3 * minute })
    const minValidity = (entry: Entry.Entry) =>
      Renewal.want(policy, holding(entry), minute, start).minValidity
    expect(minValidity(tenMinutes)).toBe(10 * minute)
    expect(minValidity(noExpiry)).toBe(3 * minute)
    expect(minValidity(intended(5000))).toBe(0)
  })
})
