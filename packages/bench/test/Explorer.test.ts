/** The explorer finds no violation in the published machine, and finds the errors of broken machines. */
import * as Entry from "@latchkey/core/Entry"
import { Decision, type Messages, type State, Step } from "@latchkey/core/internal-api"
import { Option } from "effect"
import { describe, expect, it } from "vitest"
import { inWords, search } from "../src/explorer/Search.js"
import * as Spaces from "../src/explorer/Spaces.js"
import type { Space } from "../src/explorer/World.js"
import { drawnIn, read, recording } from "./support/phases.js"

describe("every history of a small world", () => {
  const drawn = drawnIn(read("packages/core/docs/phases.md"))
  it.each(Spaces.small.map((space) => ({ space, name: JSON.stringify(space) })))(
    "keeps the invariants, and changes its phase only as drawn: $name",
    ({ space }) => {
      const seen = { made: new Set<string>(), phases: new Set<string>() }
      // A machine that counts on for ever has no end of states.
      const found = search({ ...space, step: recording(seen) }, 20_000)
      expect(inWords(found)).toBe("")
      expect(found.isWhole).toBe(true)
      expect(found.states).toBeGreaterThan(found.rests)
      expect(found.rests).toBeGreaterThan(0)
      expect([...seen.made].filter((change) => !drawn.includes(change))).toEqual([])
    }
  )
})

describe("a machine that is broken on purpose is found out, in words", () => {
  const space: Space = {
    server: "strict",
    processes: 2,
    faults: 1,
    callers: 1,
    forced: false,
    actions: 0,
    ticks: 0,
    skew: 0,
    token: "expired"
  }
  /** The machine that ships, but for what `alter` makes of a step. */
  const altered =
    (
      alter: (
        next: Messages.Next,
        input: Messages.Input,
        before: Parameters<typeof Step.step>[1]
      ) => Messages.Next
    ): typeof Step.step =>
    (policy, state, input, now) =>
      alter(Step.step(policy, state, input, now), input, state)

  const dead: State.Failure = {
    _tag: "Decided",
    decision: Decision.Reauthorize({ reason: "GrantDead", detail: "" })
  }

  it("the lease is released although the rotation is not stored", () => {
    const broken = altered((next, input, { phase }) => {
      if (phase._tag !== "Committing" || input._tag !== "CommitFailed") return next
      const { lease } = phase
      return {
        ...next,
        state: {
          ...next.state,
          phase: { _tag: "Releasing", lease, failure: Option.none(), retries: Option.none() }
        },
        command: Option.some({ _tag: "ReleaseLease", lease })
      }
    })
    expect(inWords(search({ ...space, step: broken }))).toBe(
      [
        "*** process 1 ended its flight with a rotation that is not stored:",
        "1. process 1: a caller wants a token",
        "2. process 1: a read for callers ends",
        "3. process 1: the lease is taken",
        "4. process 1: its commit is written",
        "5. process 1: the lease is confirmed",
        "6. process 1: the server answers with new tokens",
        "7. process 1: its commit fails",
        "8. process 1: its lease is released",
        ""
      ].join("\n")
    )
  })

  it.each<readonly [string, string, Partial<Space>, typeof Step.step]>([
    [
      "memory that is dropped takes a rotation with it",
      "dropped the rotation that it received",
      { actions: 1 },
      altered((next, input) =>
        input._tag === "Invalidated"
          ? { ...next, state: { ...next.state, uncommitted: Option.none() } }
          : next
      )
    ],
    [
      "an intent without an answer is overlooked",
      "says GrantDead, and the rotation was lost",
      {},
      (policy, state, input, now) =>
        Step.step(
          policy,
          state,
          input._tag === "Loaded"
            ? {
                ...input,
                loaded: Option.map(input.loaded, (stored) => ({
                  ...stored,
                  entry: new Entry.Entry({ ...stored.entry, intent: Option.none() })
                }))
              }
            : input,
          now
        )
    ],
    [
      "a token is served past its end",
      "serves a token that has expired",
      { ticks: 1, faults: 0 },
      altered((next) => ({ ...next, state: { ...next.state, openUntil: Infinity, openFrom: 0 } }))
    ],
    [
      "a sleep never ends",
      "somebody waits for ever",
      { faults: 0 },
      (policy, state, input, now) =>
        input._tag === "Woken"
          ? { state, command: Option.none(), events: [], released: Option.none() }
          : Step.step(policy, state, input, now)
    ],
    [
      "a request that fails is taken for the end of the grant",
      "asks for a new login (GrantDead), and the grant is alive",
      {},
      altered((next, input, { phase }) =>
        phase._tag === "Redeeming" && input._tag === "RefreshFailed"
          ? { ...next, released: Option.some({ failure: Option.some(dead) }) }
          : next
      )
    ]
  ])("%s", (_, what, more, broken) => {
    expect(inWords(search({ ...space, ...more, step: broken }))).toContain(what)
  })
})
