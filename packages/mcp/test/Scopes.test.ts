import { Option } from "effect"
import * as fc from "effect/FastCheck"
import { describe, expect, it } from "vitest"
import * as Scopes from "../src/Scopes.js"

const scope = fc.constantFrom("a", "b", "c", "d", "offline_access")
const scopes = fc.uniqueArray(scope)
const maybe = fc.option(scopes, { nil: undefined }).map(Option.fromNullable)

describe("a login asks for", () => {
  const nothing = {
    challenged: Option.none(),
    supported: Option.none(),
    asked: [],
    before: [],
    offline: false
  } satisfies Scopes.Known

  it.each<[string, Partial<Scopes.Known>, Scopes.Scopes]>([
    ["nothing, where nobody says", {}, []],
    ["nothing, where nobody says, though offline access is there", { offline: true }, []],
    [
      "what the challenge says",
      { challenged: Option.some(["a"]), supported: Option.some(["a", "b"]) },
      ["a"]
    ],
    ["else what the server supports", { supported: Option.some(["a", "b"]) }, ["a", "b"]],
    ["what the program says, in its place", { supported: Option.some(["a", "b"]), asked: ["c"] }, ["c"]],
    ["what it had before", { challenged: Option.some(["a"]), before: ["b", "a"] }, ["b", "a"]],
    ["offline access beside it", { challenged: Option.some(["a"]), offline: true }, ["a", "offline_access"]],
    [
      "offline access once",
      { challenged: Option.some(["offline_access", "a"]), offline: true },
      ["offline_access", "a"]
    ]
  ])("%s", (_, known, expected) => {
    expect(Scopes.forLogin({ ...nothing, ...known })).toEqual(expected)
  })

  it("all that was challenged, asked for, and had before, each once", () => {
    fc.assert(
      fc.property(
        maybe,
        maybe,
        scopes,
        scopes,
        fc.boolean(),
        (challenged, supported, asked, before, offline) => {
          const result = Scopes.forLogin({ challenged, supported, asked, before, offline })
          expect(new Set(result).size).toBe(result.length)
          const wanted = [...Option.getOrElse(challenged, () => []), ...asked, ...before]
          expect(Scopes.missing(wanted, result)).toEqual([])
          // Least privilege: nothing else but what the server supports, where nobody says more.
          const extra = Scopes.missing(result, [...wanted, "offline_access"])
          if (wanted.length > 0) expect(extra).toEqual([])
        }
      )
    )
  })
})

describe("a step-up", () => {
  const known = {
    challenged: Option.some(["b"]),
    supported: Option.none<Scopes.Scopes>(),
    granted: ["a"],
    requested: ["a", "offline_access"],
    tried: new Set<string>()
  }

  it.each<[string, Partial<typeof known>, object]>([
    ["asks for the union", {}, { _tag: "Ask", scopes: ["a", "offline_access", "b"], lacking: ["b"] }],
    ["is of no use where the token has them", { granted: ["a", "b"] }, { _tag: "Refuse", why: "Granted" }],
    ["is not asked for twice", { tried: new Set(["b"]) }, { _tag: "Refuse", why: "Asked" }],
    [
      "is asked for where one of several was not",
      { challenged: Option.some(["b", "c"]), tried: new Set(["b"]) },
      { _tag: "Ask", scopes: ["a", "offline_access", "b", "c"], lacking: ["b", "c"] }
    ],
    ["is unknown where nobody says", { challenged: Option.none() }, { _tag: "Refuse", why: "Unknown" }],
    [
      "asks for what the server supports, where the challenge does not say",
      { challenged: Option.none(), supported: Option.some(["a", "c"]) },
      { _tag: "Ask", scopes: ["a", "offline_access", "c"], lacking: ["c"] }
    ],
    [
      "is unknown where the token has all that the server supports",
      { challenged: Option.none(), supported: Option.some(["a"]) },
      { _tag: "Refuse", why: "Unknown" }
    ]
  ])("%s", (_, change, expected) => {
    expect(Scopes.stepUp({ ...known, ...change })).toMatchObject(expected)
  })

  it("ends, whatever the servers say and grant", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(maybe, scopes), { minLength: 1, maxLength: 30 }),
        maybe,
        (rounds, supported) => {
          const tried = new Set<string>()
          let granted: Scopes.Scopes = []
          let requested: Scopes.Scopes = []
          let asked = 0
          for (const [challenged, given] of rounds) {
            const decision = Scopes.stepUp({ challenged, supported, granted, requested, tried })
            if (decision._tag === "Refuse") continue
            asked++
            expect(Scopes.missing([...granted, ...requested], decision.scopes)).toEqual([])
            requested = decision.scopes
            granted = Scopes.union(
              granted,
              given.filter((each) => decision.scopes.includes(each))
            )
            for (const each of Scopes.missing(decision.lacking, granted)) tried.add(each)
          }
          // Each of the five scopes is asked for once, or granted once.
          expect(asked).toBeLessThanOrEqual(5)
        }
      )
    )
  })
})
