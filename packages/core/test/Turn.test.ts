/** What a caller does next once the flight that it joined has ended. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, type TokenStorage } from "@latchkey/core"
import { Option, Redacted } from "effect"
import type { CoolingDown } from "../src/grant/BackOff.js"
import * as Decision from "../src/grant/Decision.js"
import * as State from "../src/grant/State.js"
import * as Turn from "../src/grant/Turn.js"
import { minute, start } from "./support/Bench.js"
import { policy as plainPolicy } from "./support/Policy.js"

const policy: State.Policy = { ...plainPolicy, grace: minute }
const patience = 10_000

const holding = (accessToken: string, life: number): State.Memory => ({
  _tag: "Read",
  stored: Option.some({
    entry: Entry.first(
      Credentials.make({
        accessToken,
        refreshToken: "refresh",
        obtainedAt: start + life - 10 * minute,
        expiresAt: start + life
      })
    ),
    version: "1" as TokenStorage.Version
  }),
  at: start
})

const idle: State.State = { ...State.initial, answers: 1, memory: holding("old", minute / 2) }

/** The flight is over but for the release of its lease: its answer, which is due by now, was there already. */
const releasing: State.State = {
  ...idle,
  phase: { _tag: "Releasing", lease: { fence: 1 }, failure: Option.none(), retries: Option.none() }
}

const plain = Decision.anyValid
const forced = { ...plain, force: true }
/** A request that the old token does not serve, although it is valid. */
const long = { ...plain, minValidity: 2 * minute }

/** A caller on its first turn. */
const joins = (request: Decision.Request, state = releasing): Turn.Caller => {
  const turn = Turn.first(policy, state, request, start, patience)
  if (turn._tag !== "Join") throw new Error(`The caller does not join: ${turn._tag}`)
  return turn.caller
}

const busy: State.Failure = {
  _tag: "Unavailable",
  reason: "LeaseBusy",
  retryAt: start,
  message: "busy",
  cause: undefined
}

const coolDown: CoolingDown = {
  since: start,
  until: start + minute,
  askedUntil: Option.none(),
  reason: "Failed",
  failures: 1
}

interface Case {
  readonly name: string
  readonly caller?: Turn.Caller
  /** What the flight left. */
  readonly state?: Partial<State.State>
  readonly failure?: State.Failure
  readonly policy?: Partial<State.Policy>
  /** The token that the caller is served, the other turn, or for how long it waits for another flight. */
  readonly turn: string | number
}

const cases: ReadonlyArray<Case> = [
  { name: "no refresh was made for it: it joins again, with its patience", turn: patience },
  { name: "one was made, which brought a token that is due: served", state: { answers: 2 }, turn: "old" },
  { name: "the flight failed: served the old token", failure: busy, turn: "old" },
  { name: "the flight was its own: served", caller: joins(plain, idle), turn: "old" },
  {
    name: "another process wrote a good token: served",
    state: { memory: holding("new", 9 * minute) },
    turn: "new"
  },
  {
    name: "another process wrote a token that is due: it joins again",
    state: { memory: holding("new", minute / 2) },
    turn: patience
  },
  {
    name: "nothing may be sent for now: served",
    state: { coolDown: Option.some(coolDown) },
    turn: "old"
  },
  { name: "the refresh may be made behind it: served", policy: { mode: "background" }, turn: "old" },
  { name: "it has joined often: served", caller: { ...joins(plain), flights: 5 }, turn: "old" },
  {
    name: "it has waited for a part of its patience: for the rest of it",
    policy: { uptime: 4000 },
    turn: 6000
  },
  { name: "its patience is over: no longer", policy: { uptime: 12_000 }, turn: 0 },
  {
    name: "no token serves it: it joins again, however long that takes",
    caller: joins(long),
    turn: Infinity
  },
  {
    name: "no token serves it, and it has joined often: it fails",
    caller: { ...joins(long), flights: 5 },
    turn: "TooShort"
  },
  {
    name: "nobody knows how old its token is: it joins again, however long that takes",
    state: { memory: holding("new", 20 * minute) },
    turn: Infinity
  },
  {
    name: "a forced refresh: it joins again, however long that takes",
    caller: joins(forced),
    turn: Infinity
  },
  {
    name: "a forced refresh, and the flight failed: so has it",
    caller: joins(forced),
    failure: busy,
    turn: "Unavailable"
  },
  {
    name: "a forced refresh, and another process wrote a token, though one that is due: served",
    caller: joins(forced),
    state: { memory: holding("new", minute / 2) },
    turn: "new"
  },
  {
    name: "a forced refresh, and memory was dropped: it joins again",
    caller: joins(forced),
    state: { memory: { _tag: "Unread" } },
    turn: Infinity
  },
  {
    name: "its own brought a token that a resource server refused: it joins again, however long that takes",
    caller: joins(plain, idle),
    state: { rejection: Option.some({ token: Redacted.make("old"), at: start, count: 1 }) },
    turn: Infinity
  }
]

describe("a caller that needs a refresh, after the flight of others", () => {
  it.each(cases)("$name", ({ caller = joins(plain), failure, policy: other, state, turn }) => {
    const next = Turn.afterFlight(
      { ...policy, ...other },
      { ...idle, ...state },
      caller,
      Option.fromNullable(failure),
      start
    )
    switch (next._tag) {
      case "Serve":
        return expect(Redacted.value(next.token)).toBe(turn)
      case "Fail":
        return expect(next.failure._tag).toBe(turn)
      default:
        // The flight is over: the next one is its own.
        return expect(next).toMatchObject({
          _tag: "Join",
          patience: turn,
          caller: { joined: false, flights: 2, answers: 1 }
        })
    }
  })
})

describe("a caller that joins", () => {
  it.each([
    ["starts the flight", idle, false],
    ["comes to a flight of others", releasing, true]
  ])("%s", (_, state, joined) => {
    expect(joins(plain, state).joined).toBe(joined)
    const again = Turn.afterFlight(policy, state, joins(plain), Option.none(), start)
    expect(again).toMatchObject({ _tag: "Join", caller: { joined } })
  })
})

describe("a caller that meets an expiry while a refresh is under way", () => {
  const redeeming = (memory: State.Memory): State.State => ({
    ...idle,
    memory,
    phase: { _tag: "Redeeming", requestedAt: start, overdue: Option.none() } as State.Phase
  })

  it.each([
    ["just now: it joins", 0, "Join"],
    ["a moment ago: it joins", 99, "Join"],
    ["some time ago: it reads", 100, "Read"],
    ["by a clock that was set back since: it reads", -1, "Read"]
  ])("and storage was read %s", (_, ago, turn) => {
    const memory = { ...holding("old", -minute), at: start - ago } as State.Memory
    expect(Turn.first(policy, redeeming(memory), plain, start, patience)._tag).toBe(turn)
    expect(Turn.first(policy, { ...idle, memory }, plain, start, patience)._tag).toBe("Read")
  })
})
