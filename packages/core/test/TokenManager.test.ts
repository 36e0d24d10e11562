import { describe, expect, it } from "@effect/vitest"
import {
  Context,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Scope,
  Stream,
  TestClock
} from "effect"
import {
  Credentials,
  Entry,
  Profile,
  RefreshLease,
  TokenConfig,
  TokenManager,
  TokenStorage,
  type TokenEvent
} from "@latchkey/core"
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
import * as Edition from "./support/Edition.js"

const { fail } = ScriptedRefresher

/** A lease that anybody may have, and that takes `millis` to give back. */
const slowToRelease = (millis: number) => {
  let fence = 0
  const held = Effect.acquireRelease(
    Effect.sync(() => ({ fence: ++fence, isHeld: Effect.succeed(true) })),
    () => Effect.sleep(millis)
  )
  return RefreshLease.RefreshLease.of({ acquire: () => held })
}

describe("getAccessToken", () => {
  it.scoped("gives the stored token while it is not due", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust(8 * minute - 1)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped("refreshes at the grace, stores the rotation and counts the generation", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({ initial: grant(1, 10 * minute) })
      yield* TestClock.adjust(8 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage))).toEqual({
        access: "at-101",
        refresh: "rt-101",
        generation: 2,
        intent: false,
        dead: false
      })
    })
  )

  it.scoped("sends one request for 10,000 callers at expiry, and none of them fails", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 200 })]
      })
      yield* TestClock.adjust(10 * minute)
      const tokens = yield* overTime(
        Effect.forEach(Array.from({ length: 10_000 }), () => token(manager.getAccessToken), {
          concurrency: "unbounded"
        }),
        200
      )
      expect(new Set(tokens)).toEqual(new Set(["at-101"]))
      expect(tokens).toHaveLength(10_000)
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("goes on with the refresh when all of 10,000 callers but the last are interrupted", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const callers = yield* Effect.forEach(Array.from({ length: 10_000 }), () =>
        Effect.fork(token(manager.getAccessToken))
      )
      yield* settle
      yield* TestClock.adjust(500)
      yield* Fiber.interruptAll(callers.slice(0, -1))
      yield* TestClock.adjust(500)
      expect(yield* Fiber.join(callers.at(-1)!)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-101")
    })
  )

  it.scoped("stores the rotation although every caller has gone", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(manager.getAccessToken)
      yield* settle
      yield* Fiber.interrupt(caller)
      yield* TestClock.adjust(1000)
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-101")
    })
  )

  it.scoped("says what to do where there are no credentials", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench()
      const error = yield* Effect.flip(manager.getAccessToken)
      expect(error).toMatchObject({ _tag: "ReauthorizationRequired", reason: "NoCredentials" })
      expect(error.message).toBe("There are no credentials yet. Log in and save them to memory.")
    })
  )

  it.scoped("serves a token without refresh token to its end, then says so", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: Credentials.make({ accessToken: "at-1", obtainedAt: start, expiresAt: start + minute })
      })
      yield* TestClock.adjust(minute - 1)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust(1)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({
        reason: "NoRefreshToken",
        message:
          "The access token has expired and there is no refresh token. Log in again and save the new credentials to memory; nothing there was deleted."
      })
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped("reads storage again only once the credentials TTL has passed", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        manager: { watch: false }
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute)))
      yield* TestClock.adjust(29_999)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust(1)
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
    })
  )

  it.scoped("hears of another writer's change where storage can tell", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({ initial: grant(1, 10 * minute) })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* settle
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute)))
      yield* settle
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
    })
  )

  it.scoped("adopts what a peer refreshed instead of spending a token again", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        manager: { watch: false },
        config: { credentialsTtl: "1 hour" }
      })
      yield* manager.getAccessToken
      yield* TestClock.adjust(9 * minute)
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute, start + 9 * minute)))
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped("asks again where the new token expired before it could be served", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { expiresIn: 100 }), rotate(2)],
        // The process is stalled between the answer and its use: a commit that takes longer than the token lives.
        slowCommit: { call: 2, millis: 150 }
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* overTime(token(manager.getAccessToken), 150)).toBe("at-102")
      expect(yield* calls.count).toBe(2)
    })
  )

  it.scoped("refreshes once after a night's sleep, for all who ask", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      yield* manager.getAccessToken
      yield* TestClock.setTime(start + 9 * 60 * minute)
      const tokens = yield* Effect.all(
        Array.from({ length: 100 }, () => token(manager.getAccessToken)),
        { concurrency: "unbounded" }
      )
      expect(new Set(tokens)).toEqual(new Set(["at-101"]))
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("changes nothing but the next decision when the clock is set back", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      yield* TestClock.adjust(5 * minute)
      yield* manager.getAccessToken
      yield* TestClock.setTime(start - minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.setTime(start + 9 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
    })
  )

  const day = 24 * 60 * minute
  it.scoped.each([2 * 60 * minute, day, 3653 * day])(
    "renews at once what a clock that was %d ms ahead has dated, and serves it only if that fails (F49)",
    (ahead) =>
      Effect.gen(function* () {
        // Obtained just now, by a clock that was ahead and is set right.
        const { calls, manager } = yield* bench({
          initial: grant(1, 10 * minute, start + ahead),
          script: [fail("Transient"), rotate(2)]
        })
        expect((yield* manager.status).expiresInSeconds).toEqual(Option.some(600))
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        expect(yield* calls.count).toBe(1)
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        expect(yield* calls.count).toBe(1)
        yield* TestClock.adjust(minute)
        expect(yield* token(manager.getAccessToken)).toBe("at-102")
        expect(yield* token(manager.getAccessToken)).toBe("at-102")
        expect(yield* calls.count).toBe(2)
      })
  )

  it.scoped("serves such a token for no longer than it can live since it was first seen", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute, start + day),
        script: () => fail("Transient")
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust(10 * minute - 1)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust(1)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ _tag: "RefreshUnavailable" })
      expect((yield* manager.status).authenticated).toBe(false)
    })
  )
})

describe("getAccessTokenFor", () => {
  it.scoped("refreshes a token that lives for less than asked", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      yield* TestClock.adjust(4 * minute)
      expect(yield* token(manager.getAccessTokenFor({ minValidity: "5 minutes" }))).toBe("at-1")
      expect(yield* token(manager.getAccessTokenFor({ minValidity: "6 minutes" }))).toBe("at-101")
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("does not loop where the server's tokens are too short-lived", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      for (let i = 0; i < 5; i++) {
        expect(yield* Effect.flip(manager.getAccessTokenFor({ minValidity: "1 hour" }))).toMatchObject({
          _tag: "RefreshUnavailable",
          reason: "TooShortLived"
        })
      }
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped("is refreshed for a caller that joins another refresh at its end", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 0), lease: slowToRelease(5000) })
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      yield* TestClock.adjust(1000)
      const caller = yield* Effect.fork(token(manager.getAccessTokenFor({ minValidity: "599.5 seconds" })))
      yield* settle
      yield* TestClock.adjust(4000)
      expect(yield* Fiber.join(caller)).toBe("at-102")
      yield* TestClock.adjust(5000)
      expect(yield* calls.count).toBe(2)
    })
  )
})

describe("the grace", () => {
  it.scoped("refreshes for callers that join another refresh at its end: once, for all of them", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 0),
        lease: slowToRelease(9 * minute)
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      yield* TestClock.adjust(9 * minute - 5000)
      const callers = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 10 }, () => token(manager.getAccessToken)),
          { concurrency: "unbounded" }
        )
      )
      yield* settle
      expect(yield* calls.count).toBe(1)
      yield* TestClock.adjust(5000)
      expect(new Set(yield* Fiber.join(callers))).toEqual(new Set(["at-102"]))
      yield* TestClock.adjust(9 * minute)
      expect(yield* calls.count).toBe(2)
    })
  )

  it.scoped("does not wait for two refreshes beyond its patience", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 0),
        script: [rotate(1), rotate(2, { after: 25_000 })],
        lease: slowToRelease(9 * minute),
        config: { patience: "8 seconds" }
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      yield* TestClock.adjust(9 * minute - 5000)
      const caller = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      yield* TestClock.adjust(5000)
      yield* settle
      expect(yield* calls.count).toBe(2)
      yield* TestClock.adjust(2999)
      expect(yield* Edition.poll(caller)).toEqual(Option.none())
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(caller)).toBe("at-101")
      yield* TestClock.adjust(22_000)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
      yield* TestClock.adjust(9 * minute)
    })
  )

  it.scoped("serves the valid token when the refresh fails, and cools down", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("Transient"), fail("NotSent"), rotate(3)]
      })
      yield* TestClock.adjust(8 * minute)
      for (let i = 0; i < 10; i++) expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* calls.count).toBe(1)
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* calls.count).toBe(2)
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* calls.count).toBe(2)
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-103")
    })
  )

  it.scoped("does not wait for a slow refresh beyond its patience", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 25_000 })],
        config: { patience: "2 seconds" }
      })
      yield* TestClock.adjust(8 * minute)
      expect(yield* overTime(token(manager.getAccessToken), 2000)).toBe("at-1")
      yield* TestClock.adjust(23_000)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
    })
  )

  it.scoped("waits on, past its patience, where the token expires meanwhile", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 20_000 })],
        config: { patience: "10 seconds" }
      })
      yield* TestClock.adjust(10 * minute - 5000)
      expect(yield* overTime(token(manager.getAccessToken), 20_000)).toBe("at-101")
    })
  )

  it.scoped("in background mode serves at once and refreshes behind, once", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 5000 })],
        config: { refreshMode: "background", jitter: 0 }
      })
      yield* TestClock.adjust(8 * minute)
      for (let i = 0; i < 10; i++) expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* settle
      expect(yield* calls.count).toBe(1)
      yield* TestClock.adjust(5000)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
    })
  )

  it.scoped("in background mode cools down after a failure like any other", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: () => fail("Transient"),
        config: { refreshMode: "background", jitter: 0 }
      })
      yield* TestClock.adjust(8 * minute)
      for (let i = 0; i < 10; i++) {
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* settle
      }
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("spreads the refreshes of a fleet over the grace in background mode", () =>
    Effect.gen(function* () {
      const dueAt = (instance: string) =>
        Effect.gen(function* () {
          const { calls, manager } = yield* bench({
            initial: grant(1, 10 * minute),
            config: { refreshMode: "background", instance }
          })
          yield* TestClock.adjust(8 * minute)
          for (let second = 0; second <= 120; second++) {
            yield* manager.getAccessToken
            yield* settle
            if ((yield* calls.count) > 0) return second
            yield* TestClock.adjust(1000)
          }
          return -1
        }).pipe(Effect.scoped)
      const seconds = yield* Effect.forEach(["a", "b", "c", "d", "e", "f"], dueAt)
      expect(seconds.every((s) => s >= 0 && s <= 60)).toBe(true)
      expect(new Set(seconds).size).toBeGreaterThan(3)
      expect(yield* dueAt("a")).toBe(seconds[0])
    })
  )
})

describe("failures after expiry", () => {
  it.scoped("tells the retry time, honours Retry-After, and posts nothing before it", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("Transient", { status: 429, retryAfter: "90 seconds" }), rotate(2)]
      })
      yield* TestClock.adjust(10 * minute)
      const error = yield* Effect.flip(manager.getAccessToken)
      expect(error).toMatchObject({
        _tag: "RefreshUnavailable",
        reason: "Transient",
        retryAt: start + 10 * minute + 90_000
      })
      yield* TestClock.adjust(89_999)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({
        reason: "CoolingDown",
        retryAt: start + 10 * minute + 90_000
      })
      expect(yield* Effect.flip(manager.refresh)).toMatchObject({ reason: "CoolingDown" })
      expect(yield* calls.count).toBe(1)
      yield* TestClock.adjust(1)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
    })
  )

  it.scoped("doubles its own cool-down up to the maximum", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: () => fail("MaybeSent"),
        config: { coolDownBase: "1 second", coolDownMax: "10 seconds" }
      })
      yield* TestClock.adjust(10 * minute)
      const waits: Array<number> = []
      for (let i = 0; i < 6; i++) {
        const error = yield* Effect.flip(manager.getAccessToken)
        const at = yield* Effect.clockWith((c) => c.currentTimeMillis)
        if (error._tag === "RefreshUnavailable") waits.push(error.retryAt - at)
        yield* TestClock.adjust(waits[i]!)
      }
      expect(yield* calls.count).toBe(6)
      expect(waits.map((w) => w / waits[0]!).map((r) => Math.round(r * 10) / 10)).toEqual([
        1, 2, 4, 8, 10, 10
      ])
      expect(waits[0]).toBeLessThanOrEqual(1000)
      expect(waits[0]).toBeGreaterThanOrEqual(750)
    })
  )

  it.scoped("an explicit refresh passes our own cool-down", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("NotSent"), rotate(2)]
      })
      yield* TestClock.adjust(10 * minute)
      yield* Effect.flip(manager.getAccessToken)
      expect(yield* token(manager.refresh)).toBe("at-102")
    })
  )

  it.scoped("gives the refresher a deadline, and does not hang on one that never answers", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [{ never: true }, rotate(2)]
      })
      yield* TestClock.adjust(10 * minute)
      const error = yield* overTime(Effect.flip(manager.getAccessToken), 30_000)
      expect(error).toMatchObject({ _tag: "RefreshUnavailable", reason: "MaybeSent" })
      expect(Option.getOrThrow(yield* stored(storage)).intent).toBe(true)
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
      expect(Option.getOrThrow(yield* stored(storage)).intent).toBe(false)
    })
  )

  it.scoped("survives a refresher that dies, without telling what it died of", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [
          {
            answer: () => {
              throw new Error("canary-in-a-defect")
            }
          },
          rotate(2)
        ]
      })
      yield* TestClock.adjust(10 * minute)
      const exit = yield* Effect.exit(manager.getAccessToken)
      expect(Exit.isFailure(exit)).toBe(true)
      expect(JSON.stringify(exit)).not.toContain("canary")
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
    })
  )

  it.scoped("cools down, longer each time, where a refresh brings nothing new", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: () => ScriptedRefresher.answer({ accessToken: "at-1", expiresAt: start + 10 * minute })
      })
      yield* TestClock.adjust(8 * minute)
      for (let i = 0; i < 110; i++) {
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* TestClock.adjust(1000)
      }
      expect(yield* calls.count).toBeLessThanOrEqual(8)
      yield* TestClock.adjust(10 * minute)
      yield* Effect.flip(manager.getAccessToken)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "CoolingDown" })
    })
  )
})

describe("a dead grant", () => {
  it.scoped("is posted once, marked, kept, and not posted again until storage changes", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("GrantDead", { message: "the server said invalid_grant" }), rotate(2)]
      })
      yield* TestClock.adjust(10 * minute)
      for (let i = 0; i < 20; i++) {
        const error = yield* Effect.flip(manager.getAccessToken)
        expect(error).toMatchObject({ _tag: "ReauthorizationRequired", reason: "GrantDead" })
        yield* TestClock.adjust(minute)
      }
      yield* Effect.flip(manager.refresh)
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({
        access: "at-1",
        refresh: "rt-1",
        dead: true,
        intent: false
      })
      expect((yield* manager.status).warnings).toContain("GrantDead")
      yield* peerWrites(storage, () => Entry.first(grant(5, 10 * minute)))
      yield* TestClock.adjust(1)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
    })
  )

  it.scoped("serves its token to the end", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("GrantDead")]
      })
      yield* TestClock.adjust(8 * minute)
      for (let i = 0; i < 5; i++) {
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* TestClock.adjust(20_000)
      }
      yield* TestClock.adjust(minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "GrantDead" })
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("is not posted by the next process either", () =>
    Effect.gen(function* () {
      const first = yield* bench({ initial: grant(1, 10 * minute), script: [fail("GrantDead")] })
      yield* TestClock.adjust(10 * minute)
      yield* Effect.flip(first.manager.getAccessToken)
      const entry = Option.getOrThrow(yield* first.storage.load).entry
      const second = yield* bench({ script: [rotate(1)] })
      yield* second.storage.commit(entry, Option.none())
      yield* TestClock.setTime(start + 10 * minute)
      expect(yield* Effect.flip(second.manager.getAccessToken)).toMatchObject({ reason: "GrantDead" })
      expect(yield* second.calls.count).toBe(0)
    })
  )

  it.scoped("is not dead if a peer has rotated it: the peer's credentials are adopted", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("GrantDead", { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute, start + 10 * minute)))
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toBe("at-2")
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-2", dead: false })
    })
  )

  it.scoped("is no grant at all if a peer has removed it by then", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("GrantDead", { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(Effect.flip(manager.getAccessToken))
      yield* settle
      yield* storage.remove
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toMatchObject({ reason: "NoCredentials" })
    })
  )

  it.scoped("tells when the answer to an earlier refresh had been lost", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("MaybeSent"), fail("GrantDead")]
      })
      yield* TestClock.adjust(10 * minute)
      yield* Effect.flip(manager.getAccessToken)
      yield* TestClock.adjust(2000)
      const error = yield* Effect.flip(manager.getAccessToken)
      expect(error).toMatchObject({ _tag: "ReauthorizationRequired", reason: "RotationLost" })
      expect(error.message).toContain("lost")
    })
  )

  it.scoped("stays dead in memory where the mark cannot be stored", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: () => fail("GrantDead"),
        faults: [{ operation: "commit", call: (n) => n > 1 }]
      })
      yield* TestClock.adjust(10 * minute)
      for (let i = 0; i < 5; i++) {
        expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "GrantDead" })
        yield* TestClock.adjust(minute)
      }
      expect(yield* calls.count).toBe(1)
    })
  )
})

describe("storage that fails", () => {
  it.scoped("serves the valid token from memory, and does not ask storage each time", () =>
    Effect.gen(function* () {
      let loads = 0
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        faults: [{ operation: "load", call: (n) => n > 1 && ++loads > 0 }],
        manager: { watch: false }
      })
      yield* manager.getAccessToken
      yield* TestClock.adjust(minute)
      for (let i = 0; i < 100; i++) expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(loads).toBe(1)
      expect(yield* manager.isAuthenticated).toBe(true)
      yield* TestClock.adjust(9 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({
        _tag: "StorageError",
        reason: "Unavailable"
      })
    })
  )

  it.scoped("spends no token where storage cannot be written", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        faults: [{ operation: "commit", call: 1, reason: "Denied" }]
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({
        _tag: "StorageError",
        reason: "Denied"
      })
      expect(yield* calls.count).toBe(0)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "CoolingDown" })
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
    })
  )

  it.scoped("does not try to write a read-only storage for each caller in the grace", () =>
    Effect.gen(function* () {
      let commits = 0
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        faults: [{ operation: "commit", call: () => ++commits > 0, reason: "Denied" }]
      })
      yield* TestClock.adjust(8 * minute)
      for (let i = 0; i < 100; i++) expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(commits).toBe(1)
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped("keeps a rotation that could not be saved, serves it, says so, and saves it later", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        faults: [{ operation: "commit", call: (n) => n >= 2 && n <= 6 }]
      })
      const events = yield* Effect.fork(
        Stream.runCollect(Stream.takeUntil(manager.events, (e) => e._tag === "Saved"))
      )
      yield* TestClock.adjust(10 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-1", intent: true })
      expect((yield* manager.status).warnings).toEqual(["Unsaved"])
      yield* manager.invalidate
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      yield* TestClock.adjust(minute)
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-101", intent: false })
      expect((yield* manager.status).warnings).toEqual([])
      const tags = Array.from(yield* Fiber.join(events)).map((e) => e._tag)
      expect(tags.indexOf("SaveFailed")).toBeGreaterThan(tags.indexOf("Refreshed"))
      expect(tags.at(-1)).toBe("Saved")
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("takes breath between its attempts to save, also where nothing is to cool down", () =>
    Effect.gen(function* () {
      let commits = 0
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        faults: [{ operation: "commit", call: (n) => (commits = n) >= 2 && n < 1_000 }],
        config: { coolDownBase: 0 }
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      const before = commits
      yield* Effect.repeatN(settle, 20)
      expect(commits).toBe(before)
      yield* TestClock.adjust("10 seconds")
      expect(commits).toBeGreaterThan(before)
    })
  )

  it.scoped("tells nobody to log in because memory was dropped while the lease was given back", () =>
    Effect.gen(function* () {
      const inner = yield* RefreshLease.makeProcess
      const slowToEnd = Effect.addFinalizer(() => Effect.sleep(1000))
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        lease: { acquire: (account, ttl) => Effect.tap(inner.acquire(account, ttl), () => slowToEnd) }
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      yield* manager.invalidate
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("keeps a rotation although memory was dropped while its answer was under way", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      yield* manager.invalidate
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toBe("at-101")
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-101", intent: false })
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("waits as long as the server asked for although memory was dropped", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("Transient", { retryAfter: "1 minute" }), rotate(2)]
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "Transient" })
      yield* manager.invalidate
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "CoolingDown" })
      yield* TestClock.adjust(minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
      expect(yield* calls.count).toBe(2)
    })
  )

  it.scoped("does not bring back a grant that another removed while memory was dropped", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(Effect.flip(manager.getAccessToken))
      yield* settle
      yield* manager.invalidate
      yield* storage.remove
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toMatchObject({ reason: "NoCredentials" })
      expect(yield* stored(storage)).toEqual(Option.none())
    })
  )

  it.scoped("stores an unsaved rotation before it spends the next token", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        config: { coolDownBase: "1 hour", coolDownMax: "1 hour" },
        faults: [{ operation: "commit", call: (n) => n >= 2 && n <= 4 }]
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      yield* TestClock.adjust(10 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ _tag: "StorageError" })
      expect(yield* calls.count).toBe(1)
      yield* Effect.flip(manager.refresh)
      expect(yield* token(manager.refresh)).toBe("at-102")
      const previous = yield* calls.all
      expect(
        previous.map((p) => Redacted.value(Option.getOrThrow(Option.getOrThrow(p).refreshToken)))
      ).toEqual(["rt-1", "rt-101"])
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-102")
    })
  )

  it.scoped("saves at the latest when its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { manager, storage } = yield* Scope.extend(
        bench({
          initial: grant(1, 10 * minute),
          faults: [{ operation: "commit", call: (n) => n === 2 || n === 3 }],
          config: { coolDownBase: "1 hour", coolDownMax: "1 hour" }
        }),
        scope
      )
      yield* TestClock.adjust(10 * minute)
      yield* manager.getAccessToken
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-1")
      yield* Scope.close(scope, Exit.void)
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-101")
    })
  )

  it.scoped("takes a commit whose answer was lost for what it is", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        faults: [{ operation: "commit", call: 2, when: "after" }]
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      yield* TestClock.adjust(minute)
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-101")
      expect((yield* manager.status).warnings).toEqual([])
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("does not spend the token of a storage that went back in time", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({ initial: grant(1, 10 * minute) })
      const backup = Option.getOrThrow(yield* storage.load).entry
      yield* TestClock.adjust(10 * minute)
      yield* manager.getAccessToken
      yield* peerWrites(storage, () => backup)
      yield* TestClock.adjust(minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      yield* TestClock.adjust(10 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "RolledBack" })
      expect(yield* calls.count).toBe(1)
      yield* manager.save(grant(9, 10 * minute, start + 21 * minute))
      expect(yield* token(manager.getAccessToken)).toBe("at-9")
    })
  )

  it.scoped("saves a usable refresh token before it judges the rest of an answer", () =>
    Effect.gen(function* () {
      const salvaged = Credentials.make({
        accessToken: "at-1",
        refreshToken: "rt-salvaged",
        obtainedAt: start,
        expiresAt: start + 10 * minute
      })
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [fail("Malformed", { salvaged }), rotate(2)]
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "Malformed" })
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-salvaged")
      yield* TestClock.adjust(minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
      const last = (yield* calls.all).at(-1)!
      expect(Redacted.value(Option.getOrThrow(Option.getOrThrow(last).refreshToken))).toBe("rt-salvaged")
    })
  )
})

describe("two managers of one grant", () => {
  const two = (options: { readonly after: number; readonly tells?: "changes" | "nothing" | "no word" }) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const memory = yield* TokenStorage.makeMemory(Option.some(Entry.first(grant(1, 10 * minute))))
      const changes =
        options.tells === "nothing"
          ? Option.none()
          : options.tells === "no word"
            ? Option.some(Stream.never)
            : memory.changes
      const services = yield* Layer.build(
        Layer.mergeAll(
          Layer.succeed(TokenStorage.TokenStorage, { ...memory, changes }),
          RefreshLease.layerProcess,
          TokenConfig.layer({ instance: "test" }),
          ScriptedRefresher.layer((n) => rotate(n, options))
        )
      )
      const make = Effect.provide(TokenManager.make({ account: "shared" }), services)
      return {
        a: yield* make,
        b: yield* make,
        calls: Context.get(services, ScriptedRefresher.RefreshCalls),
        lease: Context.get(services, RefreshLease.RefreshLease)
      }
    })

  it.scoped("the second has the token as soon as the first has written it, where storage tells", () =>
    Effect.gen(function* () {
      const { a, b, calls } = yield* two({ after: 12_345 })
      yield* TestClock.adjust(10 * minute)
      const first = yield* Effect.fork(token(a.getAccessToken))
      yield* settle
      const second = yield* Effect.fork(token(b.getAccessToken))
      yield* settle
      for (let i = 0; i < 12; i++) {
        yield* TestClock.adjust(1000)
        yield* settle
      }
      yield* TestClock.adjust(345)
      yield* settle
      expect(Option.isSome(yield* Edition.poll(second))).toBe(true)
      expect([yield* Fiber.join(first), yield* Fiber.join(second)]).toEqual(["at-101", "at-101"])
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped.each(["nothing", "no word"] as const)(
    "the second looks for itself where storage tells %s",
    (tells) =>
      Effect.gen(function* () {
        const { a, b, calls } = yield* two({ after: 5000, tells })
        yield* TestClock.adjust(10 * minute)
        const both = yield* Effect.fork(
          Effect.all([token(a.getAccessToken), token(b.getAccessToken)], { concurrency: 2 })
        )
        for (let i = 0; i < 60; i++) {
          yield* settle
          yield* TestClock.adjust(100)
        }
        expect(Option.isSome(yield* Edition.poll(both))).toBe(true)
        expect(yield* Fiber.join(both)).toEqual(["at-101", "at-101"])
        expect(yield* calls.count).toBe(1)
      })
  )

  it.scoped("send one request: the second waits for what the first writes", () =>
    Effect.gen(function* () {
      const { a, b, calls } = yield* two({ after: 300 })
      yield* TestClock.adjust(10 * minute)
      const both = yield* Effect.fork(
        Effect.all([token(a.getAccessToken), token(b.getAccessToken)], { concurrency: 2 })
      )
      for (let i = 0; i < 20; i++) {
        yield* settle
        yield* TestClock.adjust(50)
      }
      expect(yield* Fiber.join(both)).toEqual(["at-101", "at-101"])
      expect(yield* calls.count).toBe(1)
      expect(yield* calls.mostAtOnce).toBe(1)
    })
  )

  it.scoped("do not wait for ever for a holder that does not come back", () =>
    Effect.gen(function* () {
      const { a, calls, lease } = yield* two({ after: 0 })
      yield* TestClock.adjust(10 * minute)
      yield* lease.acquire("shared", "1 hour")
      const caller = yield* Effect.fork(Effect.flip(a.getAccessToken))
      for (let i = 0; i < 60; i++) {
        yield* settle
        yield* TestClock.adjust(1000)
      }
      expect(yield* Fiber.join(caller)).toMatchObject({ _tag: "RefreshUnavailable", reason: "LeaseBusy" })
      expect(yield* calls.count).toBe(0)
    })
  )
})

describe("refresh and reject", () => {
  it.scoped("reject of a new token, before its refresh has ended, is followed by another refresh", () =>
    Effect.gen(function* () {
      const inner = yield* RefreshLease.makeProcess
      const slowToEnd = Effect.addFinalizer(() => Effect.sleep(1000))
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        lease: { acquire: (account, ttl) => Effect.tap(inner.acquire(account, ttl), () => slowToEnd) }
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      const rejecter = yield* Effect.fork(token(manager.reject(Redacted.make("at-101"))))
      yield* settle
      yield* TestClock.adjust(1000)
      yield* settle
      yield* TestClock.adjust(1000)
      // The first caller is not delayed by the end of its refresh.
      expect(yield* Fiber.join(caller)).toBe("at-101")
      expect(yield* Fiber.join(rejecter)).toBe("at-102")
      expect(yield* calls.count).toBe(2)
    })
  )

  it.scoped("refresh is not content with the end of another's refresh that was not needed any more", () =>
    Effect.gen(function* () {
      const inner = yield* RefreshLease.makeProcess
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        lease: { acquire: (account, ttl) => Effect.delay(inner.acquire(account, ttl), 1000) }
      })
      yield* TestClock.adjust(10 * minute)
      const first = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      yield* peerWrites(storage, (entry) =>
        Entry.refreshed(entry, grant(2, 10 * minute, start + 10 * minute))
      )
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
      const forced = yield* Effect.fork(token(manager.refresh))
      yield* settle
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(first)).toBe("at-2")
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(forced)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("refresh brings a new token whatever is held, once for all who ask together", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: (n) => rotate(n, { after: 100 })
      })
      const tokens = yield* overTime(
        Effect.all(
          Array.from({ length: 50 }, () => token(manager.refresh)),
          { concurrency: "unbounded" }
        ),
        100
      )
      expect(new Set(tokens)).toEqual(new Set(["at-101"]))
      expect(yield* calls.count).toBe(1)
      expect(yield* overTime(token(manager.refresh), 100)).toBe("at-102")
    })
  )

  it.scoped("reject refreshes only if that token is still the current one", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      const old = yield* manager.getAccessToken
      expect(yield* token(manager.reject(old))).toBe("at-101")
      expect(yield* token(manager.reject(old))).toBe("at-101")
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped(
    "a forced one that joins another at its end brings a new token, though memory is dropped meanwhile",
    () =>
      Effect.gen(function* () {
        const { calls, manager } = yield* bench({
          initial: grant(1, 0),
          lease: slowToRelease(1000)
        })
        const first = yield* Effect.fork(manager.getAccessToken)
        yield* settle
        // Nobody else is to read storage when the refresh ends.
        yield* Fiber.interrupt(first)
        expect(yield* token(manager.getAccessToken)).toBe("at-101")
        const forced = yield* Effect.fork(token(manager.refresh))
        yield* settle
        yield* manager.invalidate
        yield* TestClock.adjust(1000)
        yield* TestClock.adjust(1000)
        expect(yield* Fiber.join(forced)).toBe("at-102")
        expect(yield* calls.count).toBe(2)
      })
  )

  it.scoped("reject sends one request for many who were refused the same token", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 100 })]
      })
      const old = yield* manager.getAccessToken
      const tokens = yield* overTime(
        Effect.all(
          Array.from({ length: 100 }, () => token(manager.reject(old))),
          { concurrency: "unbounded" }
        ),
        100
      )
      expect(new Set(tokens)).toEqual(new Set(["at-101"]))
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("cools down where fresh tokens are rejected again and again", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      const first = yield* manager.getAccessToken
      const second = yield* manager.reject(first)
      const error = yield* Effect.flip(manager.reject(second))
      expect(error).toMatchObject({ _tag: "RefreshUnavailable", reason: "CoolingDown" })
      expect(error.message).toContain("audience")
      for (let i = 0; i < 100; i++) yield* Effect.flip(manager.reject(second))
      expect(yield* calls.count).toBe(1)
      yield* TestClock.adjust(1000)
      expect(yield* token(manager.getAccessToken)).toBe("at-102")
    })
  )
})

/** A manager over an empty memory that asks `profiles`. */
const withProfiles = (profiles: Layer.Layer<Profile.ProfileSource>) =>
  TokenManager.make().pipe(
    Effect.provide(
      Layer.mergeAll(
        profiles,
        TokenStorage.layerMemory,
        RefreshLease.layerProcess,
        TokenConfig.layer(),
        ScriptedRefresher.layer([])
      )
    )
  )

describe("a manager and its grant", () => {
  it.scoped("cached status is never stale after save, clear, refresh and expiry", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({ config: { credentialsTtl: "1 hour", statusTtl: "1 hour" } })
      expect((yield* manager.cachedStatus).authenticated).toBe(false)
      yield* manager.save(grant(1, minute))
      expect((yield* manager.cachedStatus).authenticated).toBe(true)
      expect((yield* manager.cachedStatus).expiresAt).toEqual(Option.some(start + minute))
      yield* manager.refresh
      expect((yield* manager.cachedStatus).expiresAt).toEqual(Option.some(start + 10 * minute))
      yield* TestClock.adjust(10 * minute - 1)
      expect((yield* manager.cachedStatus).authenticated).toBe(true)
      yield* TestClock.adjust(1)
      expect((yield* manager.cachedStatus).authenticated).toBe(false)
      yield* manager.save(grant(3, minute, start + 10 * minute))
      expect((yield* manager.cachedStatus).authenticated).toBe(true)
      expect(yield* manager.clear).toBe(true)
      expect(yield* manager.cachedStatus).toMatchObject({
        authenticated: false,
        reason: Option.some("NoCredentials")
      })
      expect(yield* manager.clear).toBe(false)
    })
  )

  it.scoped("cached status answers from memory until its TTL", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({ initial: grant(1, 10 * minute), manager: { watch: false } })
      const before = yield* manager.cachedStatus
      yield* storage.remove
      yield* TestClock.adjust(59_999)
      expect(yield* manager.cachedStatus).toBe(before)
      yield* TestClock.adjust(1)
      expect((yield* manager.cachedStatus).authenticated).toBe(false)
    })
  )

  it.scoped("a login during a refresh wins over the refresh", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      yield* manager.save(grant(7, 10 * minute, start + 10 * minute))
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toBe("at-7")
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-7")
    })
  )

  it.scoped("a grant that is cleared during a refresh stays cleared", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(Effect.either(manager.getAccessToken))
      yield* settle
      expect(yield* manager.clear).toBe(true)
      yield* TestClock.adjust(1000)
      expect(Either.isLeft(yield* Fiber.join(caller))).toBe(true)
      expect(Option.isNone(yield* storage.load)).toBe(true)
      expect(Option.isNone(yield* manager.credentials)).toBe(true)
    })
  )

  it.scoped("a grant that a peer removes during a refresh stays removed", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [rotate(1, { after: 1000 })]
      })
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(Effect.either(manager.getAccessToken))
      yield* settle
      yield* storage.remove
      yield* TestClock.adjust(1000)
      expect(Either.isLeft(yield* Fiber.join(caller))).toBe(true)
      expect(Option.isNone(yield* storage.load)).toBe(true)
    })
  )

  it.effect("closing the scope waits for the refresh and its commit", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { manager, storage } = yield* Scope.extend(
        bench({ initial: grant(1, 10 * minute), script: [rotate(1, { after: 1000 })] }),
        scope
      )
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* settle
      expect(yield* Effect.flip(manager.refresh)).toMatchObject({ reason: "Closed" })
      yield* TestClock.adjust(1000)
      yield* Fiber.join(closing)
      expect(yield* Fiber.join(caller)).toBe("at-101")
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-101")
    })
  )

  it.effect("closing the scope is bounded, and keeps the journal of a refresh without an answer", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { manager, storage } = yield* Scope.extend(
        bench({
          initial: grant(1, 10 * minute),
          script: [{ never: true }],
          config: { refreshTimeout: "20 seconds" }
        }),
        scope
      )
      yield* TestClock.adjust(10 * minute)
      const caller = yield* Effect.fork(Effect.flip(manager.getAccessToken))
      yield* settle
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* settle
      yield* TestClock.adjust(25_000)
      yield* Fiber.join(closing)
      expect(yield* Fiber.join(caller)).toMatchObject({ _tag: "RefreshUnavailable" })
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-1", intent: true })
    })
  )

  it.scoped("a refresh without an answer ends in time, and may have been seen by the server", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [{ never: true }],
        config: { refreshTimeout: "20 seconds" }
      })
      yield* TestClock.adjust(10 * minute)
      expect(yield* overTime(Effect.flip(manager.getAccessToken), 20_000)).toMatchObject({
        reason: "MaybeSent",
        message: expect.stringContaining("No answer within 20s")
      })
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-1", intent: true })
    })
  )

  it.scoped("peeks without refreshing, and synchronously for code outside Effect", () =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, 10 * minute) })
      expect(Option.isNone(manager.unsafePeek())).toBe(true)
      yield* manager.getAccessToken
      yield* settle
      yield* manager.getAccessToken
      expect(Option.map(manager.unsafePeek(), Redacted.value)).toEqual(Option.some("at-1"))
      yield* TestClock.adjust(9 * minute)
      expect(Option.isNone(manager.unsafePeek())).toBe(true)
      expect(Option.map(yield* manager.peekAccessToken, Redacted.value)).toEqual(Option.some("at-1"))
      yield* TestClock.adjust(minute)
      expect(yield* manager.peekAccessToken).toEqual(Option.none())
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped.each([
    ["at", 120_000, "; the grace of 120 s is not shorter than the token's lifetime: Latchkey uses 60 s"],
    ["below", 120_001, ""]
  ] as const)("39 a grace %s a token's lifetime of %d ms is clamped, and said", ([, expiresIn, said]) =>
    Effect.gen(function* () {
      const { calls, manager } = yield* bench({ initial: grant(1, expiresIn) })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* calls.count).toBe(0)
      expect((yield* manager.status).warnings).toEqual(said === "" ? [] : ["GraceClamped"])
      const { text } = yield* manager.explain
      expect(text.slice(text.indexOf(" s") + 2)).toBe(said)
    })
  )

  it.scoped("explains what it would do, and when it looks again", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        config: { credentialsTtl: "1 hour" }
      })
      expect(yield* manager.explain).toMatchObject({
        decision: { _tag: "Reload" },
        ifUnchanged: Option.none(),
        looksAgainAt: Option.some(start),
        text: "read storage again (nothing is in memory)",
        history: []
      })
      yield* manager.credentials
      yield* settle
      yield* manager.credentials
      expect(yield* manager.explain).toMatchObject({
        decision: { _tag: "Use" },
        looksAgainAt: Option.some(start + 8 * minute),
        text: "use the token in memory; look again in 480 s",
        location: "memory"
      })
      yield* TestClock.adjust(9 * minute)
      expect((yield* manager.explain).text).toContain("within the grace")
      yield* TestClock.adjust(minute)
      const { ifUnchanged, text } = yield* manager.explain
      expect(Option.map(ifUnchanged, (d) => d._tag)).toEqual(Option.some("Refresh"))
      expect(text).toBe(
        "read storage again (the token in memory has expired); if storage has not changed, refresh (the token has " +
          "expired); meanwhile there is no valid token"
      )
    })
  )

  it.scoped("explains what happened last: the last 32 events, without a secret", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({ initial: grant(1, 10 * minute), script: (n) => rotate(n) })
      yield* manager.refresh
      const { history } = yield* manager.explain
      expect(history.map((e) => e._tag)).toEqual(["Refreshing", "Refreshed", "Saved"])
      for (let i = 0; i < 20; i++) yield* manager.refresh
      const later = (yield* manager.explain).history
      expect(later).toHaveLength(32)
      expect(later.at(-1)).toMatchObject({ _tag: "Saved", generation: 22 })
      expect(JSON.stringify(later)).not.toMatch(/at-1|rt-1/)
    })
  )

  it.scoped("needs no credentials where the refresher needs none", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        needsRefreshToken: false,
        script: (n) => ScriptedRefresher.answer({ accessToken: `at-${n}`, expiresIn: 10 * minute })
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust(10 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
      expect(yield* calls.count).toBe(2)
      expect(Option.getOrThrow(yield* stored(storage)).access).toBe("at-2")
    })
  )

  it.scoped("tells the profile of the account, and the last one without I/O", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      let fetched = 0
      const profiles = Layer.succeed(Profile.ProfileSource, {
        fetch: (c) =>
          Effect.sync(() => {
            fetched++
            return Profile.make({
              provider: "x",
              accountId: Option.getOrUndefined(c.accountId),
              email: "a@example.com"
            })
          }),
        quick: (c) => Profile.fromCredentials("x", c)
      })
      const manager = yield* withProfiles(profiles)
      expect(yield* manager.cachedProfile).toEqual(Option.none())
      yield* manager.save(grant(1, 10 * minute))
      expect(Option.getOrThrow(yield* manager.cachedProfile).email).toEqual(Option.none())
      expect((yield* manager.profile).email).toEqual(Option.some("a@example.com"))
      expect(Option.getOrThrow(yield* manager.cachedProfile).email).toEqual(Option.some("a@example.com"))
      expect(fetched).toBe(1)
      yield* manager.clear
      expect(yield* manager.cachedProfile).toEqual(Option.none())
    })
  )

  it.scoped("keeps no profile of a grant that went while it was asked for", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const profiles = Layer.succeed(Profile.ProfileSource, {
        fetch: (c) => Effect.as(settle, Profile.fromCredentials("x", c)),
        quick: (c) => Profile.fromCredentials("x", c)
      })
      const manager = yield* withProfiles(profiles)
      for (let steps = 0; steps < 20; steps++) {
        yield* manager.save(grant(1, 10 * minute))
        const asking = yield* Effect.fork(Effect.either(manager.profile))
        yield* Effect.repeatN(Effect.yieldNow(), steps)
        yield* manager.clear
        const told = yield* Fiber.join(asking)
        if (Either.isLeft(told)) expect(told.left).toMatchObject({ reason: "NoCredentials" })
        expect(yield* manager.cachedProfile).toEqual(Option.none())
      }
    })
  )

  it.scoped("several managers in one program have each its own tag", () =>
    Effect.gen(function* () {
      class Github extends TokenManager.Tag("test/Github")<Github>() {}
      class Gitlab extends TokenManager.Tag("test/Gitlab")<Gitlab>() {}
      const services = (n: number) =>
        Layer.mergeAll(
          Layer.effect(
            TokenStorage.TokenStorage,
            TokenStorage.makeMemory(Option.some(Entry.first(grant(n, 10 * minute))))
          ),
          RefreshLease.layerProcess,
          TokenConfig.layer(),
          ScriptedRefresher.layer([])
        )
      yield* TestClock.setTime(start)
      const tokens = yield* Effect.all([
        token(Effect.flatMap(Github, (m) => m.getAccessToken)),
        token(Effect.flatMap(Gitlab, (m) => m.getAccessToken))
      ]).pipe(
        Effect.provide(
          Layer.merge(
            Layer.provide(TokenManager.layerFor(Github), services(1)),
            Layer.provide(TokenManager.layerFor(Gitlab), services(2))
          )
        )
      )
      expect(tokens).toEqual(["at-1", "at-2"])
    })
  )

  it.scoped("tells one who listens too slowly what happened last", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({ initial: grant(1, 10 * minute) })
      const pull = yield* Stream.toPull(manager.events)
      const first = yield* Effect.fork(pull)
      yield* settle
      yield* manager.refresh
      yield* Fiber.join(first)
      // Three events each: more than are kept for it.
      for (let n = 0; n < 100; n++) yield* manager.refresh
      yield* manager.clear
      const seen: Array<TokenEvent.TokenEvent> = []
      while (seen.at(-1)?._tag !== "Cleared") seen.push(...(yield* pull))
      expect(seen.length).toBeLessThanOrEqual(256)
    })
  )

  it.scoped("tells what happens as it happens", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({ initial: grant(1, 10 * minute) })
      const seen: Array<TokenEvent.TokenEvent> = []
      yield* Effect.forkScoped(Stream.runForEach(manager.events, (e) => Effect.sync(() => void seen.push(e))))
      yield* settle
      yield* manager.refresh
      yield* manager.clear
      yield* settle
      expect(seen.map((e) => e._tag)).toEqual(["Refreshing", "Refreshed", "Saved", "Cleared"])
      expect(seen[1]).toMatchObject({ rotated: true, took: 0, expiresAt: start + 10 * minute })
    })
  )
})

describe("a lease within one process", () => {
  it.effect("must last for a positive, finite time", () =>
    Effect.gen(function* () {
      const lease = yield* RefreshLease.makeProcess
      for (const ttl of [0, -1, Infinity, Number.NaN]) {
        const error = yield* Effect.flip(Effect.scoped(lease.acquire("me", ttl)))
        expect(error.reason).toBe("Misconfigured")
      }
    })
  )
})
