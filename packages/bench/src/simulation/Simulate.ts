/**
 * `simulate`: histories of pools of managers, each generated from its own seed, with a simulated clock. A
 * history that violates an invariant is reduced, and printed step by step.
 */
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import { type Figures, runSeeds } from "../campaigns/Campaign.js"
import { run } from "./History.js"
import { type Plan, plan } from "./Plan.js"

const only = (seed: number) => ({ seed, numRuns: 1, unbiased: true })

/** The history of a seed. */
export const planOf = (seed: number): Plan => FC.sample(plan, only(seed))[0]!

/** Describes a history. */
export const story = async (history: Plan): Promise<string> => {
  const lines: Array<string> = []
  await Effect.runPromise(run(history, (line) => lines.push(line)))
  return lines.join("\n")
}

/** The first violation of a history, without its numbers. */
const kindOf = (history: Plan): Promise<string | undefined> =>
  Effect.runPromise(Effect.map(run(history), ({ broken }) => broken[0]?.replace(/\d+/g, "")))

/** The smallest history with the same violation as the history of a seed, in words. */
const smallest = async (seed: number): Promise<string> => {
  const kind = await kindOf(planOf(seed))
  const { counterexample } = await FC.check(
    FC.asyncProperty(plan, async (history) => (await kindOf(history)) !== kind),
    only(seed)
  )
  const [found = planOf(seed)] = counterexample ?? []
  return `seed ${seed}\n${JSON.stringify(found.setting)}\n${await story(found)}\n`
}

export const simulate = async (
  n: number,
  seed: number,
  print: (text: string) => void = (text) => void process.stderr.write(`${text}\n`)
): Promise<Figures> => {
  const broken: Array<number> = []
  const figures = await runSeeds(
    n,
    seed,
    (at) =>
      Effect.tap(run(planOf(at)), (outcome) =>
        Effect.sync(() => void (outcome.broken.length > 0 && broken.push(at)))
      ),
    ({ broken: _, ...counts }) => counts
  )
  for (const at of broken.slice(0, 3)) print(await smallest(at))
  return figures
}
