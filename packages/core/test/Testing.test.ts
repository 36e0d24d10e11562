import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import {
  Entry,
  RefreshLease,
  TokenConfig,
  TokenManager,
  TokenManagers,
  TokenRefresher,
  TokenStorage
} from "@latchkey/core"
import { FaultyStorage, ManualClock, ScriptedRefresher } from "@latchkey/core/testing"
import { grant, minute, overTime, rotate, start, token } from "./support/Bench.js"

describe("ManualClock", () => {
  const run = <A, E>(program: Effect.Effect<A, E, ManualClock.ManualClock>) =>
    Effect.runPromise(Effect.provide(program, ManualClock.layer(start)))

  it("moves only when told to, and wakes sleepers in order, each at its own time", () =>
    run(
      Effect.gen(function* () {
        const clock = yield* ManualClock.ManualClock
        const woken: Array<readonly [string, number]> = []
        const sleeper = (name: string, millis: number) =>
          Effect.sleep(millis).pipe(
            Effect.andThen(Clock.currentTimeMillis),
            Effect.map((now) => void woken.push([name, now - start]))
          )
        const fibers = yield* Effect.forEach(
          [
            ["late", 3000],
            ["early", 1000],
            ["never", 9000]
          ] as const,
          ([name, millis]) => Effect.fork(sleeper(name, millis))
        )
        expect(yield* Clock.currentTimeMillis).toBe(start)
        yield* clock.advance("5 seconds")
        expect(woken).toEqual([
          ["early", 1000],
          ["late", 3000]
        ])
        expect(yield* Clock.currentTimeMillis).toBe(start + 5000)
        yield* Fiber.interruptAll(fibers)
        yield* clock.set(start - minute)
        expect(yield* Clock.currentTimeMillis).toBe(start - minute)
      })
    ))

  it("moves a manager through expiry outside a test's own clock", () =>
    run(
      Effect.gen(function* () {
        const clock = yield* ManualClock.ManualClock
        const manager = yield* TokenManager.make()
        expect(yield* token(manager.getAccessToken)).toBe("at-1")
        yield* clock.advance("10 minutes")
        expect(yield* token(manager.getAccessToken)).toBe("at-101")
      }).pipe(
        Effect.scoped,
        Effect.provide(
          Layer.mergeAll(
            Layer.effect(
              TokenStorage.TokenStorage,
              TokenStorage.makeMemory(Option.some(Entry.first(grant(1, 10 * minute))))
            ),
            RefreshLease.layerProcess,
            TokenConfig.layer(),
            ScriptedRefresher.layer([rotate(1)])
          )
        )
      )
    ))
})

describe("ScriptedRefresher", () => {
  it.effect("answers, delays and fails in order, and tells what it was called with", () =>
    Effect.gen(function* () {
      const refresher = yield* TokenRefresher.TokenRefresher
      const calls = yield* ScriptedRefresher.RefreshCalls
      const first = grant(1, minute, 0)
      const answered = yield* overTime(refresher.refresh(Option.some(first)), 500)
      expect(Redacted.value(answered.accessToken)).toBe("at-101")
      expect(answered.accountId).toEqual(Option.some("acct-1"))
      expect(answered.expiresAt).toEqual(Option.some(500 + 10 * minute))
      expect(yield* Effect.flip(refresher.refresh(Option.some(answered)))).toMatchObject({
        reason: "NotSent"
      })
      const error = yield* Effect.flip(refresher.refresh(Option.none()))
      expect(error.message).toBe("The script has 2 steps; this was call 3.")
      expect(yield* calls.all).toEqual([Option.some(first), Option.some(answered), Option.none()])
      expect(yield* calls.mostAtOnce).toBe(1)
    }).pipe(
      Effect.provide(ScriptedRefresher.layer([rotate(1, { after: 500 }), ScriptedRefresher.fail("NotSent")]))
    )
  )
})

describe("FaultyStorage", () => {
  it.effect("fails at the calls it was told to, before or after the deed", () =>
    Effect.gen(function* () {
      const storage = yield* TokenStorage.TokenStorage
      expect(yield* Effect.flip(storage.load)).toMatchObject({ _tag: "StorageError", operation: "load" })
      expect(Option.isNone(yield* storage.load)).toBe(true)
      const entry = Entry.first(grant(1, minute))
      expect(yield* Effect.flip(storage.commit(entry, Option.none()))).toMatchObject({ reason: "Denied" })
      const done = Option.getOrThrow(yield* storage.load)
      expect(done.entry).toEqual(entry)
      expect(yield* Effect.flip(storage.commit(entry, Option.none()))).toMatchObject({ reason: "Conflict" })
      expect(yield* storage.remove).toBe(true)
    }).pipe(
      Effect.provide(
        Layer.provide(
          FaultyStorage.layer([
            { operation: "load", call: 1 },
            { operation: "commit", call: 1, when: "after", reason: "Denied" }
          ]),
          TokenStorage.layerMemory
        )
      )
    )
  )
})

describe("TokenManagers", () => {
  it.scoped("makes one manager an account, shares it, and releases it when idle", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const built: Array<string> = []
      const pool = yield* TokenManagers.make({
        idleTimeToLive: "30 seconds",
        services: (account) =>
          Layer.mergeAll(
            Layer.effect(
              TokenStorage.TokenStorage,
              Effect.suspend(() => {
                built.push(account)
                return TokenStorage.makeMemory(
                  Option.some(Entry.first(grant(Number(account.slice(5)), 10 * minute)))
                )
              })
            ),
            RefreshLease.layerProcess,
            TokenConfig.layer(),
            ScriptedRefresher.layer([])
          )
      })
      const tokens = yield* Effect.forEach(
        ["user-1", "user-2", "user-1", "user-1"],
        (account) => token(pool.getAccessToken(account)),
        { concurrency: "unbounded" }
      )
      expect(tokens).toEqual(["at-1", "at-2", "at-1", "at-1"])
      expect(built).toEqual(["user-1", "user-2"])
      expect([...(yield* pool.accounts)].sort()).toEqual(["user-1", "user-2"])
      yield* TestClock.adjust("31 seconds")
      expect(yield* pool.accounts).toEqual([])
      expect(yield* token(pool.getAccessToken("user-1"))).toBe("at-1")
      expect(built).toEqual(["user-1", "user-2", "user-1"])
    })
  )

  it.scoped("keeps a manager for as long as somebody holds it", () =>
    Effect.gen(function* () {
      const layer = TokenManagers.layer({
        idleTimeToLive: "1 second",
        services: () =>
          Layer.mergeAll(
            TokenStorage.layerMemory,
            RefreshLease.layerProcess,
            TokenConfig.layer(),
            ScriptedRefresher.layer([])
          )
      })
      yield* Effect.gen(function* () {
        const pool = yield* TokenManagers.TokenManagers
        const held = yield* pool.get("a")
        yield* TestClock.adjust("1 minute")
        expect(yield* pool.accounts).toEqual(["a"])
        yield* held.save(grant(4, minute))
        expect(Redacted.value(yield* pool.getAccessToken("a").pipe(Effect.orDie))).toBe("at-4")
      }).pipe(Effect.provide(layer))
    })
  )
})
