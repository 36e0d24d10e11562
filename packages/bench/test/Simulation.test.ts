/**
 * Some histories of a simulated fleet, and the proof that the simulation can fail. More of both:
 * `npm run campaign -- simulate` and `npm run campaign -- mutants`.
 */
import { describe, expect, it } from "@effect/vitest"
import { generate } from "../src/simulation/Generate.js"
import { run } from "../src/simulation/History.js"
import { meet } from "../src/simulation/MutantCampaign.js"
import { mutants } from "../src/simulation/Mutants.js"
import * as Mutation from "../src/simulation/Mutation.js"
import { keep, size } from "../src/simulation/Plan.js"
import { simulate, story } from "../src/simulation/Simulate.js"

describe("the simulation", () => {
  it("breaks no invariant in 80 histories", async () => {
    const told: Array<string> = []
    const figures = await simulate(80, 1, (text) => told.push(text))
    expect(figures.broken, told.join("\n")).toEqual([])
    expect(figures["requests"]).toBeGreaterThan(80)
  }, 120_000)

  it("is the same history each time for a seed", () => {
    for (const seed of [1, 2, 3, 4, 5]) expect(story(generate(seed))).toBe(story(generate(seed)))
  })

  it("keeps of a history what it is told to keep", () => {
    const plan = generate(7)
    expect(size(keep(plan, new Set([0, 2])))).toBe(2)
    expect(run(keep(plan, new Set())).asked).toBeLessThan(run(plan).asked)
  })
})

describe("the mutants", () => {
  it("have their texts in the core, each once", () => {
    for (const mutant of mutants) expect(() => Mutation.check(mutant), mutant.name).not.toThrow()
  })

  it("are refused where the text is not there, or twice", () => {
    const edit = { file: "X.ts", find: "a b", put: "c" }
    expect(Mutation.applyEdit("x a\n  b y", edit)).toBe("x c y")
    expect(() => Mutation.applyEdit("x", edit)).toThrow(/0 places/)
    expect(() => Mutation.applyEdit("a b a b", edit)).toThrow(/2 places/)
  })

  it.each([
    ["a rotation is written without its fence", "no-fence"],
    ["the answer is committed unmerged", "blanked"],
    ["the interruption of a caller reaches the request", "interrupted"]
  ])("%s: caught as %s", async (name, code) => {
    const mutant = mutants.find((m) => m.name === name)!
    expect(await meet(mutant, 200, 1)).toMatchObject({ code })
  })
})
