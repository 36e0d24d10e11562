/**
 * Campaigns that draw each of their histories from a seed of its own, in a virtual time: the whole manager
 * with the real refresher at the hostile server.
 */
import * as Effect from "effect/Effect"
import type { Figures } from "./Campaign.js"

/** A history that was played: what went wrong in it, if anything. */
interface Outcome {
  readonly broken: ReadonlyArray<string>
}

/** Plays the histories of the seeds from `seed` on; `tally` adds up what is told of them. */
export const run = async <A extends Outcome>(
  n: number,
  seed: number,
  play: (seed: number) => Effect.Effect<A, unknown>,
  tally: (outcome: A) => Readonly<Record<string, number>>
): Promise<Figures> => {
  const began = performance.now()
  const totals: Record<string, number> = {}
  const broken: Array<string> = []
  for (let at = seed; at < seed + n; at++) {
    const outcome = await Effect.runPromise(play(at))
    for (const [name, count] of Object.entries(tally(outcome))) totals[name] = (totals[name] ?? 0) + count
    for (const what of outcome.broken) broken.push(`seed ${at}: ${what}`)
  }
  return {
    histories: n,
    ...totals,
    seconds: Math.round((performance.now() - began) / 1000),
    broken: broken.slice(0, 20)
  }
}
