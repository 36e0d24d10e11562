/** Numbers that look random and are the same for the same seed. */
import * as Utils from "effect/Utils"

export interface Seeded {
  /** From 0 up to `max`, which it never is. */
  readonly integer: (max: number) => number
  /** From 0 up to 1. */
  readonly number: () => number
}

export const make = (seed: number): Seeded => new Utils.PCGRandom(seed)
