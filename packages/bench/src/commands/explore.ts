/** Searches every history of the machine in small worlds, the shortest first: `npm run explore`. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { inParallel } from "../campaigns/Campaign.js"
import { commandLine, refuse } from "../CommandLine.js"
import { type Found, inWords, search } from "../explorer/Search.js"
import * as Spaces from "../explorer/Spaces.js"
import type { Space } from "../explorer/World.js"

const usage = `npm run explore -- [--whole] [--limit N]

Searches every interleaving of a few processes over one store, one lease and one authorization server, breadth-first.
Prints the shortest history that breaks an invariant, and ends with code 1 if there is one.

  --whole    larger spaces, for hours
  --limit N  no more than N states for each space
`

/** One process for each core, each with one space at a time. */
const apart = async (space: Space, limit: number): Promise<Found> => {
  // As an argument, because a message may arrive before the child listens.
  const job = JSON.stringify({ space, limit: String(limit) })
  const child = fork(fileURLToPath(import.meta.url), ["space", job])
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`The search of ${JSON.stringify(space)} ended with ${String(code)}.`)
  })
  const [found] = (await Promise.race([once(child, "message"), ended])) as [Found]
  ended.catch(() => undefined)
  child.disconnect()
  return found
}

const main = async (): Promise<void> => {
  const { values } = commandLine(usage, {
    whole: { type: "boolean", default: false },
    limit: { type: "string" }
  })
  const limit = values.limit === undefined ? Infinity : Number(values.limit)
  if (!(limit > 0)) refuse(usage, `--limit must be a number above 0, not ${values.limit}`)
  const spaces = values.whole ? Spaces.whole : Spaces.usual
  const began = performance.now()
  let states = 0
  let broken = 0
  await inParallel(spaces.length, availableParallelism(), async (i) => {
    const found = await apart(spaces[i]!, limit)
    const { broken: isBroken, ...figures } = found
    states += figures.states
    if (isBroken) broken++
    process.stdout.write(`${JSON.stringify({ ...spaces[i]!, ...figures })}\n${inWords(found)}`)
  })
  const seconds = Math.round((performance.now() - began) / 1000)
  process.stdout.write(
    `${states} states in ${seconds} s: ${broken === 0 ? "none broken" : `${broken} spaces broken`}\n`
  )
  process.exitCode = broken === 0 ? 0 : 1
}

const [, , what, job] = process.argv
if (what === "space" && job !== undefined && process.send !== undefined) {
  const { limit, space } = JSON.parse(job) as { readonly space: Space; readonly limit: string }
  process.send(search(space, Number(limit)))
} else await main()
