/** The command as users run it: bundled, in its own process and pseudo-terminal. */
import { Credentials, Entry } from "@latchkey/core"
import { spawn } from "@lydell/node-pty"
import { type ChildProcess, execFile, spawn as spawnProcess } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect } from "vitest"
import { bundleOnce, makeOnce } from "../../../../.ci/bundleOnce.js"
import * as Desk from "./Desk.js"

const build = fileURLToPath(new URL("../../build.mjs", import.meta.url))

/** Bundles the command, once in a run of the tests; the path of its program. */
export const bundle = async (): Promise<string> =>
  join(await makeOnce("cli", (outdir) => promisify(execFile)(process.execPath, [build, outdir])), "bin.js")

export interface Room {
  readonly folder: string
  readonly environment: Record<string, string>
  readonly remove: () => void
}

/** A home of its own, with a browser that only notes which address it was to open. */
export const room = (variables: Readonly<Record<string, string>> = {}): Room => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-room-"))
  const programs = join(folder, "bin")
  mkdirSync(programs)
  const browser = join(programs, "xdg-open")
  writeFileSync(
    browser,
    `#!/bin/sh\nprintf '%s' "$1" > "${folder}/opened.part"\nmv "${folder}/opened.part" "${folder}/opened"\n`
  )
  chmodSync(browser, 0o755)
  return {
    folder,
    environment: {
      PATH: `${programs}:${process.env["PATH"]}`,
      HOME: folder,
      XDG_DATA_HOME: join(folder, "data"),
      XDG_CONFIG_HOME: join(folder, "config"),
      TERM: "xterm-256color",
      LATCHKEY_ENCRYPTION: "none",
      ...variables
    },
    remove: () => rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs a module before the command, in its process: what the system would say elsewhere. */
export const preload = ({ environment, folder }: Room, module: string): void => {
  const file = join(folder, "preload.mjs")
  writeFileSync(file, module)
  environment["NODE_OPTIONS"] = `--import=${file}`
}

/** Puts a grant into `grant.json`, to be imported; its access token is `canary-access`. */
export const writeGrant = ({ folder }: Room): void => {
  const entry = Entry.first(
    Credentials.make({ accessToken: "canary-access", refreshToken: "canary-refresh" })
  )
  writeFileSync(join(folder, "grant.json"), JSON.stringify(Entry.toJson(entry)), { mode: 0o600 })
}

/** Imports a grant as the command does, but in this process: none is started for what a test only begins with. */
export const importGrant = async (
  { environment, folder }: Room,
  account: string,
  credentials: Credentials.Credentials
): Promise<void> => {
  const [provider = "", name] = account.split("/")
  const file = join(folder, "grant.json")
  writeFileSync(file, JSON.stringify(Entry.toJson(Entry.first(credentials))), { mode: 0o600 })
  const args = ["import", provider, file, ...(name === undefined ? [] : ["--account", name])]
  expect(await Desk.run(args, new Map(Object.entries(environment)))).toMatchObject({ code: 0 })
}

export interface Session {
  /** All that was shown so far. */
  readonly screen: () => string
  /** Waits until something is shown; what matched. */
  readonly until: (what: RegExp) => Promise<RegExpExecArray>
  readonly type: (keys: string) => void
  /** How it ended. */
  readonly ended: Promise<number>
}

export const enter = "\r"
export const ctrlC = "\u0003"

/** The time limit for each step, in milliseconds. A failure shows the contents of the screen. */
const patience = 60_000

export const open = (
  program: string,
  { environment, folder }: Room,
  args: ReadonlyArray<string>
): Session => {
  let shown = ""
  const looks = new Set<() => void>()
  const terminal = spawn(process.execPath, [program, ...args], {
    cols: 160,
    rows: 40,
    cwd: folder,
    env: environment
  })
  terminal.onData((data) => {
    shown += data
    for (const look of looks) look()
  })
  let over = false
  const ended = new Promise<number>((resolve) =>
    terminal.onExit(({ exitCode, signal }) => {
      over = true
      for (const look of looks) look()
      resolve(signal === undefined || signal === 0 ? exitCode : 128 + signal)
    })
  )
  return {
    screen: () => shown,
    type: (keys) => terminal.write(keys),
    ended,
    until: (what) =>
      new Promise((resolve, reject) => {
        const stop = (act: () => void) => {
          looks.delete(look)
          clearTimeout(timer)
          act()
        }
        const lost = () => stop(() => reject(new Error(`${what} was never shown, but:\n${shown}`)))
        const timer = setTimeout(lost, patience)
        const look = () => {
          const found = what.exec(shown)
          if (found !== null) stop(() => resolve(found))
          else if (over) lost()
        }
        looks.add(look)
        look()
      })
  }
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs it without a terminal. */
export const run = (
  program: string,
  { environment, folder }: Room,
  args: ReadonlyArray<string>,
  during: (child: ChildProcess) => void = () => undefined
): Promise<Ended> =>
  new Promise((resolve) => {
    const child = spawnProcess(process.execPath, [program, ...args], {
      cwd: folder,
      env: environment,
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk) => (stdout += chunk))
    child.stderr.on("data", (chunk) => (stderr += chunk))
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
    during(child)
  })

const commands = fileURLToPath(new URL("commands.ts", import.meta.url))

/** Runs commands one after another in one process, because loading the command is most of what each takes. */
export const runEach = async (
  room: Room,
  lines: ReadonlyArray<string>
): Promise<ReadonlyArray<Desk.Ended>> => {
  const argvs = lines.map((line) => line.split(" "))
  const { stderr, stdout } = await run(await bundleOnce(commands), room, [JSON.stringify(argvs)])
  expect(stderr).toBe("")
  return JSON.parse(stdout) as ReadonlyArray<Desk.Ended>
}

/** Starts it without a terminal, for as long as the test wants it. */
export const start = (
  program: string,
  { environment, folder }: Room,
  args: ReadonlyArray<string>
): ChildProcess & { readonly stdout: Readable; readonly stderr: Readable } =>
  spawnProcess(process.execPath, [program, ...args], {
    cwd: folder,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"]
  })

/** Ends what was started, if it has not ended yet, and waits for that. */
export const stop = async (child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
  child.kill(signal)
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
}
