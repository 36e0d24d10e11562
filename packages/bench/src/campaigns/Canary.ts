/**
 * `canary`: secrets go through every path and every failure of every package. None of them may appear in a
 * log, a span, a metric, an error, the results of `inspect`, `JSON` and `String`, or the output of a process:
 * not unchanged, in base64, in a URL, in hex, backwards, or in pieces (invariant 8).
 */
import * as Command from "../../../cli/test/support/Scenarios.js"
import { Canaries, play } from "../../../core/test/support/Canaries.js"
import * as Core from "../../../core/test/support/Scenarios.js"
import * as OAuth from "../../../oauth/test/support/Scenarios.js"
import * as Providers from "../../../providers/test/support/Scenarios.js"
import * as Storage from "../../../storage/test/support/Scenarios.js"
import { type Figures, secondsSince } from "./Campaign.js"

/** The number of secrets in the full campaign. */
const full = 100

export const run = async (n: number, seed: number): Promise<Figures> => {
  const began = performance.now()
  const canaries = new Canaries(n, seed)
  const scenarios = [Command, Core, OAuth, Storage, Providers].flatMap((part) => part.scenarios(canaries))
  // With fewer secrets, fewer scenarios run. The command is always among them.
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
