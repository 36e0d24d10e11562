/** A refresh whose response nobody saw: the process died, or the response was lost on its way. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Redacted, Stream, TestClock } from "effect"
import { Entry, RotationPolicy, type TokenEvent, type TokenManager } from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import {
  bench,
  grant,
  minute,
  overTime,
  peerWrites,
  rotate,
  settle,
  start,
  stored,
  token
} from "./support/Bench.js"

const { fail } = ScriptedRefresher

const window = RotationPolicy.rotating("30 seconds")

/** What a process leaves that died between the request and the commit, `ago` milliseconds before the start. */
const leftBehind = (ago: number, expiresIn = 10 * minute): Entry.Entry => {
  const entry = Entry.first(grant(1, expiresIn))
  const fingerprint = Entry.grantFingerprint(entry.credentials)
  return new Entry.Entry({
    ...entry,
    intent: Option.some(new Entry.Intent({ fingerprint, at: start - ago, attempt: 1 }))
  })
}

const intentIn = (storage: Parameters<typeof stored>[0]) =>
  Effect.map(storage.load, (loaded) => Option.getOrThrow(Option.map(loaded, ({ entry }) => entry.intent)))

const collect = (manager: TokenManager.Manager) =>
  Effect.gen(function* () {
    const events: Array<TokenEvent.TokenEvent> = []
    yield* Effect.forkScoped(Stream.runForEach(manager.events, (e) => Effect.sync(() => events.push(e))))
    yield* settle
    return events
  })

describe("a crash", () => {
  it.scoped("in the window: the next process asks for the answer at once, though the token is not due", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({ entry: leftBehind(5000), rotation: window })
      const events = yield* collect(manager)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* settle
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-101", intent: false })
      expect(events.find((e) => e._tag === "Refreshing")).toMatchObject({ why: "AnswerLost", attempt: 2 })
    })
  )

  it.scoped("outside the window: the token is served to its end, and the grant is not touched before", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({ entry: leftBehind(30_000), rotation: window })
      for (let i = 0; i < 20; i++) {
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* TestClock.adjust(minute / 2)
        if (i === 17) {
          yield* manager.credentials
          expect((yield* manager.explain).text).toContain("the answer to a refresh was lost")
        }
      }
      expect(yield* calls.count).toBe(0)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-101", intent: false })
    })
  )

  it.scoped(
    "outside the window, and the server has ended the grant: the error says exactly what happened",
    () =>
      Effect.gen(function* () {
        const { calls, manager, storage } = yield* bench({
          entry: leftBehind(minute),
          rotation: window,
          script: [fail("GrantDead", { message: "The server said invalid_grant." })]
        })
        yield* TestClock.adjust(10 * minute)
        const error = yield* Effect.flip(manager.getAccessToken)
        expect(error).toMatchObject({ _tag: "ReauthorizationRequired", reason: "RotationLost" })
        expect(error.message).toBe(
          "The answer to a refresh was lost, and the authorization server ended the grant: the request of " +
            "2023-11-14T22:12:20.000Z may have replaced the refresh token, but its answer never arrived; " +
            "the old one was sent again, after the end of the 30 s in which the server accepts " +
            "a repeat. The server said invalid_grant. Log in again and save the new credentials to memory; " +
            "nothing there was deleted."
        )
        yield* TestClock.adjust(minute)
        expect((yield* Effect.flip(manager.getAccessToken)).message).toBe(error.message)
        expect(yield* calls.count).toBe(1)
        expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-1", dead: true })
      })
  )

  it.scoped("where the refresh token stays: it is refreshed when it is due, and nothing can be lost", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        entry: leftBehind(minute),
        rotation: RotationPolicy.reusable,
        script: [fail("GrantDead")]
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* settle
      expect(yield* calls.count).toBe(0)
      yield* TestClock.adjust(8 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* calls.count).toBe(1)
      yield* TestClock.adjust(2 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "GrantDead" })
    })
  )

  it.scoped("a note about another refresh token than the one that is stored means nothing", () =>
    Effect.gen(function* () {
      const left = leftBehind(5000)
      const entry = new Entry.Entry({ ...left, credentials: grant(2, 10 * minute) })
      const { calls, manager } = yield* bench({ entry, rotation: window })
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
      yield* settle
      expect(yield* calls.count).toBe(0)
    })
  )
})

describe("renewal without being asked", () => {
  const renewed = (setup: Parameters<typeof bench>[0]) => bench({ ...setup, manager: { renew: true } })

  it.scoped("asks for a lost answer at once in the window, though nobody asks for a token", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* renewed({ entry: leftBehind(5000), rotation: window })
      yield* manager.credentials
      yield* settle
      yield* TestClock.adjust(2000)
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-101", intent: false })
    })
  )

  it.scoped("leaves the grant alone outside of it until the token has expired", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* renewed({ entry: leftBehind(minute), rotation: window })
      yield* manager.credentials
      for (let i = 0; i < 19; i++) {
        yield* TestClock.adjust(minute / 2)
        yield* settle
      }
      yield* TestClock.adjust(minute / 2 - 1)
      expect(yield* calls.count).toBe(0)
      yield* TestClock.adjust(3000)
      yield* settle
      expect(yield* calls.count).toBe(1)
    })
  )
})

describe("an answer that is lost on its way", () => {
  it.scoped("in the window: is asked for again in the grace, and again, until it is there", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        rotation: window,
        script: [fail("MaybeSent"), fail("NotSent"), fail("Transient"), fail("MaybeSent"), rotate(5)]
      })
      const events = yield* collect(manager)
      yield* TestClock.adjust(8 * minute)
      const began = start + 8 * minute
      const seen: Array<unknown> = []
      for (let i = 0; i < 30; i++) {
        yield* token(manager.getAccessToken)
        const { at, attempt } = Option.getOrElse(yield* intentIn(storage), () => ({ at: 0, attempt: 0 }))
        seen[yield* calls.count] = [at - began, attempt]
        yield* TestClock.adjust(1000)
      }
      expect(yield* token(manager.getAccessToken)).toBe("at-105")
      // A request that was not sent, or got "try again", shows nothing about the response lost before it.
      const fourth = events.filter((e) => e._tag === "Refreshing")[3]!.at - began
      expect(seen.slice(1, 5)).toEqual([
        [0, 1],
        [0, 1],
        [0, 1],
        [fourth, 2]
      ])
      expect(events.filter((e) => e._tag === "Refreshing").map((e) => e.attempt)).toEqual([1, 2, 2, 2, 3])
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-105", intent: false })
    })
  )

  it.scoped("without a window: the token is served to its end, then the replay is the last resort", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("MaybeSent"), rotate(2)]
      })
      yield* TestClock.adjust(8 * minute)
      for (let i = 0; i < 120; i++) {
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* TestClock.adjust(1000)
      }
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage)).intent).toBe(true)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
      expect(Option.getOrThrow(yield* stored(storage)).intent).toBe(false)
    })
  )

  it.scoped(
    "without a window: the replay comes early where a refresh is asked for, or the token rejected",
    () =>
      Effect.gen(function* () {
        for (const ask of [
          (m: TokenManager.Manager) => m.refresh,
          (m: TokenManager.Manager) => m.reject(Redacted.make("at-1"))
        ]) {
          const { calls, manager } = yield* bench({
            initial: grant(1, 10 * minute),
            script: [fail("MaybeSent"), rotate(2)]
          })
          yield* TestClock.adjust(8 * minute)
          yield* manager.getAccessToken
          yield* TestClock.adjust(1000)
          expect(yield* token(manager.getAccessToken)).toBe("at-1")
          const error = yield* Effect.flip(manager.getAccessTokenFor({ minValidity: "3 minutes" }))
          expect(error).toMatchObject({ reason: "CoolingDown", retryAt: start + 10 * minute })
          expect(error.message).toContain("when the token has expired")
          expect(yield* calls.count).toBe(1)
          expect(yield* token(ask(manager))).toBe("at-102")
        }
      })
  )

  it.scoped(
    "a forced refresh that was lost long before the token is due is asked for again in the window",
    () =>
      Effect.gen(function* () {
        const { calls, manager } = yield* bench({
          initial: grant(1, 60 * minute),
          rotation: window,
          script: [fail("MaybeSent"), rotate(2)]
        })
        expect(yield* Effect.flip(manager.refresh)).toMatchObject({ reason: "MaybeSent" })
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* settle
        expect(yield* calls.count).toBe(1)
        yield* TestClock.adjust(1000)
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* settle
        expect(yield* token(manager.getAccessToken)).toBe("at-102")
        expect(yield* calls.count).toBe(2)
      })
  )

  it.scoped("after many failures the pause is still short enough for the window", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 60 * minute),
        rotation: window,
        config: { refreshGrace: "25 minutes" },
        script: (n) => (n === 12 ? rotate(12) : n === 11 ? fail("MaybeSent") : fail("NotSent"))
      })
      yield* TestClock.adjust(35 * minute)
      for (let i = 0; (yield* calls.count) < 10 && i < 100; i++) {
        yield* manager.getAccessToken
        yield* TestClock.adjust(20_000)
      }
      expect(yield* calls.count).toBe(10)
      yield* TestClock.adjust(5 * minute)
      yield* manager.getAccessToken
      expect(yield* calls.count).toBe(11)
      yield* TestClock.adjust(7500)
      expect(yield* token(manager.getAccessToken)).toBe("at-112")
    })
  )

  it.scoped("what is known not to have been sent is no lost answer, though storage does not take that", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("NotSent"), rotate(2)],
        faults: [{ operation: "commit", call: 2 }]
      })
      yield* TestClock.adjust(8 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(Option.getOrThrow(yield* stored(storage)).intent).toBe(true)
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
      expect(yield* calls.count).toBe(2)
    })
  )

  it.scoped("while a refresh is under way, its own note is none: callers wait for it as ever", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 3000 })]
      })
      yield* TestClock.adjust(8 * minute)
      const tokens = yield* overTime(
        Effect.all([token(manager.getAccessToken), Effect.delay(token(manager.getAccessToken), 1000)], {
          concurrency: 2
        }),
        3000
      )
      expect(tokens).toEqual(["at-101", "at-101"])
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("a peer's note, while that peer is at it: the token is served, and the answer adopted", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({ initial: grant(1, 10 * minute) })
      yield* TestClock.adjust(9 * minute)
      yield* peerWrites(storage, (e) => new Entry.Entry({ ...e, intent: leftBehind(-9 * minute).intent }))
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute, start + 9 * minute)))
      yield* settle
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
      expect(yield* calls.count).toBe(0)
    })
  )
})
