/** A simulated user in this process: their own home directory, commands, and the output. */
import * as Cli from "../../src/Cli.js"
import * as Output from "../../src/Output.js"
import * as Run from "../../src/Run.js"
import { ConfigProvider, Effect, Layer, Logger, type Scope } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Desk {
  readonly home: string
  readonly data: string
  readonly config: string
  /** Runs a command; its words are separated by blanks. */
  readonly run: (command: string, surface?: Partial<Output.Surface>) => Promise<Ended>
  /** Sets a variable of the environment, or takes it away. */
  readonly set: (name: string, value: string | undefined) => void
}

export const make: Effect.Effect<Desk, never, Scope.Scope> = Effect.gen(function* () {
  const home = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-desk-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )
  const variables = new Map([
    ["HOME", home],
    ["XDG_DATA_HOME", join(home, "data")],
    ["XDG_CONFIG_HOME", join(home, "config")],
    ["CLAUDE_CONFIG_DIR", join(home, "claude")],
    ["CODEX_HOME", join(home, "codex")],
    ["LATCHKEY_COPILOT_CREDENTIALS_FILE", join(home, "copilot.json")],
    ["LATCHKEY_ENCRYPTION", "none"]
  ])
  return {
    home,
    data: join(home, "data", "latchkey"),
    config: join(home, "config", "latchkey"),
    set: (name, value) => void (value === undefined ? variables.delete(name) : variables.set(name, value)),
    run: (command, surface) =>
      run(
        command.split(" ").filter((word) => word !== ""),
        variables,
        surface
      )
  }
})

/** Runs a command in this process, with these variables for its environment. */
export const run = (
  argv: ReadonlyArray<string>,
  variables: ReadonlyMap<string, string>,
  surface: Partial<Output.Surface> = {}
): Promise<Ended> => {
  const written = { stdout: "", stderr: "" }
  const shown = { isTerminal: false, colors: false, columns: 200, ...surface }
  const output = Layer.succeed(Output.Output, {
    stdout: shown,
    stderr: shown,
    write: (text) => Effect.sync(() => void (written.stdout += text)),
    writeError: (text) => Effect.sync(() => void (written.stderr += text))
  })
  return Run.settle(Cli.run([...argv]), { json: argv.includes("--json") }).pipe(
    Effect.provide(output),
    Effect.map((code) => ({ code, ...written })),
    Effect.provide(Logger.remove(Logger.defaultLogger)),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(variables))),
    Effect.runPromise
  )
}
