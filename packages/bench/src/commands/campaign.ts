/**
 * `npm run campaign -- NAME [--n N] [--seed S] [--backend B,…] [--due N]`: prints one JSON line of figures.
 * Exits with 1 if an invariant was violated.
 */
import type { Effect } from "effect/Effect"
import { type Figures, runSeeds } from "../campaigns/Campaign.js"
import { type Open, using } from "../campaigns/Opener.js"
import { commandLine, refuse } from "../CommandLine.js"

/** The arguments of a campaign. `due`: how many of its accounts to renew, if it has accounts. */
interface Given {
  readonly n: number
  readonly seed: number
  readonly due: number
  readonly backend: string
}

/** A backend without a server here reports that. */
type Outcome = Figures | { readonly skipped: string }

interface Campaign {
  /** Its default size: that of the invariant that it demonstrates. */
  readonly n: number
  /** The backends that it runs on, in sequence. */
  readonly backends?: ReadonlyArray<string>
  readonly run: (given: Given) => Promise<Outcome>
}

const all = ["file", "sqlite", "postgres", "redis"]

/** Runs on its own store. */
const on = (
  n: number,
  backends: ReadonlyArray<string>,
  run: (open: Open, given: Given) => Promise<Figures>
): Campaign => ({ n, backends, run: (given) => using(given.backend, (open) => run(open, given)) })

/** Generates each history from its own seed. */
const drawn = <A extends { readonly broken: ReadonlyArray<string> }>(
  n: number,
  load: () => Promise<(seed: number) => Effect<A, unknown>>,
  tally: (outcome: A) => Readonly<Record<string, number>>
): Campaign => ({ n, run: async (given) => runSeeds(given.n, given.seed, await load(), tally) })

/** A campaign's module is loaded when it runs, so a small one does not load the others' imports. */
const campaigns: Readonly<Record<string, Campaign>> = {
  kill: on(10_000, ["file", "sqlite"], async (open, { n, seed }) =>
    (await import("../campaigns/Kill.js")).run(open, n, seed)
  ),
  procs: on(200, all, async (open, { n }) =>
    (await import("../campaigns/Procs.js")).run(open, n, Math.min(32, Math.max(4, n)))
  ),
  lease: on(2000, all, async (open, { n }) =>
    (await import("../campaigns/Lease.js")).run(open, {
      killed: n,
      stopped: Math.ceil(n / 2),
      contenders: 16
    })
  ),
  crash: on(1000, ["file", "sqlite"], async (open, { n, seed }) =>
    (await import("../campaigns/Crash.js")).run(open, n, seed)
  ),
  accounts: on(2000, ["sqlite", "postgres", "redis"], async (open, { due, n }) =>
    (await import("../campaigns/Accounts.js")).run(open, n, due)
  ),
  laws: {
    n: 5000,
    backends: ["memory", "file", "encrypted", "keyvalue", "sqlite", "redis", "postgres"],
    run: async ({ backend, n, seed }) => (await import("../campaigns/Laws.js")).run(backend, n, seed)
  },
  simulate: {
    n: 100_000,
    run: async ({ n, seed }) =>
      (await import("../simulation/Simulate.js")).simulate(
        n,
        seed,
        (text) => void process.stderr.write(`${text}\n`)
      )
  },
  mcp: {
    n: 1,
    backends: ["2026-07-28", "2025-11-25", "2025-03-26", "extension"],
    run: async ({ backend }) => (await import("../campaigns/McpConformance.js")).run(backend)
  },
  "mcp-expiries": {
    n: 50,
    run: async ({ n }) => (await import("../campaigns/McpExpiries.js")).run(n)
  },
  canary: {
    n: 100,
    run: async ({ n, seed }) => (await import("../campaigns/Canary.js")).run(n, seed)
  },
  clock: drawn(
    100_000,
    async () => (await import("../../../oauth/test/support/clocks.js")).history,
    ({ requests }) => ({ requests })
  ),
  fuzz: drawn(
    10_000,
    async () => (await import("../../../oauth/test/support/fuzz.js")).fuzz,
    ({ said }) => (said === "fine" ? { accepted: 1, salvaged: 0 } : { accepted: 0, salvaged: 1 })
  )
}

const usage = `usage: npm run campaign -- NAME [--n N] [--seed S] [--due N] [--backend ${all.join(",")}]
names: ${Object.keys(campaigns).join(", ")}
`
const { positionals, values } = commandLine(usage, {
  n: { type: "string" },
  seed: { type: "string" },
  backend: { type: "string" },
  due: { type: "string" }
})

/** Returns the whole number of an option, or its default. */
const whole = (option: "n" | "seed" | "due", least: number, otherwise: number): number => {
  const text = values[option]
  if (text === undefined) return otherwise
  const value = text.trim() === "" ? Number.NaN : Number(text)
  return Number.isSafeInteger(value) && value >= least
    ? value
    : refuse(usage, `--${option} is to be a whole number, ${least} or more; it is "${text}"`)
}

const [name = "", ...more] = positionals
const campaign = Object.hasOwn(campaigns, name) ? campaigns[name] : undefined
if (campaign === undefined || more.length > 0) {
  throw refuse(usage, name === "" ? "which campaign?" : `no campaign is called ${positionals.join(" ")}`)
}
const n = whole("n", 1, campaign.n)
const seed = whole("seed", Number.MIN_SAFE_INTEGER, 1)
const due = whole("due", 1, Math.min(n, 20_000))
if (due > n) refuse(usage, `--due is ${due}, more than there are accounts: ${n}`)
const possible = campaign.backends ?? []
const names = values.backend?.split(",") ?? possible
const strange = names.filter((backend) => !possible.includes(backend))
if (strange.length > 0) {
  const there = possible.length > 0 ? `there are ${possible.join(", ")}` : "it takes none"
  refuse(usage, `${name} has no backend called ${strange.join(", ")}; ${there}`)
}

const outcomes: Record<string, Outcome> = {}
for (const backend of possible.length > 0 ? possible.filter((one) => names.includes(one)) : [""])
  outcomes[backend] = await campaign.run({ n, seed, due, backend })
const figures = possible.length > 0 ? { backends: outcomes } : outcomes[""]
process.stdout.write(`${JSON.stringify({ campaign: name, n, seed, ...figures })}\n`)
process.exit(Object.values(outcomes).some((one) => "broken" in one && one.broken.length > 0) ? 1 : 0)
