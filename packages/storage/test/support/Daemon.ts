/** A server process of a test: started, stopped, started again, and never left running. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import { createInterface } from "node:readline"

/** The user that a server runs as, where it must not be this one. */
export interface User {
  readonly uid: number
  readonly gid: number
}

export interface Program {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly user?: User | undefined
  /** Whether it answers. */
  readonly ready: Effect.Effect<boolean>
  /** What ends it at once, with its children. */
  readonly quit: NodeJS.Signals
}

export interface Daemon {
  /** Waits until it answers. */
  readonly start: Effect.Effect<void>
  /** Waits until it is gone. */
  readonly stop: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Does not wait; `SIGSTOP` and `SIGCONT` say. */
  readonly send: (signal: NodeJS.Signals) => Effect.Effect<void>
}

/** The shell lives as long as its input is open, so that a server does not outlive a killed test run. */
const script = '"$@" >&2 & echo $!; cat >/dev/null; kill -KILL $! 2>/dev/null'

export const make = (program: Program): Effect.Effect<Daemon, never, Scope.Scope> =>
  Effect.gen(function* () {
    let shell: ChildProcess.ChildProcess | undefined
    let pid = 0
    const launch = Effect.promise(async () => {
      shell = ChildProcess.spawn("sh", ["-c", script, "sh", program.command, ...program.args], {
        stdio: ["pipe", "pipe", process.env["SERVER_LOG"] === undefined ? "ignore" : "inherit"],
        cwd: "/",
        ...(program.user ?? {})
      })
      const [line] = await new Promise<[string]>((resolve) => {
        createInterface({ input: shell!.stdout! }).once("line", (text) => resolve([text]))
      })
      pid = Number(line)
    })
    const start = Effect.andThen(
      launch,
      program.ready.pipe(
        Effect.repeat({ until: (ready) => ready, schedule: Schedule.spaced("20 millis") }),
        Effect.timeoutFail({ duration: "20 seconds", onTimeout: () => `${program.command} does not answer` }),
        Effect.orDie,
        Effect.asVoid
      )
    )
    const send = (signal: NodeJS.Signals) =>
      Effect.sync(() => {
        if (alive(pid)) process.kill(pid, signal)
      })
    const stop = (signal: NodeJS.Signals) =>
      Effect.gen(function* () {
        yield* send(signal)
        while (alive(pid)) yield* Effect.sleep("10 millis")
        pid = 0
        shell?.stdin?.end()
      })
    yield* Effect.addFinalizer(() => stop(program.quit))
    yield* start
    return { start, stop, send }
  })

/** A zombie is gone, though its shell has not looked yet. */
const alive = (pid: number): boolean => {
  if (pid === 0) return false
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    try {
      return !fs.existsSync("/proc/self") && process.kill(pid, 0)
    } catch {
      return false
    }
  }
}
