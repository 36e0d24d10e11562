/**
 * `simulate`: histories of a fleet of managers, drawn from a seed, in a time of their own. One that breaks an
 * invariant is made small and told step by step, with the command that repeats it.
 */
import type { Figures } from "../campaigns/Campaign.js"
import { generate } from "./Generate.js"
import { type Outcome, run } from "./History.js"
import { keep, type Plan, type Setting } from "./Plan.js"
import { shrink } from "./Shrink.js"

/** How many failures are made small and told; the others are only named. */
const mostTold = 3

export interface Failure {
  readonly seed: number
  readonly code: string
  readonly text: string
}

/** The first failure of one invariant, from `seed` on within `n` histories. */
export const firstFailure = (
  n: number,
  seed: number,
  weather: Setting["weather"],
  invariant: string
): (Failure & { readonly histories: number }) | undefined => {
  for (let i = 0; i < n; i++) {
    const broken = run(generate(seed + i, weather)).broken.find(({ code }) => code === invariant)
    if (broken !== undefined) return { ...broken, seed: seed + i, histories: i + 1 }
  }
  return undefined
}

/** A history in words. */
export const story = (plan: Plan): string => {
  const lines: Array<string> = []
  run(plan, (line) => lines.push(line))
  return lines.join("\n")
}

/** A failure as small as it gets, in words and with the command that repeats it. */
export const explain = (seed: number, code: string): string => {
  const plan = generate(seed)
  const numbers = shrink(plan, code)
  const command = `npm run campaign -- simulate --n 1 --seed ${seed} --keep ${numbers.join(",") || "none"}`
  return `${command}\n${JSON.stringify(plan.setting)}\n${story(keep(plan, new Set(numbers)))}\n`
}

export const simulate = async (
  n: number,
  seed: number,
  tell: (text: string) => void,
  kept?: ReadonlyArray<number>
): Promise<Figures> => {
  const began = performance.now()
  const totals = { steps: 0, asked: 0, requests: 0, crashes: 0, mishaps: 0 }
  const policies: Record<string, Record<string, number>> = {}
  const failures: Array<Failure> = []
  for (let i = 0; i < n; i++) {
    const drawn = generate(seed + i)
    const plan = kept === undefined ? drawn : keep(drawn, new Set(kept))
    if (kept !== undefined) tell(story(plan))
    const outcome = run(plan)
    for (const key of ["steps", "asked", "requests", "crashes", "mishaps"] as const)
      totals[key] += outcome[key]
    count(policies, plan, outcome)
    const broken = outcome.broken[0]
    if (broken === undefined) continue
    failures.push({ ...broken, seed: plan.seed })
    if (kept === undefined && failures.length <= mostTold) tell(explain(plan.seed, broken.code))
  }
  return {
    histories: n,
    ...totals,
    policies,
    seconds: Math.round((performance.now() - began) / 100) / 10,
    broken: failures.map((failure) => `seed ${failure.seed}: ${failure.code}, ${failure.text}`)
  }
}

/** How many histories each policy had, and what was lost in them. */
const count = (
  policies: Record<string, Record<string, number>>,
  { setting: { rotation } }: Plan,
  { loss }: Outcome
): void => {
  const figures = (policies[rotation._tag] ??= { histories: 0, RotationLost: 0, GrantDead: 0, Removed: 0 })
  figures["histories"]!++
  if (loss !== undefined) figures[loss]!++
}
