/**
 * The diagrams of the phases show each change of phase that the machine makes, and no other: the explorer's test
 * searches for others in all small worlds.
 */
import { expect, it } from "vitest"
import { search } from "../src/explorer/Search.js"
import * as Spaces from "../src/explorer/Spaces.js"
import { drawnIn, read, recording } from "./support/phases.js"

const page = read("packages/core/docs/phases.md")
const described = [...page.matchAll(/^\| (\w+) +\|/gm)].map(([, phase]) => phase).slice(1)

it("the diagram of the phases is that of the machine", () => {
  const seen = { made: new Set<string>(), phases: new Set<string>() }
  // Where faults and logins meet a server without a window, all of them occur.
  const rich = Spaces.small.filter(
    ({ actions, faults, forced, server, ticks }) =>
      server === "strict" && ticks === 0 && !forced && actions + faults > 0
  )
  for (const space of rich) search({ ...space, step: recording(seen) }, 20_000)
  // What needs no refresh token has no intent to note.
  search({ ...Spaces.small[0]!, step: recording(seen, false) }, 20_000)
  for (const text of [page, read(".github/CONTRIBUTING.md")])
    expect(drawnIn(text)).toEqual([...seen.made].sort())
  expect([...seen.phases].sort()).toEqual([...described].sort())
})
