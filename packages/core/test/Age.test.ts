/** The age of a held token, by clocks that are right, wrong, set back or set ahead. */
import { addEqualityTesters, describe, expect, it } from "@effect/vitest"
import { Option } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import { Age, Expiry } from "@latchkey/core/internal-api"

addEqualityTesters()

const { clockTolerance } = Credentials
const minute = 60_000
const start = 1_700_000_000_000

/** The moment `after` milliseconds have passed, when the wall clock was meanwhile set by `set`. */
const moment = (after: number, set = 0): Age.Moment => ({ wall: start + after + set, uptime: 5000 + after })

const token = (changes: Partial<Credentials.Options> = {}): Credentials.Credentials =>
  Credentials.make({
    accessToken: "at-1",
    obtainedAt: start,
    expiresAt: start + 60 * minute,
    ...changes
  })

const seen = (age: Age.Age, now: Age.Moment, credentials = token()) =>
  Age.witness(age, Option.some(credentials), now)

const obtained = (
  now: Age.Moment,
  took: number,
  serverTime?: number,
  credentials = token(),
  before = Age.unknown
) => Age.obtained(before, credentials, { took, serverTime: Option.fromNullable(serverTime), now })

describe("a token that was read", () => {
  const once = Age.read(Age.unknown, Option.some(token()), moment(0))

  it("is not known to a process that holds nothing", () => {
    expect(seen(Age.unknown, moment(0))).toEqual(Expiry.noWitness)
    expect(Age.witness(once, Option.none(), moment(0))).toEqual(Expiry.noWitness)
  })

  it("is held since then, by whoever obtained it", () => {
    expect(seen(once, moment(minute))).toEqual({ ...Expiry.noWitness, heldSince: start })
  })

  it("keeps its first time when it is read again, and the last time without it", () => {
    const empty = Age.read(Age.unknown, Option.none(), moment(0))
    const first = Age.read(empty, Option.some(token()), moment(minute))
    const again = Age.read(first, Option.some(token()), moment(2 * minute))
    expect(seen(again, moment(3 * minute))).toEqual({
      ...Expiry.noWitness,
      heldSince: start + minute,
      absentAt: start
    })
    expect(again.readAt).toEqual(Option.some(moment(2 * minute)))
  })

  it("is forgotten when storage no longer holds one", () => {
    const gone = Age.read(once, Option.none(), moment(minute))
    expect(seen(gone, moment(minute))).toEqual(Expiry.noWitness)
  })

  it("holds the newest record of the same token", () => {
    const renewed = token({ refreshToken: "rt-2" })
    const again = Age.read(once, Option.some(renewed), moment(minute))
    expect(Option.map(again.holding, (held) => held.credentials)).toEqual(Option.some(renewed))
  })

  it.each([
    ["another token", { accessToken: "at-2" }],
    ["the same token with a new expiry", { expiresAt: start + 90 * minute }],
    ["the same token, obtained again", { obtainedAt: start + 1 }],
    ["the same token without an expiry", { expiresAt: undefined }],
    ["the same token, of no known age", { obtainedAt: undefined }]
  ])("has an age of its own: %s", (_, changes) => {
    const other = token(changes)
    expect(seen(once, moment(minute), other)).toEqual(Expiry.noWitness)
    const both = Age.read(once, Option.some(other), moment(minute))
    expect(seen(both, moment(2 * minute), other)).toEqual({
      ...Expiry.noWitness,
      heldSince: start + minute,
      absentAt: start
    })
  })
})

describe("a clock that was set while a token was held", () => {
  const empty = Age.read(Age.unknown, Option.none(), moment(0))
  const held = Age.read(empty, Option.some(token()), moment(minute))

  it("ahead, or a sleep of the machine: the token is as old as the earlier of the two clocks says", () => {
    expect(seen(held, moment(2 * minute, 30 * minute))).toMatchObject({
      heldSince: start + minute,
      absentAt: start,
      setBack: 0
    })
  })

  it("back: the time that passed counts, and by how much the clock was set", () => {
    expect(seen(held, moment(2 * minute, -30 * minute))).toMatchObject({
      heldSince: start + minute - 30 * minute,
      absentAt: start - 30 * minute,
      setBack: 30 * minute
    })
  })

  it("a token is never held since a time to come", () => {
    // The clock that never is set went back: another machine's, as after a restore.
    const now = { wall: start, uptime: 0 }
    expect(seen(held, now)).toMatchObject({ heldSince: start, absentAt: start })
  })
})

describe("a token that was written", () => {
  it.each([
    [-clockTolerance - 1, false],
    [-clockTolerance, true],
    [0, true],
    [clockTolerance, true],
    [clockTolerance + 1, false]
  ])("is our own if it was obtained just now: %d ms later", (after, isOwn) => {
    const age = Age.written(Age.unknown, token(), moment(after))
    expect(seen(age, moment(after))).toMatchObject({ isOwn, heldSince: start + after, absentAt: -Infinity })
    expect(age.readAt).toEqual(Option.some(moment(after)))
  })

  it("is not known to be our own if nobody says when it was obtained", () => {
    const unknown = token({ obtainedAt: undefined })
    expect(seen(Age.written(Age.unknown, unknown, moment(0)), moment(0), unknown).isOwn).toBe(false)
  })

  it("was absent at no known time, although storage had been read", () => {
    const before = Age.read(Age.unknown, Option.none(), moment(0))
    expect(seen(Age.written(before, token(), moment(1)), moment(1)).absentAt).toBe(-Infinity)
  })
})

describe("a token from a response", () => {
  it("is our own, and as old as its request", () => {
    expect(seen(obtained(moment(1000), 400), moment(minute))).toEqual({
      ...Expiry.noWitness,
      heldSince: start + 600,
      isOwn: true
    })
    const before = Age.read(Age.unknown, Option.none(), moment(0))
    expect(seen(obtained(moment(1000), 400, undefined, token(), before), moment(minute)).absentAt).toBe(
      -Infinity
    )
  })

  it.each([
    ["ahead", -7000],
    ["behind", 7000]
  ])("shows a server's clock that is %s", (_, ahead) => {
    const age = obtained(moment(1000), 1000, start - ahead)
    expect(seen(age, moment(minute)).ahead).toEqual(Option.some(ahead))
  })

  it.each([
    [0, true],
    [clockTolerance, true],
    [-clockTolerance, true],
    [clockTolerance + 1, false],
    [-clockTolerance - 1, false]
  ])("shows no clock any more once ours was set: by %d ms", (set, counts) => {
    const age = obtained(moment(0), 0, start)
    expect(Option.isSome(seen(age, moment(minute, set)).ahead)).toBe(counts)
  })

  it("leaves what is known of the server's clock for other tokens, also when none is held", () => {
    const gone = Age.read(obtained(moment(0), 0, start - 5), Option.none(), moment(1))
    expect(seen(gone, moment(1))).toEqual({ ...Expiry.noWitness, ahead: Option.some(5) })
  })

  it("measures by a new access token alone", () => {
    const first = obtained(moment(0), 0, start - 5)
    const rotated = obtained(moment(minute), 0, start - 90, token({ refreshToken: "rt-2" }), first)
    expect(seen(rotated, moment(minute)).ahead).toEqual(Option.some(5))
    expect(seen(rotated, moment(minute)).heldSince).toBe(start)
    const next = token({ accessToken: "at-2" })
    const renewed = obtained(moment(minute), 0, start - 90, next, first)
    expect(seen(renewed, moment(minute), next).ahead).toEqual(Option.some(minute + 90))
    const silent = obtained(moment(minute), 0, undefined, next, first)
    expect(seen(silent, moment(minute), next).ahead).toEqual(Option.some(5))
  })
})

describe("the server's time in a record", () => {
  const off = (by: number) => token({ serverTime: start - by })
  const stored = (before: Credentials.Credentials | undefined, after: Credentials.Credentials) =>
    Age.toStore(Option.fromNullable(before), after)
  const far = clockTolerance + 1

  it.each([
    ["our clock is wrong for the first time", undefined, off(far)],
    ["our clock is right", off(0), off(0)],
    ["our clock has just been set right", off(far), off(0)],
    ["our clock is nearly right, as ever", off(clockTolerance), off(clockTolerance)],
    ["our clock is wrong by more than before", off(far), off(far + clockTolerance + 1)],
    ["our clock is wrong the other way", off(far), off(-far)],
    ["the record before had no time of the server", token(), off(far)],
    ["the new one has no time of ours", off(far), token({ serverTime: start - far, obtainedAt: undefined })]
  ])("is kept if %s", (_, before, after) => {
    expect(stored(before, after)).toEqual(after)
  })

  it.each([
    ["by as much as before", off(far), off(far)],
    ["by nearly as much", off(far), off(far + clockTolerance)],
    ["by nearly as much, and less", off(far + clockTolerance), off(far)],
    ["behind, as before", off(-far), off(-far)]
  ])("is left out if our clock is always wrong: %s", (_, before, after) => {
    expect(stored(before, after)).toEqual(token())
  })
})
