/**
 * `npm run campaign -- NAME [--n N] [--seed S] [--backend B,…] [--due N]`: one JSON line of figures; exit 1 where an
 * invariant broke. `--keep` repeats a simulated history with the things of these numbers alone.
 */
import { Effect } from "effect"
import type { Figures } from "../campaigns/Campaign.js"
import { type Open, openers } from "../campaigns/Opener.js"
import * as Seeded from "../campaigns/Seeded.js"
import { commandLine, refuse } from "../CommandLine.js"

/** What several processes can share. */
const all = ["file", "sqlite", "postgres", "redis"] as const

/** Those that keep many accounts. */
const shared = ["sqlite", "postgres", "redis"] as const

/** `n` is its size unless told otherwise: that of the invariant it is to show. */
interface OnBackends {
  readonly n: number
  /** Those that it runs on, one after another. */
  readonly backends: ReadonlyArray<keyof typeof openers>
  /** `due`: how many of its accounts are to be renewed, where it has some; all unless given. */
  readonly runOn: (open: Open, n: number, seed: number, due: number) => Promise<Figures>
}

/** Opens what it runs on by itself. */
interface OnStores {
  readonly n: number
  readonly backends: ReadonlyArray<string>
  readonly runStore: (store: string, n: number, seed: number) => Promise<Outcome>
}

/** What has no server here is told of as skipped. */
type Outcome = Figures | { readonly skipped: string }

interface Alone {
  readonly n: number
  /** `keep`: of a history that went wrong, only the things of these numbers. */
  readonly run: (n: number, seed: number, keep: ReadonlyArray<number> | undefined) => Promise<Figures>
}

const tell = (text: string): void => void process.stderr.write(`${text}\n`)

/** A campaign's module is loaded when it runs: a small one starts without what the others need. */
const campaigns: Readonly<Record<string, OnBackends | OnStores | Alone>> = {
  kill: {
    n: 10_000,
    backends: ["file", "sqlite"],
    runOn: async (open, n, seed) => (await import("../campaigns/Kill.js")).run(open, n, seed)
  },
  procs: {
    n: 200,
    backends: all,
    runOn: async (open, n) =>
      (await import("../campaigns/Procs.js")).run(open, n, Math.min(32, Math.max(4, n)))
  },
  lease: {
    n: 2000,
    backends: all,
    runOn: async (open, n) =>
      (await import("../campaigns/Lease.js")).run(open, {
        killed: n,
        stopped: Math.ceil(n / 2),
        contenders: 16
      })
  },
  laws: {
    n: 5000,
    backends: ["memory", "file", "encrypted", "keyvalue", "sqlite", "redis", "postgres"],
    runStore: async (store, n, seed) => (await import("../campaigns/Laws.js")).run(store, n, seed)
  },
  crash: {
    n: 1000,
    backends: ["file", "sqlite"],
    runOn: async (open, n, seed) => (await import("../campaigns/Crash.js")).run(open, n, seed)
  },
  accounts: {
    n: 100_000,
    backends: ["memory", ...shared],
    runOn: async (open, n, _, due) => (await import("../campaigns/Accounts.js")).run(open, n, due)
  },
  fleet: {
    n: 2000,
    backends: ["postgres", "redis"],
    runOn: async (open, n) => (await import("../campaigns/Fleet.js")).run(open, n)
  },
  simulate: {
    n: 100_000,
    run: async (n, seed, keep) => (await import("../simulation/Simulate.js")).simulate(n, seed, tell, keep)
  },
  terminals: {
    n: 100,
    run: async (n) => (await import("../campaigns/Terminals.js")).run(n)
  },
  startup: {
    n: 15,
    run: async (n) => (await import("../campaigns/Startup.js")).run(n)
  },
  mutants: {
    n: 300,
    run: async (n, seed) => (await import("../simulation/MutantCampaign.js")).meetAll(n, seed)
  },
  herd: {
    n: 10_000,
    run: async (n, seed) => (await import("../campaigns/Herd.js")).run(n, seed)
  },
  canary: {
    n: 100,
    run: async (n, seed) => (await import("../campaigns/canary/Canary.js")).run(n, seed)
  },
  clock: {
    n: 100_000,
    run: async (n, seed) => {
      const { history } = await import("../../../oauth/test/support/clocks.js")
      return Seeded.run(n, seed, history, ({ requests }) => ({ requests }))
    }
  },
  races: {
    n: 10_000,
    run: async (n, seed) => {
      const { race } = await import("../../../oauth/test/support/races.js")
      return Seeded.run(n, seed, race, ({ falseAlarms, refreshes, refused }) => ({
        refreshes,
        refused,
        falseAlarms
      }))
    }
  },
  fuzz: {
    n: 10_000,
    run: async (n, seed) => {
      const { fuzz } = await import("../../../oauth/test/support/fuzz.js")
      return Seeded.run(n, seed, fuzz, ({ said }) => ({
        accepted: said === "fine" ? 1 : 0,
        salvaged: said === "fine" ? 0 : 1
      }))
    }
  }
}

const usage = `usage: npm run campaign -- NAME [--n N] [--seed S] [--due N] [--backend ${all.join(",")}] [--keep N,…]
names: ${Object.keys(campaigns).join(", ")}
`
const { positionals, values } = commandLine(usage, {
  n: { type: "string" },
  seed: { type: "string" },
  backend: { type: "string" },
  due: { type: "string" },
  keep: { type: "string" }
})

/** The whole number of an option, or what stands for it where it is not given. */
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
const due = whole("due", 1, n)
if (due > n) refuse(usage, `--due is ${due}, more than there are accounts: ${n}`)
const keep = values.keep?.split(",").map(Number)
if (keep?.some((number) => !Number.isSafeInteger(number)))
  refuse(usage, "--keep is to be numbers with commas")
const possible: ReadonlyArray<string> = "backends" in campaign ? campaign.backends : []
const names = values.backend === undefined ? possible : values.backend.split(",")
const strange = names.filter((backend) => !possible.includes(backend))
if (strange.length > 0) {
  const there = possible.length > 0 ? `there are ${possible.join(", ")}` : "it takes none"
  refuse(usage, `${name} has no backend called ${strange.join(", ")}; ${there}`)
}
const chosen = possible.filter((backend) => names.includes(backend))

const runOn = (spec: OnBackends | OnStores, backend: string): Promise<Outcome> => {
  if ("runStore" in spec) return spec.runStore(backend, n, seed)
  const opener = openers[backend as keyof typeof openers]
  const ran = Effect.flatMap(opener, (open) => Effect.promise(() => spec.runOn(open, n, seed, due)))
  return Effect.runPromise(Effect.scoped(ran).pipe(Effect.catchAll((skipped) => Effect.succeed({ skipped }))))
}

const onBackends = async (spec: OnBackends | OnStores): Promise<Readonly<Record<string, Outcome>>> => {
  const figures: Record<string, Outcome> = {}
  for (const backend of chosen) figures[backend] = await runOn(spec, backend)
  return figures
}

const told =
  "backends" in campaign ? { backends: await onBackends(campaign) } : await campaign.run(n, seed, keep)
const broke = (figures: object): boolean =>
  "broken" in figures && Array.isArray(figures.broken) && figures.broken.length > 0
process.stdout.write(`${JSON.stringify({ campaign: name, n, seed, ...told })}\n`)
process.exit([told, ...Object.values(told.backends ?? {})].some(broke) ? 1 : 0)
