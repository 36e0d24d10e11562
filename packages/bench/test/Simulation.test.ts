/** Some histories of a simulated fleet; more of them: `npm run campaign -- simulate`. */
import { describe, expect, it } from "@effect/vitest"
import { generate } from "../src/simulation/Generate.js"
import { run } from "../src/simulation/History.js"
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
