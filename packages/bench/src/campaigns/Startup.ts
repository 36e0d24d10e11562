/**
 * `startup`: whole processes of `latchkey token`, with a token that is fresh, against those of a bare import of
 * `effect/Effect`, in turn; medians.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { spawnSync } from "node:child_process"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Terminal from "../../../cli/test/support/Terminal.js"
import * as Campaign from "./Campaign.js"

/** No more than this many times the bare import. */
const most = 2

/** Where a bare `effect` is found. */
const here = fileURLToPath(new URL(".", import.meta.url))

export const run = async (rounds: number): Promise<Campaign.Figures> => {
  const program = Terminal.bundle()
  const room = Terminal.room()
  try {
    const file = join(room.folder, "grant.json")
    const fresh = { accessToken: "fresh", refreshToken: "r", expiresAt: Campaign.wallClock() + 86_400_000 }
    await writeFile(file, JSON.stringify(Entry.toJson(Entry.first(Credentials.make(fresh)))), { mode: 0o600 })
    const imported = await Terminal.run(program, room, ["import", "github", file])
    if (imported.code !== 0) throw new Error(imported.stderr)
    const commands = {
      node: ["-e", ""],
      effect: ["-e", "import('effect/Effect')"],
      token: [program, "token", "github"]
    } as const
    const taken: Record<keyof typeof commands, Array<number>> = { node: [], effect: [], token: [] }
    const names = Object.keys(commands) as ReadonlyArray<keyof typeof commands>
    // The first round warms the disk's caches, and is not counted.
    for (let round = 0; round <= rounds; round++) {
      for (const name of names) {
        const began = performance.now()
        const { status } = spawnSync(process.execPath, commands[name], { cwd: here, env: room.environment })
        if (status !== 0) throw new Error(`${name} ended with ${status}`)
        if (round > 0) taken[name].push(performance.now() - began)
      }
    }
    const median = (name: keyof typeof commands): number =>
      [...taken[name]].sort((a, b) => a - b)[Math.floor(rounds / 2)]!
    const ratio = median("token") / median("effect")
    return {
      rounds,
      nodeMillis: Math.round(median("node")),
      effectMillis: Math.round(median("effect")),
      tokenMillis: Math.round(median("token")),
      ratio: Number(ratio.toFixed(2)),
      broken: ratio <= most ? [] : [`${ratio.toFixed(2)} times the bare import, ${most} at most`]
    }
  } finally {
    room.remove()
  }
}
