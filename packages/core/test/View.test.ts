/** What a decision sees of a state: marks and intents that count, and those that do not. */
import { describe, expect, it } from "@effect/vitest"
import { Entry } from "@latchkey/core"
import { State, View } from "@latchkey/core/internal-api"
import { Option } from "effect"
import type { Version } from "../src/TokenStorage.js"
import { grant, minute, start } from "./support/Bench.js"
import { policy } from "./support/Policy.js"

const entry = Entry.first(grant(1, minute))
const fingerprint = Entry.grantFingerprint(entry.credentials)
const intent = new Entry.Intent({ fingerprint, at: start, attempt: 1 })
const older = new Entry.Intent({ fingerprint, at: start - minute, attempt: 1 })

const holding = (changes: Partial<Entry.Entry> = {}, state: Partial<State.State> = {}): State.State => ({
  ...State.initial,
  memory: {
    _tag: "Read",
    stored: Option.some({ entry: new Entry.Entry({ ...entry, ...changes }), version: "1" as Version }),
    at: start
  },
  ...state
})

describe("the mark of a dead grant", () => {
  const dead = (of: Entry.Entry) =>
    Option.some(
      new Entry.DeadGrant({
        fingerprint: Entry.grantFingerprint(of.credentials),
        at: start,
        reason: "invalid_grant",
        rotationLost: false
      })
    )

  it.each([
    ["in storage", holding({ dead: dead(entry) }), true],
    ["not stored yet", holding({}, { dead: dead(entry) }), true],
    ["of another grant", holding({}, { dead: dead(Entry.first(grant(2, minute))) }), false]
  ])("counts for that grant: %s", (_, state, counts) => {
    expect(Option.isSome(View.heldOf(policy, state, start).dead)).toBe(counts)
    expect(Option.isSome(View.heldOf({ ...policy, needsRefreshToken: false }, state, start).dead)).toBe(false)
  })
})

describe("an intent in storage", () => {
  const marked = { intent: Option.some(intent) }
  const attempt = (tag: State.Phase["_tag"]) =>
    ({
      _tag: tag,
      attempt: { marked: Option.some({ entry: new Entry.Entry({ ...entry, ...marked }), version: "1" }) }
    }) as State.Phase

  it.each([
    ["is open", holding(marked), intent],
    ["is ours while its request is running", holding(marked, { phase: attempt("Redeeming") }), undefined],
    ["is another's before ours is written", holding(marked, { phase: attempt("Noting") }), intent],
    [
      "is settled once its outcome is known here",
      holding(marked, { ownIntent: Option.some({ intent, older: Option.none() }) }),
      undefined
    ],
    [
      "leaves the one that it replaced open",
      holding(marked, { ownIntent: Option.some({ intent, older: Option.some(older) }) }),
      older
    ],
    [
      "is open although another one of ours is settled",
      holding(marked, { ownIntent: Option.some({ intent: older, older: Option.none() }) }),
      intent
    ]
  ])("%s", (_, state, expected) => {
    expect(View.openIntentOf(state)).toEqual(Option.fromNullable(expected))
  })
})

it("a rotation that is not stored was never read", () => {
  const state: State.State = {
    ...State.initial,
    uncommitted: Option.some({ entry, base: Option.none() })
  }
  expect(View.heldOf(policy, state, start).loadedAt).toBe(-Infinity)
  expect(View.decide(policy, state, start, { force: false, minValidity: 0 })).toMatchObject({
    _tag: "Reload"
  })
})
