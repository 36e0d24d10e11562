/** `command`: whole processes of `latchkey token` with a fresh token, from a store and through an agent. */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Bench } from "../Bench.js"
import { compare, wholeProcess } from "../Measure.js"
import { wallClock } from "../Peer.js"
import { durations, type Goal, ratioOf } from "../Report.js"

const effect = "node -e \"import('effect/Effect')\""
const node = "node -e 0"
const fromStore = "latchkey token"
const fromAgent = "latchkey token, through the agent"
const account = "github/default"

export const command: Bench = async ({ packages, small }) => {
  const bundle = join(packages, "bench/node_modules/.cache", `command-${process.pid}`)
  const home = mkdtempSync(join(tmpdir(), "latchkey-command-"))
  const env = {
    PATH: process.env["PATH"],
    HOME: home,
    XDG_DATA_HOME: join(home, "data"),
    XDG_CONFIG_HOME: join(home, "config"),
    LATCHKEY_ENCRYPTION: "none"
  }
  const run = (args: ReadonlyArray<string>): void => {
    const { status, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" })
    if (status !== 0) throw new Error(`${args.join(" ")} ended with ${status}: ${stderr}`)
  }
  const program = join(bundle, "bin.js")
  const grant = join(home, "grant.json")
  const socket = join(home, "own", "agent.sock")
  mkdirSync(join(home, "own"), { mode: 0o700 })
  const fresh = { accessToken: "fresh", refreshToken: "r", expiresAt: wallClock() + 86_400_000 }
  writeFileSync(grant, JSON.stringify(Entry.toJson(Entry.first(Credentials.make(fresh)))), { mode: 0o600 })
  run([join(packages, "cli/build.mjs"), bundle])
  run([program, "import", "github", grant])
  const agent = spawn(process.execPath, [program, "agent", "--account", account, "--socket", socket], {
    env,
    stdio: ["ignore", "pipe", "ignore"]
  })
  try {
    // It prints the path of its socket once it listens.
    await Promise.race([once(agent.stdout, "data"), once(agent, "exit")])
    // Where `effect` is found.
    const cwd = join(packages, "bench")
    const whole = (args: ReadonlyArray<string>, more = {}) =>
      wholeProcess(args, { cwd, env: { ...env, ...more } })
    const table = durations(
      "A whole process",
      "ms",
      await compare(
        {
          [node]: whole(["-e", "0"]),
          [effect]: whole(["-e", "import('effect/Effect')"]),
          [fromStore]: whole([program, "token", account]),
          [fromAgent]: whole([program, "token", account], { LATCHKEY_AGENT: socket })
        },
        { operations: 1, rounds: small ? 1 : 31 }
      )
    )
    const goal = (name: string, against: string, atMost: number): Goal => ({
      row: `\`latchkey token\`${name === fromAgent ? " through the agent" : ""}, a whole process`,
      against: `\`${against}\``,
      limits: [{ atMost, found: ratioOf(table, name, against) }]
    })
    return { tables: [table], goals: [goal(fromStore, effect, 1.5), goal(fromAgent, node, 2)] }
  } finally {
    agent.kill("SIGKILL")
    for (const made of [home, bundle]) rmSync(made, { recursive: true, force: true })
  }
}
