/** Some of the scenarios of `npm run campaign -- canary`: no operation on a secret reveals it. */
import { expect, it } from "vitest"
import { Canaries, play } from "../../core/test/support/Canaries.js"
import { scenarios } from "./support/Scenarios.js"

it("no secret shows in a log, a span, a metric, an error, or what is made of a value", async () => {
  const canaries = new Canaries(30, 1)
  const some = scenarios(canaries).filter((_, i) => i % 3 === 0)
  const { broken, failures, logLines } = await play(canaries, some)
  expect(broken).toEqual([])
  expect(some.length).toBeGreaterThan(10)
  expect(failures + logLines).toBeGreaterThan(0)
  expect(canaries.taken).toBe(30)
})
