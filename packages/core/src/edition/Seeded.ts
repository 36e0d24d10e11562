/** Pseudo-random numbers that are the same for the same seed. */
import * as Utils from "effect/Utils"

export interface Seeded {
  /** From 0 to below `max`. */
  readonly integer: (max: number) => number
  /** From 0 to below 1. */
  readonly number: () => number
}

export const make = (seed: number): Seeded => new Utils.PCGRandom(seed)
