/**
 * `npm run campaign -- NAME [--n N] [--seed S] [--backend B,…]`: one JSON line of figures; exit 1 where an
 * invariant broke.
 */
import { Effect, Either } from "effect"
import { parseArgs } from "node:util"
import type * as Campaign from "../campaigns/Campaign.js"
import * as Kill from "../campaigns/Kill.js"
import * as Lease from "../campaigns/Lease.js"
import { type Open, openers } from "../campaigns/Opener.js"
import * as Procs from "../campaigns/Procs.js"

const all = Object.keys(openers) as ReadonlyArray<keyof typeof openers>

/** Its size unless told otherwise, which is that of the invariant it is to show. */
interface Spec {
  readonly n: number
  readonly backends: typeof all
  readonly run: (open: Open, n: number, seed: number) => Promise<Campaign.Figures>
}

const campaigns: Readonly<Record<string, Spec>> = {
  kill: { n: 10_000, backends: ["file", "sqlite"], run: Kill.run },
  procs: { n: 200, backends: all, run: (open, n) => Procs.run(open, n, Math.min(32, Math.max(4, n))) },
  lease: {
    n: 2000,
    backends: all,
    run: (open, n) => Lease.run(open, { killed: n, stopped: Math.ceil(n / 2), contenders: 16 })
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { n: { type: "string" }, seed: { type: "string" }, backend: { type: "string" } }
})
const name = positionals[0] ?? ""
const campaign = campaigns[name]
const names = values.backend === undefined ? (campaign?.backends ?? []) : values.backend.split(",")
const chosen = all.filter((backend) => names.includes(backend))
const n = values.n === undefined ? campaign?.n : Number(values.n)
const seed = values.seed === undefined ? 1 : Number(values.seed)
if (
  campaign === undefined ||
  chosen.length !== names.length ||
  !Number.isSafeInteger(n) ||
  !Number.isSafeInteger(seed)
) {
  process.stderr.write(
    `usage: npm run campaign -- ${Object.keys(campaigns).join("|")} [--n N] [--seed S] [--backend ${all.join(",")}]\n`
  )
  process.exit(2)
}

let broken = 0
const figures: Record<string, Campaign.Figures | { readonly skipped: string }> = {}
for (const backend of chosen) {
  const ran = Effect.flatMap(openers[backend], (open) => Effect.promise(() => campaign.run(open, n!, seed)))
  const outcome = await Effect.runPromise(Effect.either(Effect.scoped(ran)))
  figures[backend] = Either.getOrElse(outcome, (skipped) => ({ skipped }))
  broken += Either.isRight(outcome) ? outcome.right.broken.length : 0
}
process.stdout.write(`${JSON.stringify({ campaign: name, n, seed, backends: figures })}\n`)
process.exit(broken === 0 ? 0 : 1)
