/** Pseudo-random numbers that are the same for the same seed. */

export interface Seeded {
  /** From 0 to below `max`. */
  readonly integer: (max: number) => number
  /** From 0 to below 1. */
  readonly number: () => number
}

/** Mulberry32. */
export const make = (seed: number): Seeded => {
  let state = seed | 0
  const number = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return { number, integer: (max) => Math.floor(number() * max) }
}
