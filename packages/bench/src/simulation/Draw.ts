/** Chance that only depends on a seed (mulberry32). */
export class Draw {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
  }

  /** From 0 to below 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** From 0 to below `n`, whole. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  /** From `min` to `max`, whole. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  of<A>(choices: ReadonlyArray<A>): A {
    return choices[this.below(choices.length)]!
  }

  list<A>(min: number, max: number, one: (i: number) => A): ReadonlyArray<A> {
    return Array.from({ length: this.between(min, max) }, (_, i) => one(i))
  }
}

/** A seed of its own for each thing of one history, so that leaving one out does not change the others. */
export const seedOf = (seed: number, ...parts: ReadonlyArray<string | number>): number => {
  let hash = 0x811c9dc5 ^ seed
  for (const part of parts) {
    const text = String(part)
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)
  }
  return hash >>> 0
}
