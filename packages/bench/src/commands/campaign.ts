/**
 * `npm run campaign -- NAME [--n N] [--seed S] [--backend B,…]`: one JSON line of figures; exit 1 where an
 * invariant broke.
 */
import { parseArgs } from "node:util"
import { join } from "node:path"
import type * as Backend from "../campaigns/Backend.js"
import * as Campaign from "../campaigns/Campaign.js"
import * as Kill from "../campaigns/Kill.js"
import * as Lease from "../campaigns/Lease.js"
import * as Procs from "../campaigns/Procs.js"

type Open = (directory: string) => Promise<Backend.Backend>

const backends: Readonly<Record<string, Open>> = {
  file: async (directory) => ({ kind: "file", location: join(directory, "credentials.json") })
}

/** Each with the size it has unless told otherwise: that of the invariant it is to show. */
const campaigns: Readonly<
  Record<
    string,
    { readonly n: number; readonly run: (open: Open, n: number, seed: number) => Promise<Campaign.Figures> }
  >
> = {
  kill: { n: 10_000, run: Kill.run },
  procs: { n: 200, run: (open, n) => Procs.run(open, n, Math.min(32, Math.max(4, n))) },
  lease: {
    n: 2000,
    run: (open, n) => Lease.run(open, { killed: n, stopped: Math.ceil(n / 2), contenders: 16 })
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { n: { type: "string" }, seed: { type: "string" }, backend: { type: "string" } }
})
const name = positionals[0] ?? ""
const campaign = campaigns[name]
const chosen = (values.backend ?? "file").split(",")
const n = values.n === undefined ? campaign?.n : Number(values.n)
const seed = values.seed === undefined ? 1 : Number(values.seed)
if (
  campaign === undefined ||
  chosen.some((b) => !(b in backends)) ||
  !Number.isSafeInteger(n) ||
  !Number.isSafeInteger(seed)
) {
  process.stderr.write(
    `usage: npm run campaign -- ${Object.keys(campaigns).join("|")} [--n N] [--seed S] [--backend ${Object.keys(backends).join(",")}]\n`
  )
  process.exit(2)
}

let broken = 0
const figures: Record<string, Campaign.Figures> = {}
for (const backend of chosen) {
  figures[backend] = await campaign.run(backends[backend]!, n!, seed)
  broken += figures[backend].broken.length
}
process.stdout.write(`${JSON.stringify({ campaign: name, n, seed, backends: figures })}\n`)
process.exit(broken === 0 ? 0 : 1)
