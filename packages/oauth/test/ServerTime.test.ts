/**
 * The server's clock, which always differs from ours: read from its responses, and used only to act earlier.
 */
import { describe, expect, it } from "@effect/vitest"
import { RefreshLease } from "@latchkey/core"
import { Answer } from "@latchkey/oauth"
import { Effect, Option } from "effect"
import { inWorld, manager, recordingStorage } from "./support/world.js"

const second = 1000
const minute = 60 * second
const hour = 60 * minute

describe("clockSkew", () => {
  const now = 1_700_000_000_000
  const of = (date: string | undefined, took = 0) =>
    Answer.clockSkew(
      Answer.make({
        endpoint: "https://as.test/token",
        status: 200,
        headers: date === undefined ? {} : { date },
        text: "",
        receivedAt: now + took
      }),
      now
    )
  const at = (millis: number) => new Date(millis).toUTCString()

  it.each([
    ["the same second", of(at(now)), 0, 0],
    ["less than a second behind, as a Date is cut to its second", of(at(now), 999), 0, 0],
    ["a second ahead", of(at(now + second)), second, 0],
    ["ahead by no more than the answer took", of(at(now + 9 * second), 9 * second), 0, 0],
    ["ahead by more than the answer took", of(at(now + 9 * second), 4 * second), 5 * second, 0],
    ["a second behind", of(at(now - second)), 0, second],
    ["behind, however long the answer took", of(at(now - 9 * second), 20 * second), 0, 9 * second],
    ["5 minutes ahead", of(at(now + 5 * minute)), 5 * minute, 0],
    ["an hour ahead", of(at(now + hour)), 5 * minute, 0],
    ["a year behind", of(at(now - 365 * 24 * hour)), 0, 5 * minute],
    ["no Date", of(undefined), 0, 0],
    ["a Date that is none", of("yesterday"), 0, 0]
  ])("%s", (_, skew, ahead, behind) => {
    expect(skew).toEqual({ ahead, behind })
  })
})

describe("a manager", () => {
  /** A token of so long from a server so far ahead, or behind: for how long it is to be used, and when it was due. */
  const life = (lifetime: number, clockSkew: number) =>
    inWorld({ accessTokenLifetime: lifetime, clockSkew }, (server) =>
      Effect.gen(function* () {
        const { storage } = yield* recordingStorage()
        const of = yield* manager({ storage, lease: yield* RefreshLease.makeProcess })
        yield* of.save(yield* server.issueGrant())
        yield* of.refresh
        const { expiresAt } = Option.getOrThrow(yield* of.credentials)
        const left = Option.getOrThrow((yield* of.status).expiresInSeconds)
        for (let waited = 0; ; waited += second) {
          yield* of.getAccessToken
          if ((yield* server.counts).refreshes > 1) return { left, dueAfter: waited / second, expiresAt }
          yield* Effect.sleep(second)
        }
      })
    )

  it.live.each([
    ["agree", 10 * minute, 0, 600, 480],
    [
      "server 3 minutes ahead: due 3 minutes earlier, and not expired before",
      20 * minute,
      3 * minute,
      1200,
      900
    ],
    ["server an hour ahead: no more than 5 minutes are believed", hour, hour, 3600, 3180],
    ["server ahead of half a short life: due at half of it", minute, 3 * minute, 60, 30],
    ["server 3 minutes behind: expires 3 minutes earlier", 20 * minute, -3 * minute, 1020, 900],
    ["server an hour behind: no more than 5 minutes are believed", hour, -hour, 3300, 3180],
    ["server far behind a short life: a quarter of it", minute, -hour, 45, 15]
  ] as const)("clocks %s", ([, lifetime, skew, left, dueAfter]) =>
    Effect.gen(function* () {
      expect(yield* Effect.orDie(life(lifetime, skew))).toMatchObject({ left, dueAfter })
    })
  )
})
