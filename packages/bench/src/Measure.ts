/** Measuring: many short samples, taken in turns so that what else the machine does hits all alike. */

/** A candidate: runs `n` operations and resolves when all are done. */
export type Candidate = (n: number) => Promise<void> | void

/** Nanoseconds an operation, the median over the samples, and the ratio to the first candidate. */
export interface Measured {
  readonly name: string
  readonly nanoseconds: number
  readonly ratio: number
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/**
 * The ratio is the median of the ratios within each round, not the ratio of the medians: a slow second of
 * the machine then cancels out.
 */
export const compare = async (
  candidates: Readonly<Record<string, Candidate>>,
  options: { readonly operations: number; readonly rounds: number; readonly warmUp?: number }
): Promise<ReadonlyArray<Measured>> => {
  const entries = Object.entries(candidates)
  for (const [, run] of entries) await run(options.warmUp ?? options.operations)
  const samples = entries.map((): Array<number> => [])
  for (let round = 0; round < options.rounds; round++) {
    // Each round begins with another one, so that none always comes after the same neighbour.
    for (let i = 0; i < entries.length; i++) {
      const index = (i + round) % entries.length
      const began = process.hrtime.bigint()
      await entries[index]![1](options.operations)
      samples[index]!.push(Number(process.hrtime.bigint() - began) / options.operations)
    }
  }
  return entries.map(([name], index) => ({
    name,
    nanoseconds: median(samples[index]!),
    ratio: median(samples[index]!.map((ns, round) => ns / samples[0]![round]!))
  }))
}

/** A table of what was measured. */
export const table = (title: string, unit: "ns" | "µs", rows: ReadonlyArray<Measured>): string => {
  const width = Math.max(...rows.map((r) => r.name.length))
  const scale = unit === "ns" ? 1 : 1000
  const lines = rows.map(
    (r) =>
      `  ${r.name.padEnd(width)}  ${(r.nanoseconds / scale).toFixed(unit === "ns" ? 0 : 1).padStart(9)} ${unit}  × ${r.ratio.toFixed(2)}`
  )
  return [title, ...lines].join("\n")
}
