/**
 * Some histories of simulated pools, and broken pools that are detected. For more:
 * `npm run campaign -- simulate`.
 */
import type { TokenManagers } from "@latchkey/core"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { run } from "../src/simulation/History.js"
import { planOf, simulate, story } from "../src/simulation/Simulate.js"

describe("the simulation", () => {
  it("breaks no invariant in 15 histories", async () => {
    const printed: Array<string> = []
    const figures = await simulate(15, 1, (text) => printed.push(text))
    expect(figures.broken, printed.join("\n")).toEqual([])
    expect(figures["requests"]).toBeGreaterThan(100)
    expect(figures["interrupted"]).toBeGreaterThan(100)
    expect(figures["closes"]).toBeGreaterThan(30)
  })

  it("is the same history each time for a seed", async () => {
    for (const seed of [1, 2, 3]) expect(await story(planOf(seed))).toBe(await story(planOf(seed)))
  })

  it.each<readonly [string, RegExp, (pool: TokenManagers.Managers) => TokenManagers.Managers]>([
    [
      "the first token of an account for ever",
      /is served a token that has expired/,
      (pool) => {
        const firsts = new Map<string, TokenManager["getAccessToken"]>()
        const keeps = (account: string) => (manager: TokenManager) => {
          const first = firsts.get(account) ?? Effect.runSync(Effect.cached(manager.getAccessToken))
          firsts.set(account, first)
          return { ...manager, getAccessToken: first }
        }
        return { ...pool, get: (account) => Effect.map(pool.get(account), keeps(account)) }
      }
    ],
    [
      "the tokens of another account",
      /is served a token of account-0/,
      (pool) => ({ ...pool, get: (account) => pool.get(account === "account-1" ? "account-0" : account) })
    ]
  ])("finds a pool out that serves %s", async (_, what, alter) => {
    const broken: Array<string> = []
    for (let seed = 1; seed <= 20 && broken.length === 0; seed++)
      broken.push(
        ...(await Effect.runPromise(run(planOf(seed), undefined, alter))).broken.filter((b) => what.test(b))
      )
    expect(broken).not.toEqual([])
  })
})

type TokenManager = Effect.Effect.Success<ReturnType<TokenManagers.Managers["get"]>>
