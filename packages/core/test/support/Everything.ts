/** A manager that holds only secrets, all operations on it, and the worlds to run them in. */
import { Effect, Fiber, Option, Redacted, Stream, TestClock } from "effect"
import { Credentials, type TokenManager } from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { minute, settle, type Setup, start } from "./Bench.js"

export const secretGrant = (canary: () => string, expiresIn: number, now = start) =>
  Credentials.make({
    accessToken: canary(),
    refreshToken: canary(),
    idToken: canary(),
    obtainedAt: now,
    expiresAt: now + expiresIn,
    accountId: "acct-1",
    extras: { device_secret: canary(), nested: { api_key: canary() } }
  })

/** Every operation of a manager, each observed with its result. */
export const everything = (manager: TokenManager.Manager, saved: Credentials.Credentials) =>
  Effect.gen(function* () {
    const events = yield* Effect.fork(Stream.runCollect(manager.events))
    yield* settle
    const results: Array<unknown> = []
    const keep = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.flatMap(Effect.exit(effect), (exit) => Effect.sync(() => void results.push(exit)))
    for (const round of [0, 1, 9, 10, 30]) {
      yield* keep(manager.getAccessToken)
      yield* keep(manager.getAccessTokenFor({ minValidity: "1 hour" }))
      yield* keep(manager.peekAccessToken)
      yield* keep(manager.credentials)
      yield* keep(manager.status)
      yield* keep(manager.cachedStatus)
      yield* keep(manager.snapshot)
      yield* keep(manager.profile)
      yield* keep(manager.cachedProfile)
      yield* keep(manager.explain)
      yield* keep(manager.refresh)
      yield* keep(Effect.flatMap(manager.getAccessToken, manager.reject))
      results.push(manager.unsafePeek(), manager)
      yield* TestClock.adjust(round * minute)
    }
    yield* keep(manager.save(saved))
    yield* keep(manager.clear)
    yield* keep(manager.invalidate)
    yield* settle
    results.push(yield* Fiber.interrupt(events))
    return results
  })

export const worlds = (canary: () => string): Readonly<Record<string, Setup>> => {
  const secretAnswer: ScriptedRefresher.Step = {
    answer: ({ now }) => secretGrant(canary, 10 * minute, now)
  }
  return {
    "all well": { script: () => secretAnswer },
    "every refresh failing": {
      script: (n) =>
        ScriptedRefresher.fail(
          (["NotSent", "MaybeSent", "Transient", "Misconfigured", "GrantDead"] as const)[n % 5]!
        )
    },
    "malformed answers": {
      script: () => ScriptedRefresher.fail("Malformed", { salvaged: secretGrant(canary, 10 * minute) })
    },
    "a refresher that dies": {
      script: () => ({
        answer: ({ previous }) => {
          throw new Error(
            `posted ${Redacted.value(Option.getOrThrow(Option.getOrThrow(previous).refreshToken))} in vain`
          )
        }
      })
    },
    "storage failing now and then": {
      script: () => secretAnswer,
      faults: [
        { operation: "load", call: (n) => n % 3 === 0 },
        { operation: "commit", call: (n) => n % 2 === 0 },
        { operation: "remove", call: 1 }
      ]
    }
  }
}
