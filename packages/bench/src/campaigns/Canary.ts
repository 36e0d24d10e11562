/**
 * `canary`: secrets go through every path and every failure of every package. None of them may show in a log,
 * a span, a metric, an error, what `inspect`, `JSON` and `String` make of a value, or what a process prints;
 * not as it is, in base64, in a URL, in hex, backwards, or in pieces (invariant 8).
 */
import * as Command from "../../../cli/test/support/Scenarios.js"
import { Canaries, play } from "../../../core/test/support/Canaries.js"
import * as Core from "../../../core/test/support/Scenarios.js"
import * as OAuth from "../../../oauth/test/support/Scenarios.js"
import * as Providers from "../../../providers/test/support/Scenarios.js"
import * as Storage from "../../../storage/test/support/Scenarios.js"
import { type Figures, secondsSince } from "./Campaign.js"

/** As many secrets the full campaign has. */
const full = 100

export const run = async (n: number, seed: number): Promise<Figures> => {
  const began = performance.now()
  const canaries = new Canaries(n, seed)
  const scenarios = [Command, Core, OAuth, Storage, Providers].flatMap((part) => part.scenarios(canaries))
  // With fewer secrets, as much less is done with them; the command is always among it.
  const all = scenarios.filter((_, i) => i % Math.max(1, Math.round(full / n)) === 0)
  const { broken, ...figures } = await play(canaries, all)
  return {
    secrets: canaries.taken,
    scenarios: all.length,
    ...figures,
    charactersSearched: canaries.searched,
    seconds: secondsSince(began),
    broken: broken.slice(0, 40)
  }
}
