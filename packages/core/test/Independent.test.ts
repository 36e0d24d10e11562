/**
 * A refresher that needs no refresh token: a refusal by the server ends no grant, and the request is
 * repeated.
 */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry } from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { Effect, Option, TestClock } from "effect"
import { bench, grant, minute, rotate, type Setup, start, stored, token } from "./support/Bench.js"

const refused = ScriptedRefresher.fail("GrantDead", {
  message:
    "https://as.example/token answered 400 invalid_grant (the assertion is from the future): the grant has ended.",
  oauthError: "invalid_grant",
  status: 400
})

/** What storage holds at first. */
const beginnings: ReadonlyArray<readonly [what: string, setup: Setup]> = [
  ["nothing stored", {}],
  ["credentials stored", { initial: grant(1, minute) }],
  [
    "credentials stored that have no refresh token",
    { initial: Credentials.make({ accessToken: "at-1", obtainedAt: start, expiresAt: start + minute }) }
  ]
]

describe("a refresher that needs no refresh token", () => {
  it.scoped.each(beginnings)("asks again after invalid_grant, with %s (F4)", ([, setup]) =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        ...setup,
        needsRefreshToken: false,
        script: (n) => (n <= 3 ? refused : rotate(n))
      })
      yield* TestClock.adjust(minute)
      for (let i = 1; i <= 3; i++) {
        const error = yield* Effect.flip(manager.getAccessToken)
        expect(error).toMatchObject({ _tag: "RefreshUnavailable", reason: "Misconfigured" })
        expect(error.message).toContain("invalid_grant (the assertion is from the future). ")
        expect(error.message).toContain("asks again")
        expect(error.message).not.toContain("Log in")
        // Not at once: it cools down.
        expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "CoolingDown" })
        expect(yield* calls.count).toBe(i)
        expect((yield* manager.status).warnings).not.toContain("GrantDead")
        yield* TestClock.adjust(minute)
      }
      expect(yield* token(manager.getAccessToken)).toBe("at-104")
      expect(Option.getOrThrow(yield* stored(storage)).dead).toBe(false)
    })
  )

  it.scoped(
    "asks again though an earlier version marked the stored grant as dead, and removes the mark",
    () =>
      Effect.gen(function* () {
        const first = Entry.first(grant(1, minute))
        const dead = new Entry.DeadGrant({
          fingerprint: Entry.grantFingerprint(first.credentials),
          at: start,
          reason: "invalid_grant",
          rotationLost: false
        })
        const { manager, storage } = yield* bench({
          entry: new Entry.Entry({ ...first, dead: Option.some(dead) }),
          needsRefreshToken: false
        })
        expect((yield* manager.status).warnings).not.toContain("GrantDead")
        yield* TestClock.adjust(minute)
        expect(yield* token(manager.getAccessToken)).toBe("at-101")
        expect(Option.getOrThrow(yield* stored(storage)).dead).toBe(false)
      })
  )

  it.scoped("serves the token that is still valid while it is refused", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        needsRefreshToken: false,
        script: () => refused
      })
      yield* TestClock.adjust(9 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* Effect.flip(manager.refresh)).toMatchObject({ reason: "Misconfigured" })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
    })
  )

  it.scoped("where one is needed, the same answer ends the grant", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({ initial: grant(1, minute), script: () => refused })
      yield* TestClock.adjust(minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "GrantDead" })
      yield* TestClock.adjust(10 * minute)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ reason: "GrantDead" })
      expect(yield* calls.count).toBe(1)
      expect(Option.getOrThrow(yield* stored(storage)).dead).toBe(true)
    })
  )
})
