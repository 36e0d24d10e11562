/** What all campaigns share: arguments, figures, and child processes. */
import type * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { TokenStorage, type Versioned } from "@latchkey/core/TokenStorage"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Utils from "effect/Utils"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { bundleCommand } from "../Bundle.js"
import * as Backend from "./Backend.js"

/** The figures of one campaign. `broken` names each violated invariant. */
export interface Figures {
  readonly broken: ReadonlyArray<string>
  readonly [name: string]: unknown
}

/** Numbers from 0 to below 1, the same for the same seed. */
export const random = (seed: number): (() => number) => {
  const drawn = new Utils.PCGRandom(seed)
  return () => drawn.number()
}

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

export const secondsSince = (began: number): number => Math.round((performance.now() - began) / 1000)

/** Epoch milliseconds, comparable with those of another process. */
export const wallClock = (): number => performance.timeOrigin + performance.now()

/** Runs the histories of the seeds from `seed` on, in sequence. `tally` says what to add up for each. */
export const runSeeds = async <A extends { readonly broken: ReadonlyArray<string> }>(
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
  return { histories: n, ...totals, seconds: secondsSince(began), broken: broken.slice(0, 20) }
}

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

/** Puts a grant into a store, whatever was there. */
export const store = (backend: Backend.Backend, credentials: Credentials.Credentials): Promise<unknown> =>
  withStorage(backend, (storage) =>
    Effect.flatMap(storage.load, (before) =>
      storage.commit(
        Entry.first(credentials),
        Option.map(before, ({ version }) => version)
      )
    )
  )

/** Returns what is stored. */
export const load = (backend: Backend.Backend): Promise<Option.Option<Versioned>> =>
  withStorage(backend, (storage) => storage.load)

const withStorage = <A, E>(
  backend: Backend.Backend,
  use: (storage: Context.Tag.Service<TokenStorage>) => Effect.Effect<A, E>
): Promise<A> => Effect.runPromise(Effect.provide(Effect.flatMap(TokenStorage, use), Backend.layer(backend)))

/** Bundles the program of the children. */
export const bundle = (
  program: "campaign-child" | "crash-child" | "accounts-child" | "token-server"
): Promise<string> => bundleCommand(program)

/** A process that communicates in lines of JSON. */
export interface Child {
  readonly process: ChildProcess
  /** Returns the next line. Undefined if there are no more. */
  readonly line: () => Promise<unknown>
  readonly tell: (message: unknown) => void
  readonly kill: (signal: NodeJS.Signals) => void
  /** Waits for its end. Returns whether a signal ended it. */
  readonly ended: () => Promise<boolean>
  /** Kills it if it is alive, and waits for its end. Returns all output that was not read. */
  readonly end: () => Promise<ReadonlyArray<unknown>>
}

export const start = (program: string, job: unknown): Child => {
  const child = spawn(process.execPath, [program, JSON.stringify(job)], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  child.stdin.on("error", () => undefined)
  const exited = once(child, "exit")
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  // A killed process may leave half a line, which does not count.
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
    ended: async () => {
      await exited
      return child.signalCode !== null
    },
    end: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL")
      await exited
      const rest: Array<unknown> = []
      for (let next = await line(); next !== undefined; next = await line()) rest.push(next)
      return rest
    }
  }
}
