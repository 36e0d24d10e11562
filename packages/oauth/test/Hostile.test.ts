/**
 * The whole manager, with the real refresher, against the hostile server. A seed generates everything in the
 * campaigns. LATCHKEY_RACES, LATCHKEY_CLOCKS and LATCHKEY_FUZZ set how many of them run, and LATCHKEY_SEED
 * the first seed.
 */
import { describe, expect, it } from "@effect/vitest"
import { RotationPolicy } from "@latchkey/core"
import { Fault, Rotation } from "@latchkey/oauth/testing"
import { Effect, Option } from "effect"
import { history } from "./support/clocks.js"
import { faults } from "./support/faults.js"
import { fuzz } from "./support/fuzz.js"
import { race } from "./support/races.js"
import { canBeSaved, meet, policies } from "./support/windows.js"

const firstSeed = Number(process.env["LATCHKEY_SEED"] ?? 1)
const count = (name: string, usual: number) => Number(process.env[name] ?? usual)

/** Runs the seeds one after another, and gives those that went wrong, each with what it takes to repeat it. */
const campaign = <A extends { readonly broken: ReadonlyArray<string> }>(
  runs: number,
  run: (seed: number) => Effect.Effect<A, unknown>,
  seen: (outcome: A) => void
) =>
  Effect.gen(function* () {
    const wrong: Array<{ readonly seed: number; readonly broken: ReadonlyArray<string> }> = []
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const outcome = yield* Effect.orDie(run(seed))
      seen(outcome)
      if (outcome.broken.length > 0) wrong.push({ seed, ...outcome })
    }
    return wrong
  })

const report = (what: string, runs: number, figures: Readonly<Record<string, number>>) =>
  Effect.sync(() => console.log(`${what}: ${runs} from seed ${firstSeed}, ${JSON.stringify(figures)}`))

/** Enough for a campaign of any size. */
const aDay = 86_400_000

describe("each fault at each policy: no grant is lost that anybody could save", () => {
  it.live.each(policies.map((rotation) => ({ rotation, name: JSON.stringify(rotation) })))(
    "$name",
    ({ rotation }) =>
      Effect.gen(function* () {
        for (const one of faults) {
          const end = yield* Effect.orDie(meet(rotation, [one.fault]))
          const where = one.fault.name
          expect(end.failedEarly, where).toBe(false)
          expect(end.alive, where).toBe(canBeSaved(rotation, one))
          if (end.alive) {
            expect(end.refusals, where).toEqual([])
            expect(end.reuses, where).toBe(0)
          } else {
            // An answer of an error says that nothing was lost: it is believed.
            const lied = one.reason === "Transient" || one.reason === "Misconfigured"
            expect(new Set(end.refusals), where).toEqual(new Set([lied ? "GrantDead" : "RotationLost"]))
            expect(
              Option.isSome(end.stored.dead) && Option.isSome(end.stored.credentials.refreshToken),
              where
            ).toBe(true)
          }
        }
      })
  )

  it.live("and outside of a window none is touched before its token has expired: then the loss is told", () =>
    Effect.gen(function* () {
      const lossy = faults.filter(({ fate, reason }) => fate === "lost" && reason === "MaybeSent")
      for (const rotation of [Rotation.strict("Revoke"), Rotation.strict("Refuse")]) {
        for (const { fault } of lossy) {
          const end = yield* Effect.orDie(meet(rotation, [fault]))
          expect(end.redeemed, fault.name).toHaveLength(2)
          expect(end.redeemed[0], fault.name).toBeGreaterThan(0)
          expect(end.redeemed[1], fault.name).toBeLessThanOrEqual(0)
          expect(Option.getOrThrow(end.stored.dead).reason, fault.name).toContain("as a last resort")
        }
      }
      // The same by a client that does not know the server's window, which is over by then.
      const end = yield* Effect.orDie(
        meet(Rotation.newPair("1 minute"), [Fault.lostAnswer], RotationPolicy.rotating())
      )
      expect([end.alive, end.failedEarly, ...new Set(end.refusals)]).toEqual([false, false, "RotationLost"])
      expect(end.redeemed[1]).toBeLessThanOrEqual(0)
    })
  )

  it.live("nor by several in a row, while the window is open", () =>
    Effect.gen(function* () {
      const bad = [
        Fault.lostAnswer,
        Fault.refused,
        Fault.html(true),
        Fault.tooManyRequests("7 seconds"),
        Fault.truncated(9)
      ]
      for (const rotation of [
        Rotation.newPair("2 minutes"),
        Rotation.samePair("2 minutes"),
        Rotation.predecessorValid()
      ]) {
        const end = yield* Effect.orDie(meet(rotation, bad))
        expect(end, rotation._tag).toMatchObject({ alive: true, refusals: [], reuses: 0 })
      }
      const lost = yield* Effect.orDie(meet(Rotation.strict(), bad))
      expect([lost.alive, lost.failedEarly, lost.refusals.at(-1)]).toEqual([false, false, "RotationLost"])
    })
  )
})

describe("campaigns", () => {
  it.live(
    "two managers race: the winner's credentials are never overwritten or deleted",
    () =>
      Effect.gen(function* () {
        const runs = count("LATCHKEY_RACES", 30)
        const figures = { refreshes: 0, refused: 0, falseAlarms: 0 }
        const wrong = yield* campaign(runs, race, (r) => {
          figures.refreshes += r.refreshes
          figures.refused += r.refused
          figures.falseAlarms += r.falseAlarms
        })
        yield* report("races", runs, figures)
        expect(wrong).toEqual([])
        expect(figures.refused).toBeGreaterThan(runs / 20)
      }),
    aDay
  )

  it.live("a race runs the same again from its seed", () =>
    Effect.gen(function* () {
      for (let seed = firstSeed; seed < firstSeed + 5; seed++)
        expect(yield* race(seed)).toEqual(yield* race(seed))
    })
  )

  it.live(
    "whatever the clock does and the lifetimes say: no NaN, no loop, one refresh ahead of an expiry",
    () =>
      Effect.gen(function* () {
        const runs = count("LATCHKEY_CLOCKS", 30)
        const figures = { requests: 0 }
        const wrong = yield* campaign(runs, history, (h) => (figures.requests += h.requests))
        yield* report("clock histories", runs, figures)
        expect(wrong).toEqual([])
        expect(figures.requests).toBeGreaterThan(runs)
      }),
    aDay
  )

  it.live(
    "an answer that holds a usable refresh token, whatever else is in it: the token is saved",
    () =>
      Effect.gen(function* () {
        const runs = count("LATCHKEY_FUZZ", 30)
        const figures = { accepted: 0, salvaged: 0 }
        const wrong = yield* campaign(
          runs,
          fuzz,
          (f) => figures[f.said === "fine" ? "accepted" : "salvaged"]++
        )
        yield* report("fuzzed answers", runs, figures)
        expect(wrong).toEqual([])
        expect(Math.min(figures.accepted, figures.salvaged)).toBeGreaterThan(runs / 20)
      }),
    aDay
  )
})
