/**
 * `mutants`: the simulation over each broken core, until it breaks the invariant that is meant for it, in a
 * history in which the core as it is does not; one that does not is a failure.
 */
import type { Figures } from "../campaigns/Campaign.js"
import { generate } from "./Generate.js"
import { run } from "./History.js"
import { mutants } from "./Mutants.js"
import * as Mutation from "./Mutation.js"

/** What came of one mutant: in which history it broke its invariant first. */
export const meet = async (mutant: (typeof mutants)[number], n: number, seed: number) => {
  const { firstFailure } = await Mutation.load(mutant)
  const failure = firstFailure(n, seed, mutant.weather, mutant.by)
  if (failure === undefined) return undefined
  const unmutated = run(generate(failure.seed, mutant.weather)).broken
  return unmutated.length > 0 ? undefined : failure
}

/** At most `n` histories for each. */
export const meetAll = async (n: number, seed: number): Promise<Figures> => {
  const began = performance.now()
  const caught: Record<string, string> = {}
  const broken: Array<string> = []
  for (const mutant of mutants) {
    const failure = await meet(mutant, n, seed)
    if (failure === undefined) broken.push(`not caught: ${mutant.name}`)
    else caught[mutant.name] = `${failure.code}, history ${failure.histories}`
  }
  return {
    mutants: mutants.length,
    caught,
    seconds: Math.round((performance.now() - began) / 100) / 10,
    broken
  }
}
