import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { bundleOnce } from "../../../.ci/bundleOnce.js"
import type { Database } from "./databases.js"
import type { Job } from "./jobs.js"

/** A directory of its own, removed at the end of the scope. */
export const freshDirectory = Effect.acquireRelease(
  Effect.promise(async () => fs.realpath(await fs.mkdtemp(Path.join(tmpdir(), "latchkey-")))),
  (path) => Effect.promise(() => fs.rm(path, { recursive: true, force: true }))
)

/** The path of a file that is not there yet, in a directory that is. */
export const freshPath = Effect.map(freshDirectory, (directory) => Path.join(directory, "credentials.json"))

const program = (name: "child" | "databaseChild" | "keyringChild") =>
  Effect.promise(() => bundleOnce(fileURLToPath(new URL(`${name}.ts`, import.meta.url))))
const fileProgram = program("child")
const databaseProgram = program("databaseChild")
/** For the checks of the keychain, which need a session of their own. */
export const keyringProgram = program("keyringChild")

/** A process of its own, killed at the end of the scope. */
export interface Child {
  readonly pid: number
  /** Its next line, parsed; none when there are no more. */
  readonly line: Effect.Effect<Option.Option<unknown>>
  readonly send: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Lets it go on where it waits for its standard input. */
  readonly nudge: Effect.Effect<void>
  /** How it ended: the exit code, or the signal. */
  readonly exit: Effect.Effect<number | NodeJS.Signals>
  /** All that it said and the parent did not take yet. */
  readonly rest: Effect.Effect<ReadonlyArray<unknown>>
}

/** On a file, or on a database. */
export const spawn = (job: Job, on?: Database): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.gen(function* () {
    const script = yield* on === undefined ? fileProgram : databaseProgram
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        ChildProcess.spawn(process.execPath, [script, JSON.stringify({ ...on, ...job })], {
          stdio: ["pipe", "pipe", "inherit"]
        })
      ),
      (c) =>
        Effect.async<void>((resume) => {
          if (c.exitCode !== null || c.signalCode !== null) return resume(Effect.void)
          c.once("exit", () => resume(Effect.void))
          c.kill("SIGKILL")
        })
    )
    const ended = new Promise<number | NodeJS.Signals>((resolve) =>
      child.once("exit", (code, signal) => resolve(code ?? signal ?? -1))
    )
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    // A killed process may leave half a line.
    const parse = (line: string): Option.Option<unknown> => {
      try {
        return Option.some(JSON.parse(line))
      } catch {
        return Option.none()
      }
    }
    const line = Effect.promise(async () => {
      const next = await lines.next()
      return next.done === true ? Option.none<unknown>() : parse(next.value)
    })
    return {
      pid: child.pid ?? -1,
      line,
      send: (signal) => Effect.sync(() => void child.kill(signal)),
      nudge: Effect.sync(() => void child.stdin.write("\n")),
      exit: Effect.promise(() => ended),
      rest: Effect.promise(async () => {
        const all: Array<unknown> = []
        for (;;) {
          const next = await lines.next()
          if (next.done === true) return all
          all.push(...Option.toArray(parse(next.value)))
        }
      })
    }
  })
