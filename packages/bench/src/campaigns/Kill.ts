/**
 * `kill`: a writer is killed with SIGKILL at random points, repeatedly, on one store. Afterwards the record
 * must be complete, and no older than the last one that the writer saw acknowledged (invariant 1).
 */
import * as Option from "effect/Option"
import { readdir, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import * as Backend from "./Backend.js"
import type { Open } from "./Opener.js"
import * as Campaign from "./Campaign.js"

/** The longest life of a writer after its first commit, in milliseconds. */
const longestLife = 30

/** Files beside the store that others could read. */
const readableByOthers = async (location: string): Promise<ReadonlyArray<string>> => {
  const folder = dirname(location)
  const names = await readdir(folder)
  const found: Array<string> = []
  for (const name of names) {
    // It may be gone: the other lanes have their own folders, but a writer removes temporary files.
    const { mode } = await stat(join(folder, name)).catch(() => ({ mode: 0 }))
    if ((mode & 0o077) !== 0) found.push(name)
  }
  return found
}

export const run = async (open: Open, n: number, seed: number): Promise<Campaign.Figures> => {
  const program = await Campaign.bundle("campaign-child")
  const random = Campaign.random(seed)
  const broken: Array<string> = []
  const lanes = 2
  let kills = 0
  let commits = 0
  const began = performance.now()
  await Campaign.inParallel(lanes, lanes, (lane) =>
    Campaign.inDirectory(async (directory) => {
      const backend = await open(directory)
      for (let i = lane; i < n; i += lanes) {
        const child = Campaign.start(program, { do: "write", backend })
        const first = await child.line()
        await Campaign.pause(random() * longestLife)
        const acknowledged = [first, ...(await child.end())].map(Number)
        const last = Math.max(...acknowledged)
        kills++
        commits += acknowledged.length
        const left = await Campaign.load(backend).catch((error: unknown) => String(error))
        if (typeof left === "string") broken.push(`kill ${i}: torn, ${left}`)
        else if (!Option.exists(left, ({ entry }) => entry.generation >= last)) {
          broken.push(`kill ${i}: commit ${last} was acknowledged and is missing`)
        }
        for (const name of Backend.isLocal(backend) ? await readableByOthers(backend.location) : []) {
          broken.push(`kill ${i}: ${name} can be read by others`)
        }
      }
    })
  )
  return { kills, commits, seconds: Campaign.secondsSince(began), broken }
}
