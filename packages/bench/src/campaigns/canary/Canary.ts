/**
 * `canary`: secrets go through every path and every failure of every package. None of them may show in a log,
 * a span, a metric, an error, what `inspect`, `JSON` and `String` make of a value, or what a process prints;
 * not as it is, in base64, in a URL, in hex, backwards, or in pieces (invariant 9).
 */
import { Effect } from "effect"
import { observed } from "../../../../core/test/support/Observed.js"
import type { Figures } from "../Campaign.js"
import { Canaries } from "./Canaries.js"
import * as Command from "./Command.js"
import * as Core from "./Core.js"
import * as OAuth from "./OAuth.js"
import * as Providers from "./Providers.js"
import * as Storage from "./Storage.js"

/** As many secrets the full campaign has. */
const full = 100

export const run = async (n: number, seed: number): Promise<Figures> => {
  const began = performance.now()
  const canaries = new Canaries(n, seed)
  const scenarios = [Command, Core, OAuth, Storage, Providers].flatMap((part) => part.scenarios(canaries))
  // With fewer secrets, as much less is done with them; the command is always among it.
  const all = scenarios.filter((_, i) => i % Math.max(1, Math.round(full / n)) === 0)
  const broken: Array<string> = []
  let lines = 0
  let spans = 0
  let failures = 0
  for (const { name, play } of all) {
    const seen = await Effect.runPromise(observed(play))
    lines += seen.lines
    spans += seen.spans
    if (seen.exit._tag === "Failure") failures++
    for (const { around, secret } of canaries.find(seen.text)) {
      broken.push(`${name}: secret ${secret} shows after ${JSON.stringify(around)}`)
    }
  }
  return {
    secrets: canaries.taken,
    scenarios: all.length,
    failures,
    logLines: lines,
    spans,
    charactersSearched: canaries.searched,
    seconds: Math.round((performance.now() - began) / 1000),
    broken: broken.slice(0, 40)
  }
}
