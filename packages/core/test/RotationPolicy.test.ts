import { describe, expect, it } from "@effect/vitest"
import { Duration, Option } from "effect"
import * as Entry from "@latchkey/core/Entry"
import type { Fingerprint } from "@latchkey/core/Fingerprint"
import * as RotationPolicy from "@latchkey/core/RotationPolicy"
import * as Replay from "../src/grant/Replay.js"

const now = 1_700_000_000_000
const minute = 60_000

const noted = (at: number, attempt = 1) =>
  Option.some(new Entry.Intent({ fingerprint: "0123456789ab" as Fingerprint, at, attempt }))

describe("constructors", () => {
  it("no window unless one is given", () => {
    expect(RotationPolicy.rotating()).toEqual({ _tag: "Rotating", window: Duration.zero })
    expect(RotationPolicy.rotating("1 minute")).toEqual({ _tag: "Rotating", window: Duration.minutes(1) })
    expect(RotationPolicy.reusable).toEqual({ _tag: "Reusable" })
  })
})

describe("replay", () => {
  it.each([
    ["begun now", 0, true],
    ["begun 1 ms ago", 1, true],
    ["1 ms before the end", minute - 1, true],
    ["at the end", minute, false],
    ["long ago", 1e12, false],
    ["begun in the future", -1, false],
    ["begun at no time", Number.NaN, false]
  ])("%s", (_, ago, open) => {
    const since = now - ago
    expect(Replay.replay(RotationPolicy.rotating("1 minute"), noted(since, 3), now)).toEqual(
      Option.some({ since, attempts: 3, until: since + minute, open })
    )
  })

  it("none without a note, and none where the refresh token stays", () => {
    expect(Replay.replay(RotationPolicy.rotating("1 minute"), Option.none(), now)).toEqual(Option.none())
    expect(Replay.replay(RotationPolicy.reusable, noted(now), now)).toEqual(Option.none())
  })

  it("a window of nothing is over at once, one without end never", () => {
    const open = (window: Duration.DurationInput, at: number) =>
      Option.exists(Replay.replay(RotationPolicy.rotating(window), noted(at), now), (r) => r.open)
    expect(open(0, now)).toBe(false)
    expect(open(Duration.infinity, 0)).toBe(true)
  })
})

describe("longestPause", () => {
  const lost = (attempts: number, open: boolean) =>
    Option.some({ since: now, attempts, until: now + minute, open })

  it.each([
    ["nothing lost", Option.none(), Infinity],
    ["the window open", lost(1, true), minute / 4],
    ["the window open, for the sixth time", lost(6, true), minute / 4],
    ["the window open, for the seventh time: no more haste", lost(7, true), Infinity],
    ["the window over", lost(1, false), Infinity]
  ])("%s", (_, replay, pause) => {
    expect(Replay.longestPause(replay)).toBe(pause)
  })
})

describe("describeLoss", () => {
  const lost = { since: now, attempts: 1, until: now + 30_000, open: true }
  it.each([
    [
      "in the window",
      lost,
      "the request of 2023-11-14T22:13:20.000Z may have replaced the refresh token, but its answer never arrived; the old one was sent again, within the 30 s in which the server accepts a repeat. It said no."
    ],
    [
      "after the window, several times",
      { ...lost, attempts: 3, open: false },
      "the request of 2023-11-14T22:13:20.000Z, the last of 3, may have replaced the refresh token, but its answer never arrived; the old one was sent again, after the end of the 30 s in which the server accepts a repeat. It said no."
    ],
    [
      "without a window",
      { ...lost, until: now, open: false },
      "the request of 2023-11-14T22:13:20.000Z may have replaced the refresh token, but its answer never arrived; the old one was sent again, as a last resort. It said no."
    ]
  ])("%s", (_, replay, words) => {
    expect(Replay.describeLoss(replay, "It said no.")).toBe(words)
  })

  it.each([
    [8.64e15, "+275760-09-13T00:00:00.000Z"],
    [-8.64e15, "-271821-04-20T00:00:00.000Z"],
    [8.64e15 + 1, "the request of an unknown time may"],
    [Number.NaN, "the request of an unknown time may"]
  ])("takes any time (%d)", (since, words) => {
    expect(Replay.describeLoss({ ...lost, since }, "")).toContain(words)
  })
})
