import { expect, it } from "vitest"
import * as Terminals from "../../bench/src/campaigns/Terminals.js"

it(
  "eight terminals ask in a loop through two expiries: two requests, nobody is logged out",
  { timeout: 240_000 },
  async () => {
    expect(await Terminals.run(2)).toMatchObject({ broken: [], errors: 0, loggedIn: true, mostAtOnce: 1 })
  }
)
