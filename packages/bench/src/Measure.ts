/**
 * Measures with many short samples in turns, so that other load on the machine affects all candidates alike.
 */
import { spawnSync, type SpawnSyncOptions } from "node:child_process"
import { inPart, type Peer } from "./Peer.js"

/** A candidate: runs `n` operations and resolves when all are done. */
export type Candidate = (n: number) => Promise<void> | void

/** The median of samples, and the two quartiles. */
export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

/** The time of an operation, and its ratio to the first candidate. */
export interface Measured {
  readonly name: string
  readonly nanoseconds: Spread
  readonly ratio: Spread
}

export const spread = (samples: ReadonlyArray<number>): Spread => {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.round((sorted.length - 1) * share)] ?? Number.NaN
  return { median: at(0.5), low: at(0.25), high: at(0.75) }
}

/**
 * The order of a round. Each round begins with another candidate, so that none always follows the same one.
 */
export const inTurn = <A>(all: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  const first = round % Math.max(1, all.length)
  return [...all.slice(first), ...all.slice(0, first)]
}

/**
 * Summarizes samples of candidates by round. The ratio is computed within each round, so a slow second
 * cancels out.
 */
const against = (
  samples: ReadonlyMap<string, ReadonlyArray<number>>,
  first: string
): ReadonlyArray<Measured> =>
  [...samples].map(([name, values]) => ({
    name,
    nanoseconds: spread(values),
    ratio: spread(values.map((value, round) => value / (samples.get(first)?.[round] ?? Number.NaN)))
  }))

const wall = (): number => Number(process.hrtime.bigint())

/** The processor time that this process alone has used. It excludes other processes and waiting. */
export const processorTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) * 1000
}

export interface Options {
  /** The operations of a sample. Default: as many as take `milliseconds`, for each candidate. */
  readonly operations?: number
  /** Default: 5. */
  readonly milliseconds?: number
  readonly rounds: number
  readonly warmUp?: number
  /** In nanoseconds. */
  readonly clock?: () => number
}

/** Returns how many operations take so long. It has then run twice as many. */
const enough = async (run: Candidate, milliseconds: number): Promise<number> => {
  for (let n = 1; ; n *= 2) {
    const began = wall()
    await run(n)
    if (wall() - began >= milliseconds * 1e6) return n
  }
}

export const compare = async (
  candidates: Readonly<Record<string, Candidate>>,
  { clock = wall, milliseconds = 5, operations, rounds, warmUp = operations }: Options
): Promise<ReadonlyArray<Measured>> => {
  const entries = Object.entries(candidates)
  const samples = new Map<string, Array<number>>(entries.map(([name]) => [name, []]))
  const counts = new Map<string, number>()
  for (const [name, run] of entries) {
    if (warmUp !== undefined) await run(warmUp)
    counts.set(name, operations ?? (await enough(run, milliseconds)))
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of inTurn(entries, round)) {
      const n = counts.get(name) ?? 1
      const began = clock()
      await run(n)
      samples.get(name)?.push((clock() - began) / n)
    }
  }
  return against(samples, entries[0]?.[0] ?? "")
}

/** Calls it so many times, each after the previous one. */
export const repeated =
  (call: () => Promise<unknown>): Candidate =>
  async (n) => {
    for (let i = 0; i < n; i++) await call()
  }

/**
 * The same with the candidates of peers. Those of {@link Peer.last} are opened and measured after all others,
 * because they would slow them.
 */
export const compareWith = async (
  own: Readonly<Record<string, Candidate>>,
  peers: ReadonlyArray<Peer>,
  open: (peer: Peer) => Promise<() => Promise<unknown>>,
  options: Options
): Promise<ReadonlyArray<Measured>> => {
  const opened = async (last: boolean): Promise<Record<string, Candidate>> => {
    const candidates: Record<string, Candidate> = {}
    for (const peer of inPart(peers, last)) candidates[peer.name] = repeated(await open(peer))
    return candidates
  }
  const found = await compare({ ...own, ...(await opened(false)) }, options)
  const first = Object.fromEntries(Object.entries(own).slice(0, 1))
  const more = await compare({ ...first, ...(await opened(true)) }, options)
  return [...found, ...more.slice(1)]
}

/** Runs Node with these arguments, from its start to its end. */
export const wholeProcess =
  (args: ReadonlyArray<string>, options: SpawnSyncOptions = {}): Candidate =>
  () => {
    const { status, stderr } = spawnSync(process.execPath, args, { ...options, encoding: "utf8" })
    if (status !== 0) throw new Error(`${args.join(" ")} ended with ${status}: ${stderr}`)
  }
