/**
 * `startup`: whole processes of `latchkey token` with a fresh token, against those of a bare import of
 * `effect/Effect`, in turn. Medians.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Terminal from "../../../cli/test/support/Terminal.js"
import { compare, wholeProcess } from "../Measure.js"
import * as Campaign from "./Campaign.js"

/** The limit, as a multiple of the bare import. */
const most = 2

/** Where a bare `effect` is found. */
const here = fileURLToPath(new URL(".", import.meta.url))

export const run = async (rounds: number): Promise<Campaign.Figures> => {
  const program = Terminal.bundle()
  const room = Terminal.room()
  const whole = (...args: ReadonlyArray<string>) => wholeProcess(args, { cwd: here, env: room.environment })
  try {
    const file = join(room.folder, "grant.json")
    const fresh = { accessToken: "fresh", refreshToken: "r", expiresAt: Campaign.wallClock() + 86_400_000 }
    await writeFile(file, JSON.stringify(Entry.toJson(Entry.first(Credentials.make(fresh)))), { mode: 0o600 })
    const imported = await Terminal.run(program, room, ["import", "github", file])
    if (imported.code !== 0) throw new Error(imported.stderr)
    const measured = await compare(
      {
        effect: whole("-e", "import('effect/Effect')"),
        token: whole(program, "token", "github"),
        node: whole("-e", "")
      },
      { operations: 1, rounds }
    )
    const [effect, token, node] = measured.map((one) => Math.round(one.nanoseconds.median / 1e6))
    const ratio = Number(measured[1]!.ratio.median.toFixed(2))
    return {
      rounds,
      nodeMillis: node,
      effectMillis: effect,
      tokenMillis: token,
      ratio,
      broken: ratio <= most ? [] : [`${ratio} times the bare import, ${most} at most`]
    }
  } finally {
    room.remove()
  }
}
