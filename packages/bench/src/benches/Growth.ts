/** `growth`: whether the cost of one account depends on the number of accounts. */
import * as Effect from "effect/Effect"
import type * as TokenManagers from "@latchkey/core/TokenManagers"
import type { Bench } from "../Bench.js"
import { accountOf, poolOf, tokenOf } from "../candidates/Pool.js"
import { wallClock } from "../Peer.js"
import { type Candidate, compare, type Spread } from "../Measure.js"
import { dividedBy, exactly, type Goal, row, type Table } from "../Report.js"

export interface Job {
  readonly job: "growth"
  readonly accounts: number
  readonly small: boolean
}

export interface Grown {
  readonly hot: Spread
  /** The same from a plain map, which is the lower limit. */
  readonly map: Spread
  readonly refresh: Spread
  /** The share of one processor, without callers. */
  readonly idle: number
}

/** Accounts far from each other, the same for each size. */
const accountsIn = (accounts: number): ReadonlyArray<string> =>
  Array.from({ length: 1000 }, (_, i) => accountOf((i * 7919) % accounts))

const asked =
  <A, E>(ask: (account: string) => Effect.Effect<A, E>, names: ReadonlyArray<string>): Candidate =>
  (n) => {
    let i = 0
    return Effect.runPromise(
      Effect.orDie(
        Effect.whileLoop({
          while: () => i < n,
          body: () => ask(names[i % names.length] ?? ""),
          step: () => void i++
        })
      )
    )
  }

/** The same number of tokens with their expiry, each found by its account. */
const inMap = (accounts: number): ((account: string) => Effect.Effect<string>) => {
  const tokens = new Map(
    Array.from({ length: accounts }, (_, n) => {
      const token = Effect.succeed(tokenOf("access", n))
      return [accountOf(n), { expiresAt: wallClock() + 3_600_000, token }]
    })
  )
  return (account) =>
    Effect.suspend(() => {
      const held = tokens.get(account)
      return held !== undefined && held.expiresAt > wallClock() ? held.token : Effect.dieMessage(account)
    })
}

const refreshed = (managers: TokenManagers.Managers, names: ReadonlyArray<string>): Candidate => {
  const refresh = (name: string) =>
    Effect.scoped(Effect.flatMap(managers.get(name), (manager) => manager.refresh))
  let next = 0
  return async (n) => {
    for (let i = 0; i < n; i++) await Effect.runPromise(refresh(names[next++ % names.length] ?? ""))
  }
}

/** The share of one processor that the process uses while it waits. */
const idleShare = async (milliseconds: number): Promise<number> => {
  const before = process.cpuUsage()
  const began = performance.now()
  await new Promise((resolve) => setTimeout(resolve, milliseconds))
  const { system, user } = process.cpuUsage(before)
  return (user + system) / 1000 / (performance.now() - began)
}

/** Waits until everything that was loaded is planned, which happens in the background. */
const settle = async (small: boolean): Promise<void> => {
  for (let i = 0; i < (small ? 1 : 600); i++) if ((await idleShare(small ? 10 : 1000)) < 0.01) return
}

export const grow = async ({ accounts, small }: Job): Promise<Grown> => {
  const managers = await poolOf(accounts)
  const names = accountsIn(accounts)
  const map = inMap(accounts)
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  await settle(small)
  const operations = small ? 100 : 20_000
  const hot = await compare(
    { map: asked(map, names), hot: asked(managers.getAccessToken, names) },
    { operations, rounds: 15 }
  )
  const refresh = await compare(
    { refresh: refreshed(managers, names) },
    { operations: small ? 5 : 200, rounds: 15 }
  )
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  await settle(small)
  return {
    map: hot[0]?.nanoseconds ?? exactly(Number.NaN),
    hot: hot[1]?.nanoseconds ?? exactly(Number.NaN),
    refresh: refresh[0]?.nanoseconds ?? exactly(Number.NaN),
    idle: await idleShare(small ? 100 : 5000)
  }
}

export const growth: Bench = async ({ child, small }) => {
  const sizes = small ? [10, 100] : [10, 100, 1000, 10_000, 100_000, 1_000_000]
  const grown: Array<readonly [number, Grown]> = []
  for (const accounts of sizes) {
    const job: Job = { job: "growth", accounts, small }
    const answer = await child(job, ["--expose-gc", "--max-old-space-size=8000"])
    grown.push([accounts, answer as Grown])
  }
  const table = (title: string, unit: string, of: (one: Grown) => Spread): Table => {
    const first = grown.map(([, one]) => of(one).median)[0] ?? Number.NaN
    const rows = grown.map(([accounts, one]) =>
      row(`${accounts.toLocaleString("en")} accounts`, of(one), first)
    )
    return { title, unit, rows }
  }
  const hot = table("A fresh token of one of many accounts, in a fiber", "ns", (one) => one.hot)
  const map = table("The same from a plain Map of as many", "ns", (one) => one.map)
  const refresh = table("A refresh of one of many, without the network", "µs", (one) =>
    dividedBy(one.refresh, 1000)
  )
  const idle = table("Nobody asks: of one processor", "%", (one) => exactly(one.idle * 100))
  return { tables: [hot, map, refresh, idle], goals: [hot, refresh].map(flat) }
}

/** The goal: constant, or no more than the growth of the logarithm from the fewest to the most accounts. */
const flat = ({ rows, title }: Table): Goal => {
  const first = rows[0]
  const last = rows.at(-1)
  const sizes = [first, last].map((row) => Number(row?.name.replace(/\D/g, "")))
  return {
    what: `${title}: growth from ${first?.name ?? ""} to ${last?.name ?? ""}`,
    found: (last?.value.median ?? Number.NaN) / (first?.value.median ?? Number.NaN),
    atMost: Math.log(sizes[1] ?? 1) / Math.log(sizes[0] ?? 1)
  }
}
