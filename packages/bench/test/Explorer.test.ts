/** The explorer finds what it is there for, and finds nothing in the machine as it is. */
import { describe, expect, it } from "vitest"
import { search } from "../src/explorer/Search.js"
import * as Spaces from "../src/explorer/Spaces.js"

describe("every history of a small world", () => {
  it.each(Spaces.small)(
    "keeps the invariants: $server, $faults faults, $deeds deeds, skew $skew",
    (space) => {
      const { broken, rests, states } = search(space)
      expect(broken).toBeUndefined()
      expect(states).toBeGreaterThan(rests)
      expect(rests).toBeGreaterThan(0)
    }
  )
})
