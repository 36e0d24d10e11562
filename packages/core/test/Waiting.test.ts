/** A flight that waits for another holder of the lease: its reads decide whether it still needs the lease. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, type TokenStorage } from "@latchkey/core"
import { Option, Redacted } from "effect"
import * as State from "../src/grant/State.js"
import { step } from "../src/grant/Step.js"
import { minute, start } from "./support/Bench.js"
import { policy } from "./support/Policy.js"

const held = (
  life: number,
  accessToken = "access",
  wait: Option.Option<Entry.ServerWait> = Option.none()
): TokenStorage.Versioned => ({
  entry: new Entry.Entry({
    ...Entry.first(
      Credentials.make({
        accessToken,
        refreshToken: "refresh",
        obtainedAt: start - minute,
        expiresAt: start + life
      })
    ),
    serverWait: wait
  }),
  version: "1" as TokenStorage.Version
})

const asked = Option.some(new Entry.ServerWait({ at: start, until: start + 5 * minute }))

/** The answer of the machine to what it reads while it waits. */
const reads = (force: boolean, stored: TokenStorage.Versioned) =>
  step(
    policy,
    {
      ...State.initial,
      memory: { _tag: "Read", stored: Option.some(held(-1)), at: start - 1 },
      phase: {
        _tag: "Waiting",
        goal: {
          _tag: "Refresh",
          want: { force, minValidity: 0, had: Option.some(Redacted.make("access")), yields: false }
        },
        since: start,
        pause: 20,
        isReading: true
      }
    },
    { _tag: "Loaded", loaded: Option.some(stored), writes: 0 },
    start
  )

describe("what a flight reads while another process holds the lease", () => {
  it.each([
    ["the old token: it takes the lease, if it is free by now", false, held(-1), "TakeLease"],
    ["the old token, although a new one was forced", true, held(-1), "TakeLease"]
  ] as const)("%s", (_, force, stored, command) => {
    const next = reads(force, stored)
    expect(Option.map(next.command, ({ _tag }) => _tag)).toEqual(Option.some(command))
    expect(Option.isNone(next.released)).toBe(true)
  })

  it.each([false, true])("a new token: it is over, without a failure; forced: %s", (force) => {
    const next = reads(force, held(10 * minute, "another"))
    expect(next.command).toEqual(Option.none())
    expect(next.state.phase).toEqual({ _tag: "Idle" })
    expect(next.released).toEqual(Option.some({ failure: Option.none() }))
  })

  it.each([false, true])("the server's wait: it is over, and has failed; forced: %s", (force) => {
    const next = reads(force, held(force ? 10 * minute : -1, "access", asked))
    expect(next.command).toEqual(Option.none())
    expect(next.state.phase).toEqual({ _tag: "Idle" })
    const failure = Option.flatMap(next.released, (release) => release.failure)
    expect(failure).toMatchObject({
      value: {
        _tag: "Decided",
        decision: { _tag: "CoolDown", reason: "ServerAsked", until: start + 5 * minute }
      }
    })
  })
})
