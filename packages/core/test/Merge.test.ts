/** How memory and storage become one state, and when its token is served without a decision. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, Fingerprint, TokenStorage } from "@latchkey/core"
import { Option, Redacted } from "effect"
import { mayReopen, reopen } from "../src/grant/FastPath.js"
import { lags, reconcile } from "../src/grant/Merge.js"
import type { Input } from "../src/grant/Messages.js"
import * as State from "../src/grant/State.js"
import { minute, start } from "./support/Bench.js"
import { policy } from "./support/Policy.js"

/** An entry with these tokens; `x2` is of access token `x` and refresh token `2`. */
const entryOf = (tokens: string, generation = 1, life = 10 * minute): Entry.Entry =>
  Entry.first(
    Credentials.make({
      accessToken: `access-${tokens[0]}`,
      refreshToken: `refresh-${tokens[1]}`,
      obtainedAt: start,
      expiresAt: start + life
    }),
    generation
  )
const family = (entry: Entry.Entry, name: string) => new Entry.Entry({ ...entry, family: name })
const stored = (entry: Entry.Entry): TokenStorage.Versioned => ({
  entry: family(entry, "one"),
  version: "1" as TokenStorage.Version
})
const some = (entry: Entry.Entry) => Option.some(stored(entry))

const read = (loaded: Option.Option<TokenStorage.Versioned>): State.Memory => ({
  _tag: "Read",
  stored: loaded,
  at: start - 1000
})
const troubled: Pick<State.State, "coolDown" | "dead" | "writes"> = {
  coolDown: Option.some({
    reason: "Failed",
    since: start,
    until: start + 1000,
    askedUntil: Option.none(),
    failures: 1
  }),
  dead: Option.some(
    new Entry.DeadGrant({
      fingerprint: Fingerprint.of(Redacted.make("spent")),
      at: start,
      reason: "dead",
      rotationLost: false
    })
  ),
  writes: 7
}
const newest = (tokens: string, generation = 1) => Option.some(family(entryOf(tokens, generation), "one"))

describe("a read of storage", () => {
  it.each<readonly [string, Partial<State.State>, Option.Option<TokenStorage.Versioned>]>([
    [
      "of what memory holds",
      { memory: read(some(entryOf("a1"))), newest: newest("a1") },
      some(entryOf("a1"))
    ],
    ["of what was there before memory was invalidated", { newest: newest("a1") }, some(entryOf("a1"))],
    ["of nothing, where nothing was known", { memory: read(Option.none()) }, Option.none()],
    [
      "that lags behind a rotation, whatever the newest entry was",
      {
        newest: newest("c3", 3),
        uncommitted: Option.some({ entry: family(entryOf("b2", 2), "one"), base: newest("a1") })
      },
      some(entryOf("a1"))
    ]
  ])("%s changes nothing", (_, state, loaded) => {
    const before = { ...State.initial, ...troubled, ...state }
    const merged = reconcile(policy, before, loaded, start)
    expect(merged).toMatchObject({
      _tag: "Unchanged",
      state: { ...troubled, uncommitted: before.uncommitted, memory: { stored: loaded, at: start } }
    })
  })

  it.each<readonly [string, Partial<State.State>, Option.Option<TokenStorage.Versioned>, boolean]>([
    ["another access token", { memory: read(some(entryOf("a1"))) }, some(entryOf("b1", 2)), true],
    ["another refresh token", { memory: read(some(entryOf("a1"))) }, some(entryOf("a2", 2)), true],
    [
      "what memory does not hold, though it was seen",
      { memory: read(some(entryOf("a1"))), newest: newest("b2", 2) },
      some(entryOf("b2", 2)),
      true
    ],
    [
      "a grant where it was removed",
      { memory: read(Option.none()), newest: newest("a1") },
      some(entryOf("a1")),
      false
    ],
    ["a grant for the first time", {}, some(entryOf("a1")), false],
    ["no grant any more", { memory: read(some(entryOf("a1"))) }, Option.none(), false],
    [
      "a peer's rotation, in the place of our own",
      {
        memory: read(some(entryOf("a1"))),
        uncommitted: Option.some({ entry: family(entryOf("b2", 2), "one"), base: newest("a1") })
      },
      some(entryOf("c3", 2)),
      true
    ]
  ])("that finds %s ends what was known of the old one", (_, state, loaded, isAdopted) => {
    const merged = reconcile(policy, { ...State.initial, ...troubled, ...state }, loaded, start)
    expect(merged).toMatchObject({
      _tag: "Changed",
      isAdopted,
      state: {
        writes: 8,
        coolDown: Option.none(),
        dead: Option.none(),
        uncommitted: Option.none(),
        newest: Option.map(loaded, ({ entry }) => entry),
        memory: { stored: loaded, at: start }
      }
    })
  })

  it("of an earlier state of the grant is a roll-back, unless it only lags behind our rotation", () => {
    const before: State.State = { ...State.initial, newest: newest("b2", 2) }
    expect(reconcile(policy, before, some(entryOf("a1")), start)).toEqual({ _tag: "RolledBack" })
    const uncommitted = { entry: family(entryOf("b2", 2), "one"), base: newest("a1") }
    const ahead = { ...before, uncommitted: Option.some(uncommitted) }
    expect(reconcile(policy, ahead, some(entryOf("a1")), start)._tag).toBe("Unchanged")
  })
})

describe("storage lags behind a rotation", () => {
  const rotation = (to: string, from: Option.Option<Entry.Entry>): State.Uncommitted => ({
    entry: family(entryOf(to, 2), "one"),
    base: from
  })
  it.each<readonly [string, State.Uncommitted, Option.Option<TokenStorage.Versioned>, boolean]>([
    ["while it holds the entry that was spent", rotation("b2", newest("a1")), some(entryOf("a1")), true],
    [
      "while it holds the spent token in another entry",
      rotation("b2", newest("a1")),
      some(entryOf("x1", 2)),
      true
    ],
    ["not once it holds another refresh token", rotation("b2", newest("a1")), some(entryOf("a3")), false],
    [
      "not where the token is of another login",
      rotation("b2", Option.some(family(entryOf("a1"), "two"))),
      some(entryOf("a1")),
      false
    ],
    ["not once it is empty", rotation("b2", newest("a1")), Option.none(), false],
    ["while it is empty, where nothing was spent", rotation("b2", Option.none()), Option.none(), true],
    [
      "not once it holds a grant, where nothing was spent",
      rotation("b2", Option.none()),
      some(entryOf("a1")),
      false
    ],
    ["while it holds the entry of a reusable token", rotation("b1", newest("a1")), some(entryOf("a1")), true],
    [
      "not once a peer wrote a newer entry of a reusable token",
      rotation("b1", newest("a1")),
      some(entryOf("c1", 2)),
      false
    ]
  ])("%s", (_, uncommitted, loaded, expected) => {
    expect(lags(uncommitted, loaded)).toBe(expected)
  })
})

describe("the token in memory is served without a decision", () => {
  const failed: Input = {
    _tag: "ObserveFailed",
    error: new TokenStorage.StorageError({
      reason: "Unavailable",
      operation: "load",
      location: "store",
      message: "down"
    })
  }
  const changed: Input = { _tag: "Changed" }
  const closed = { openFrom: Infinity, openUntil: -Infinity }
  const fresh: State.State = {
    ...State.initial,
    memory: { _tag: "Read", stored: some(entryOf("a1")), at: start }
  }
  const old: State.State = { ...fresh, memory: { _tag: "Read", stored: some(entryOf("a1")), at: -Infinity } }
  const ending: State.State = {
    ...State.initial,
    memory: { _tag: "Read", stored: some(entryOf("a1", 1, 400)), at: -Infinity }
  }
  const unread: State.State = {
    ...State.initial,
    uncommitted: Option.some({ entry: entryOf("a1"), base: Option.none() })
  }

  it.each<readonly [string, State.State, Input, Pick<State.State, "openFrom" | "openUntil">]>([
    ["while memory is fresh", fresh, changed, { openFrom: start, openUntil: start + 30_000 }],
    ["not once storage must be read", old, changed, closed],
    ["for a second after storage failed", old, failed, { openFrom: start, openUntil: start + 1000 }],
    ["to its end, where that is sooner", ending, failed, { openFrom: start, openUntil: start + 400 }],
    ["not where memory was invalidated", unread, failed, closed]
  ])("%s", (_, state, input, expected) => {
    expect(reopen(policy, state, input, start)).toMatchObject(expected)
  })

  it("no longer than a clock that was set back goes unnoticed", () => {
    const open = reopen({ ...policy, credentialsTtl: 10 * minute }, fresh, changed, start)
    expect(open.openUntil).toBe(start + Credentials.clockTolerance)
  })

  it("not once it has expired, although storage failed", () => {
    expect(reopen(policy, ending, failed, start + 400)).toMatchObject(closed)
  })

  it.each([{ openFrom: 0 }, { openUntil: 0 }])("whatever was the case before: %j", (before) => {
    const open = reopen(policy, fresh, changed, start)
    expect(reopen(policy, { ...open, ...before }, changed, start)).toEqual(open)
  })

  it.each([
    ["memory", { _tag: "Unread" }],
    ["uncommitted", Option.none()],
    ["coolDown", Option.none()],
    ["rejection", Option.none()],
    ["dead", Option.none()],
    ["ownIntent", Option.none()],
    ["age", { ...fresh.age }]
  ] as const)("is looked at again once what is known changes: %s", (field, value) => {
    // Another object, though it says the same.
    const after = { ...fresh, [field]: typeof value === "object" ? { ...value } : value } as typeof fresh
    expect(mayReopen(fresh, after, changed)).toBe(true)
  })

  it("is not looked at for what a flight does, but after storage failed", () => {
    const after: typeof fresh = { ...fresh, phase: { _tag: "Idle" } }
    expect(mayReopen(fresh, after, changed)).toBe(false)
    expect(mayReopen(fresh, after, failed)).toBe(true)
  })

  it("by the same state, where nothing changes", () => {
    const open = reopen(policy, fresh, changed, start)
    expect(reopen(policy, open, changed, start)).toBe(open)
  })
})
