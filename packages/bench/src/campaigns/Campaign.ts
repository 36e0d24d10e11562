/** What all campaigns share: their arguments, their figures, and children of their own. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { bundleCommand } from "../Bundle.js"

/** The figures of one campaign; `broken` names each invariant that did not hold. */
export interface Figures {
  readonly broken: ReadonlyArray<string>
  readonly [name: string]: unknown
}

/** A stream of numbers from 0 to below 1, the same for the same seed (mulberry32). */
export const random = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000
  }
}

/** Epoch milliseconds, to be compared with those of another process. */
export const wallClock = (): number => performance.timeOrigin + performance.now()

/** Runs `use` with a directory that is removed afterwards. */
export const inDirectory = async <A>(use: (directory: string) => Promise<A>): Promise<A> => {
  const directory = await mkdtemp(join(tmpdir(), "latchkey-campaign-"))
  try {
    return await use(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Runs `task` for 0 to n-1, `width` at a time. */
export const inParallel = async (
  n: number,
  width: number,
  task: (i: number) => Promise<void>
): Promise<void> => {
  let next = 0
  const lane = async (): Promise<void> => {
    for (let i = next++; i < n; i = next++) await task(i)
  }
  await Promise.all(Array.from({ length: Math.min(n, width) }, lane))
}

/** The program of the children. */
export const bundle = (program: "campaign-child" | "tenants-child" = "campaign-child"): Promise<string> =>
  bundleCommand(program)

/** A process that speaks in lines of JSON. */
export interface Child {
  readonly process: ChildProcess
  /** The next line; undefined where there are no more. */
  readonly line: () => Promise<unknown>
  readonly tell: (message: unknown) => void
  readonly kill: (signal: NodeJS.Signals) => void
  /** Kills it if it lives, and waits for its end; all it said and was not taken. */
  readonly end: () => Promise<ReadonlyArray<unknown>>
}

export const start = (program: string, job: unknown): Child => {
  const child = spawn(process.execPath, [program, JSON.stringify(job)], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  child.stdin.on("error", () => undefined)
  const exited = once(child, "exit")
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  // A killed process may leave half a line, which was not said.
  const parse = (line: string): unknown => {
    try {
      return JSON.parse(line) as unknown
    } catch {
      return undefined
    }
  }
  const line = async (): Promise<unknown> => {
    const next = await lines.next()
    return next.done === true ? undefined : parse(next.value)
  }
  return {
    process: child,
    line,
    tell: (message) => void child.stdin.write(`${JSON.stringify(message)}\n`),
    kill: (signal) => void child.kill(signal),
    end: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL")
      await exited
      const rest: Array<unknown> = []
      for (let next = await line(); next !== undefined; next = await line()) rest.push(next)
      return rest
    }
  }
}
