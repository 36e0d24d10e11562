/** Which accounts a round of renewal begins. */
import { describe, expect, it } from "@effect/vitest"
import { HashMap } from "effect"
import * as Round from "../src/grant/Round.js"

const limits: Round.Limits = { concurrency: 4, perServer: 2, lead: 1000, window: 0, instance: "one" }
const now = 1_800_000_000_000
const due = (names: string, dueAt = now) => [...names].map((account) => ({ account, dueAt }))
/** The server of an account is its case. */
const serverOf = (account: string) => (account === account.toUpperCase() ? "upper" : "lower")
const renewal = (account: string): Round.Renewal => ({ account, server: serverOf(account), early: 0 })

const take = (load: Round.Load, page: ReadonlyArray<{ account: string; dueAt: number }>, at = now) =>
  Round.enqueue(limits, load, page, serverOf, at)
/** The load, and who began, after a page. */
const begin = (load: Round.Load, names: string, at = now, within = limits) => {
  const next = Round.begin(within, Round.enqueue(within, load, due(names), serverOf, at))
  return {
    load: next.load,
    begun: next.begun
      .map(({ account }) => account)
      .sort()
      .join("")
  }
}
const end = (
  load: Round.Load,
  names: string,
  outcome: Round.Outcome,
  at = now,
  nextAt = outcome === "Stuck" ? Infinity : at + 3_600_000
) => [...names].reduce((next, name) => Round.end(limits, next, renewal(name), { outcome, nextAt }, at), load)

describe("a round", () => {
  it("begins so many over all, and at each server, one of each in turn", () => {
    expect(begin(Round.noLoad, "abcABC").begun).toMatch(/^[ABC]{2}[abc]{2}$/)
    const three = begin(Round.noLoad, "abAB", now, { ...limits, concurrency: 3 })
    expect(three.begun).toHaveLength(3)
    expect(three.load).toMatchObject({ running: 3, waiting: 1 })
  })

  it("begins one that waits as soon as another has ended, in an order of its own", () => {
    const first = begin(Round.noLoad, "abcd")
    expect(first.begun).toHaveLength(2)
    const next = Round.begin(limits, end(first.load, first.begun.slice(0, 1), "Renewed"))
    expect(next.begun).toHaveLength(1)
    expect(first.begun).not.toContain(next.begun[0]!.account)
    expect(next.load).toMatchObject({ running: 2, waiting: 1 })
    const orderOf = (instance: string) => {
      const own = { ...limits, instance, perServer: 26, concurrency: 26 }
      return Round.begin(
        own,
        Round.enqueue(own, Round.noLoad, due("abcdefghijklm"), serverOf, now)
      ).begun.map(({ account }) => account)
    }
    expect(orderOf("one")).toEqual(orderOf("one"))
    expect(orderOf("one")).not.toEqual(orderOf("two"))
    expect(orderOf("one").sort()).toEqual(orderOf("two").sort())
  })

  it("leaves out what is under way, or waits", () => {
    expect(begin(begin(Round.noLoad, "abcA").load, "abcAB").begun).toBe("B")
  })

  it("begins an account within its window, not before", () => {
    const early = due("a", now + 1001)
    expect(take(Round.noLoad, early).waiting).toBe(0)
    expect(take(Round.noLoad, early, now + 1).waiting).toBe(1)
    const spread = { ...limits, window: 10_000, perServer: 1000 }
    const many = Array.from({ length: 400 }, (_, i) => ({ account: `${i}`, dueAt: now + 6000 }))
    const waiting = (instance: string) =>
      Round.serverLoad(
        Round.enqueue({ ...spread, instance }, Round.noLoad, many, () => "one", now),
        "one"
      ).waiting
    expect(waiting("one").length).toBeGreaterThan(150)
    expect(waiting("one").length).toBeLessThan(250)
    expect(waiting("one").every(({ early }) => early >= 5000 && early <= 10_000)).toBe(true)
    expect(waiting("two")).not.toEqual(waiting("one"))
    expect(Round.horizon(spread, now)).toBe(now + 11_000)
  })

  it("leaves nothing behind when all is well", () => {
    const { begun, load } = begin(Round.noLoad, "abAB")
    expect(end(load, begun, "Renewed")).toEqual(Round.noLoad)
    expect(end(load, begun, "NotNeeded")).toEqual(Round.noLoad)
  })

  it("reports when a server has room and more is due than was asked for", () => {
    // A line holds four for each place.
    const line = Array.from({ length: 9 }, (_, i) => ({ account: `a${i}`, dueAt: now }))
    const load = take(Round.noLoad, line)
    expect(load.waiting).toBe(8)
    expect(Round.serverLoad(load, "lower").isCut).toBe(true)
    expect(Round.isHungry(load, "lower", false)).toBe(false)
    const cut = take(take(Round.noLoad, line.slice(0, 8)), line.slice(8))
    const served = Array.from({ length: 8 }).reduce<Round.Load>((next) => {
      const { begun, load } = Round.begin({ ...limits, perServer: 1 }, next)
      return Round.end(limits, load, begun[0]!, { outcome: "Renewed", nextAt: Infinity }, now)
    }, cut)
    expect(Round.isHungry(served, "lower", true)).toBe(true)
    const running = Array.from({ length: 7 }).reduce<Round.Load>((next) => {
      const { begun, load } = Round.begin({ ...limits, perServer: 1 }, next)
      return Round.end(limits, load, begun[0]!, { outcome: "Renewed", nextAt: Infinity }, now)
    }, cut)
    const last = Round.begin(limits, running).load
    expect(Round.isHungry(last, "lower", false)).toBe(true)
    expect(Round.isHungry(Round.open(last, now), "lower", false)).toBe(false)
    expect(Round.open(Round.open(last, now), now)).toEqual(Round.open(last, now))
    expect(Round.isHungry(last, "upper", false)).toBe(false)
    const whole = end(begin(Round.noLoad, "ab").load, "a", "Renewed")
    expect(Round.isHungry(whole, "lower", false)).toBe(false)
  })

  it("has enough when two thousand wait", () => {
    const many = (n: number) =>
      Round.enqueue(
        { ...limits, perServer: 1000 },
        Round.noLoad,
        Array.from({ length: n }, (_, i) => ({ account: `${i}`, dueAt: now })),
        () => "one",
        now
      )
    expect(Round.isFull(many(1999))).toBe(false)
    expect(Round.isFull(many(2000))).toBe(true)
  })
})

describe("a server that fails", () => {
  const wide = { ...limits, perServer: 8, concurrency: 100 }
  const failed = (n: number) => {
    let load = Round.noLoad
    let at = now
    for (let i = 0; i < n; i++) {
      load = end(
        begin(load, String.fromCharCode(97 + (i % 26)), at).load,
        String.fromCharCode(97 + (i % 26)),
        "Failed",
        at,
        at
      )
      at = Math.max(at, Round.serverLoad(load, "lower").notBefore)
    }
    return load
  }

  it("is not blamed for one failure", () => {
    const load = failed(1)
    expect(begin(load, "bcd").begun).toHaveLength(2)
  })

  it("is left alone after the second in a row, longer each time, then tried with a quarter of its places", () => {
    const load = failed(2)
    expect(Round.serverLoad(load, "lower")).toMatchObject({ running: 0, failures: 2, notBefore: now + 1000 })
    expect(begin(load, "cdA", now + 999).begun).toBe("A")
    expect(begin(load, "cdefgh", now + 1000, wide).begun).toHaveLength(2)
    expect(Round.serverLoad(failed(4), "lower").notBefore).toBe(now + 1000 + 2000 + 4000)
  })

  it("drops those that wait there", () => {
    const load = end(begin(failed(1), "bcdef").load, "b", "Failed", now, now)
    expect(load).toMatchObject({ running: 1, waiting: 0 })
    expect(begin(load, "def", now + 1000).begun).toBe("")
    expect(begin(end(load, "c", "Renewed", now + 1000), "def", now + 1000).begun).toBe("de")
  })

  it("is not blamed again by what began before the pause", () => {
    const { load } = begin(failed(1), "bc")
    const both = end(load, "bc", "Failed", now, now)
    expect(Round.serverLoad(both, "lower")).toMatchObject({ failures: 2, notBefore: now + 1000 })
  })

  it("is left alone for 15 seconds at most, or until the clock is set back", () => {
    const load = failed(26)
    const { notBefore } = Round.serverLoad(load, "lower")
    const before = Round.serverLoad(failed(25), "lower").notBefore
    expect(notBefore - before).toBe(15_000)
    expect(begin(load, "A1", notBefore - 15_000).begun).toContain("A")
    expect(begin(load, "z0", notBefore - 15_001).begun).not.toBe("")
  })

  it("is well again after one success, and after a look that was not needed is not", () => {
    const load = failed(2)
    const at = now + 1000
    const probe = begin(load, "c", at).load
    expect(Round.serverLoad(end(probe, "c", "NotNeeded", at), "lower").failures).toBe(2)
    expect(Round.serverLoad(end(probe, "c", "Renewed", at), "lower").failures).toBe(0)
  })
})

describe("many servers", () => {
  const wide = { ...limits, perServer: 8, concurrency: 12 }
  const named = (account: string) => account.slice(0, 1)
  const page = (servers: string, n: number) =>
    [...servers].flatMap((server) =>
      Array.from({ length: n }, (_, i) => ({ account: `${server}${i}`, dueAt: now }))
    )
  const started = (load: Round.Load, servers: string, n: number) => {
    const next = Round.begin(wide, Round.enqueue(wide, load, page(servers, n), named, now + 60_000))
    return { ...next, by: [...servers].map((s) => next.begun.filter(({ server }) => server === s).length) }
  }

  it("have the same share of all places", () => {
    expect(started(Round.noLoad, "abcd", 8).by).toEqual([3, 3, 3, 3])
  })

  it("have half of them together where they fail", () => {
    const failing = [..."abcdef"].reduce((load, server) => {
      const one = (name: string): Round.Renewal => ({ account: name, server, early: 0 })
      const taken = Round.begin(wide, Round.enqueue(wide, load, page(server, 2), named, now)).load
      const failed = { outcome: "Failed", nextAt: now } as const
      return Round.end(
        wide,
        Round.end(wide, taken, one(`${server}0`), failed, now),
        one(`${server}1`),
        failed,
        now
      )
    }, Round.noLoad)
    const { by } = started(failing, "abcdefxyz", 8)
    expect(by.slice(0, 6)).toEqual([1, 1, 1, 1, 1, 1])
    expect(by.slice(6)).toEqual([2, 2, 2])
  })
})

describe("an account", () => {
  it("rests after a failure, longer each time, for ten minutes at most", () => {
    const rests: Array<number> = []
    let load = Round.noLoad
    let at = now
    for (let i = 0; i < 12; i++) {
      // Another account's success has the server well again.
      load = end(begin(load, "ab", at).load, "b", "Renewed", at)
      load = end(load, "a", "Failed", at, at)
      let until = at
      while (!begin(load, "a", until).begun.includes("a")) until += 500
      rests.push(until - at)
      at = until
    }
    expect(rests.map((millis) => millis / 1000)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600])
  })

  it("rests until it needs something, where storage calls it due before", () => {
    const load = end(begin(Round.noLoad, "a").load, "a", "NotNeeded", now, now + 700)
    expect(begin(load, "a", now + 999).begun).toBe("")
    expect(begin(load, "a", now + 1000).begun).toBe("a")
    expect(end(begin(Round.noLoad, "a").load, "a", "Renewed", now, now + 1000)).toEqual(Round.noLoad)
  })

  it("that is stuck rests for ten minutes, and its server is not blamed", () => {
    const load = Round.end(limits, begin(Round.noLoad, "a").load, renewal("a"), Round.stuck, now)
    expect(Round.serverLoad(load, "lower").failures).toBe(0)
    expect(begin(load, "ab", now + 599_999).begun).toBe("b")
    expect(begin(load, "ab", now + 600_000).begun).toBe("ab")
  })

  it("that is stuck has not failed: its first failure counts as the first", () => {
    const stuck = end(begin(Round.noLoad, "a").load, "a", "Stuck")
    const failed = end(begin(stuck, "a", now + 600_000).load, "a", "Failed", now + 600_000, now)
    expect(begin(failed, "a", now + 600_999).begun).toBe("")
    expect(begin(failed, "a", now + 601_000).begun).toBe("a")
  })

  it("is forgotten when its rest is long over, or the clock was set", () => {
    const load = end(begin(Round.noLoad, "a").load, "a", "Stuck")
    const kept = (at: number) => HashMap.size(Round.open(load, at).rests)
    expect(kept(now)).toBe(1)
    expect(kept(now + 1_200_000)).toBe(1)
    expect(kept(now + 1_200_001)).toBe(0)
    expect(kept(now - 1)).toBe(0)
    expect(begin(load, "a", now - 1).begun).toBe("a")
  })
})
