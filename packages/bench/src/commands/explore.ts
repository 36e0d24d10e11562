/** Searches every history of the machine in small worlds, the shortest first: `npm run explore`. */
import { commandLine, refuse } from "../CommandLine.js"
import { search } from "../explorer/Search.js"
import * as Spaces from "../explorer/Spaces.js"

const usage = `npm run explore -- [--whole] [--limit N]

Searches every interleaving of a few processes over one store, one lease and one authorization server, breadth-first.
Prints the shortest history that breaks an invariant, and ends with code 1 if there is one.

  --whole    larger spaces, for hours
  --limit N  no more than N states for each space
`

const { values } = commandLine(usage, {
  whole: { type: "boolean", default: false },
  limit: { type: "string" }
})
const limit = values.limit === undefined ? Infinity : Number(values.limit)
if (!(limit > 0)) refuse(usage, `--limit must be a number above 0, not ${values.limit}`)

let states = 0
let seconds = 0
let isBroken = false
for (const space of values.whole ? Spaces.whole : Spaces.usual) {
  const found = search(space, limit)
  states += found.states
  seconds += found.seconds
  const { broken, ...figures } = found
  process.stdout.write(`${JSON.stringify({ ...space, ...figures })}\n`)
  if (broken === undefined) continue
  isBroken = true
  process.stdout.write(`*** ${broken.what}:\n`)
  broken.history.forEach((step, at) => process.stdout.write(`${at + 1}. ${step}\n`))
}
process.stdout.write(`${states} states in ${Math.round(seconds)} s: ${isBroken ? "broken" : "none broken"}\n`)
process.exitCode = isBroken ? 1 : 0
