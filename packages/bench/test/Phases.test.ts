/** The diagrams of the phases show each change of phase that the machine makes, and no other. */
import { Step } from "@latchkey/core/internal-api"
import { readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { search } from "../src/explorer/Search.js"
import * as Spaces from "../src/explorer/Spaces.js"

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8")
const page = read("packages/core/docs/phases.md")
const drawnIn = (text: string) => [...text.matchAll(/^ {2}(\w+ --> \w+)$/gm)].map(([, arrow]) => arrow).sort()
const described = [...page.matchAll(/^\| (\w+) +\|/gm)].map(([, phase]) => phase).slice(1)

it("the diagram of the phases is that of the machine", () => {
  const made = new Set<string>()
  const phases = new Set<string>()
  const recording =
    (needsRefreshToken: boolean): typeof Step.step =>
    (policy, state, input, now) => {
      const next = Step.step({ ...policy, needsRefreshToken }, state, input, now)
      const [from, to] = [state.phase._tag, next.state.phase._tag]
      phases.add(to)
      if (from !== to) made.add(`${from} --> ${to}`)
      return next
    }
  for (const space of Spaces.small) search({ ...space, step: recording(true) }, 20_000)
  // What needs no refresh token has no intent to note.
  search({ ...Spaces.small[0]!, step: recording(false) }, 20_000)
  for (const text of [page, read(".github/CONTRIBUTING.md")]) expect(drawnIn(text)).toEqual([...made].sort())
  expect([...phases].sort()).toEqual([...described].sort())
})
