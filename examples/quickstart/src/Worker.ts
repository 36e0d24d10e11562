/** Another process that uses the session, and can be killed. */
import { Effect, type Scope } from "effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

export interface Worker {
  readonly pid: number
  /** Waits until it has reported this many different tokens since its start. */
  readonly tokens: (count: number) => Effect.Effect<void>
  /** SIGKILL: no handler runs, nothing is cleaned up. */
  readonly kill: Effect.Effect<void>
}

export const start = (issuer: string, file: string): Effect.Effect<Worker, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(fileURLToPath(new URL("./session-process.ts", import.meta.url)), [issuer, file], {
          stdio: ["ignore", "pipe", "inherit", "ipc"]
        })
      ),
      (process) => Effect.sync(() => process.kill("SIGKILL"))
    )
    const seen = new Set<string>()
    const waiting: Array<{ readonly count: number; readonly done: () => void }> = []
    createInterface({ input: child.stdout! }).on("line", (token) => {
      seen.add(token)
      for (const { count, done } of waiting) if (seen.size >= count) done()
    })
    return {
      pid: child.pid ?? 0,
      tokens: (count) =>
        Effect.async((resume) => {
          const done = () => resume(Effect.void)
          if (seen.size >= count) done()
          else waiting.push({ count, done })
        }),
      kill: Effect.promise(async () => {
        const exited = once(child, "exit")
        child.kill("SIGKILL")
        await exited
      })
    }
  })
