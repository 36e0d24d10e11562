/** A process of the program, which can be killed. */
import { Effect, type Scope } from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"

export interface ChildProcess {
  /** Waits until it has printed this. */
  readonly said: (message: string) => Effect.Effect<void>
  /** SIGKILL: no handler runs, nothing is cleaned up. */
  readonly kill: Effect.Effect<void>
}

export const start = (
  path: string,
  args: ReadonlyArray<string>
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => fork(path, args)),
      (running) => Effect.sync(() => running.kill("SIGKILL"))
    )
    const messages = new Set<unknown>()
    child.on("message", (message) => messages.add(message))
    const said = (message: string): Effect.Effect<void> =>
      Effect.async((resume) => {
        const look = () => {
          if (messages.has(message)) resume(Effect.void)
          else if (child.exitCode !== null) resume(Effect.dieMessage(`it ended before it said "${message}"`))
        }
        child.on("message", look).on("exit", look)
        look()
      })
    return {
      said,
      kill: Effect.promise(async () => {
        const exited = once(child, "exit")
        child.kill("SIGKILL")
        await exited
      })
    }
  })
