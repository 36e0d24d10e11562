/** Which accounts a round of renewal begins. */
import { describe, expect, it } from "@effect/vitest"
import * as Round from "../src/grant/Round.js"

const limits: Round.Limits = { concurrency: 4, perServer: 2, lead: 1000, window: 0, instance: "one" }
const now = 1_800_000_000_000
const due = (names: string, dueAt = now) => [...names].map((account) => ({ account, dueAt }))
/** The server of an account is its case. */
const nameServer = (account: string) => (account === account.toUpperCase() ? "upper" : "lower")
const begin = (load: Round.Load, page: ReadonlyArray<{ account: string; dueAt: number }>, at = now) =>
  Round.begin(limits, load, page, nameServer, at)

describe("a round", () => {
  it("begins so many over all, and at each server", () => {
    expect(begin(Round.noLoad, due("abcABC")).begun).toEqual(["a", "b", "A", "B"])
    expect(
      Round.begin({ ...limits, concurrency: 3 }, Round.noLoad, due("abAB"), nameServer, now).begun
    ).toEqual(["a", "b", "A"])
  })

  it("leaves out what is under way", () => {
    const { load } = begin(Round.noLoad, due("aA"))
    expect(begin(load, due("aAbB")).begun).toEqual(["b", "B"])
  })

  it("begins an account within its window, not before", () => {
    const early = due("a", now + 1001)
    expect(begin(Round.noLoad, early).begun).toEqual([])
    expect(begin(Round.noLoad, early, now + 1).begun).toEqual(["a"])
    const spread = { ...limits, window: 10_000, concurrency: 1000, perServer: 1000 }
    const many = Array.from({ length: 400 }, (_, i) => ({ account: `${i}`, dueAt: now + 6000 }))
    const half = Round.begin(spread, Round.noLoad, many, nameServer, now).begun.length
    expect(half).toBeGreaterThan(150)
    expect(half).toBeLessThan(250)
    const another = Round.begin({ ...spread, instance: "two" }, Round.noLoad, many, nameServer, now).begun
    expect(another).not.toEqual(Round.begin(spread, Round.noLoad, many, nameServer, now).begun)
  })

  it("leaves a server alone after a failure, longer each time, then tries one account", () => {
    let { load } = begin(Round.noLoad, due("ab"))
    load = Round.end(load, "a", "lower", "Failed", now)
    load = Round.end(load, "b", "lower", "Failed", now)
    expect(Round.serverOf(load, "lower")).toEqual({ running: 0, failures: 2, notBefore: now + 2000 })
    expect(begin(load, due("abA"), now + 1999).begun).toEqual(["A"])
    const next = begin(load, due("ab"), now + 2000)
    expect(next.begun).toEqual(["a"])
    const well = Round.end(next.load, "a", "lower", "Done", now + 2000)
    expect(begin(well, due("ab"), now + 2000).begun).toEqual(["a", "b"])
    expect(well).toEqual(Round.noLoad)
  })

  it("does not look at an account that is stuck for a while, and blames no server", () => {
    const load = Round.end(begin(Round.noLoad, due("a")).load, "a", "lower", "Stuck", now)
    expect(begin(load, due("ab"), now + 599_999).begun).toEqual(["b"])
    expect(begin(load, due("ab"), now + 600_000).begun).toEqual(["a", "b"])
    const later = Round.end(begin(load, due("b"), now + 600_000).load, "b", "lower", "Done", now + 600_000)
    expect(later).toEqual(Round.noLoad)
  })

  it("never leaves a server alone for longer than a minute", () => {
    let load = Round.noLoad
    for (let i = 0; i < 50; i++)
      load = Round.end(begin(load, due("a"), now + i * 1e6).load, "a", "lower", "Failed", now + i * 1e6)
    expect(Round.serverOf(load, "lower").notBefore).toBe(now + 49 * 1e6 + 60_000)
  })
})
