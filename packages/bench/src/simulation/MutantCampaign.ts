/** `mutants`: the simulation over each broken core, until it breaks an invariant; one that does not is a failure. */
import type { Figures } from "../campaigns/Campaign.js"
import { mutants } from "./Mutants.js"
import * as Mutation from "./Mutation.js"

/** What came of one mutant: which invariant broke first, in which history. */
export const meet = async (mutant: (typeof mutants)[number], n: number, seed: number) => {
  const { firstFailure } = await Mutation.load(mutant)
  return firstFailure(n, seed, mutant.weather)
}

/** At most `n` histories for each. */
export const run = async (n: number, seed: number): Promise<Figures> => {
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
