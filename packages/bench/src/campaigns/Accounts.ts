/**
 * `accounts`: how the `Renewer` serves a product with very many accounts, measured with real processes over
 * one store with `n` idle accounts. It measures the time for a page of due accounts, the renewals per second
 * of two processes, the memory of one process, and the effect of a killed process, of a server that hangs,
 * and of a restart.
 */
import type * as Renewer from "@latchkey/core/Renewer"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { loadavg } from "node:os"
import * as AccountStore from "./AccountStore.js"
import type { Backend } from "./Backend.js"
import * as Campaign from "./Campaign.js"
import type { Open } from "./Opener.js"

export interface RenewingJob {
  readonly backend: Backend
  readonly port: number
  readonly options: Renewer.Options
}

export interface RenewingReport {
  readonly renewed: number
  readonly failed: number
  /** Both after a full collection, in bytes. */
  readonly rss: number
  readonly heapUsed: number
  readonly cpuMillis: number
}

/** The token server's behaviour from now on. Its figures are reset to zero. */
export interface Behaviour {
  /** In milliseconds. */
  readonly answersAfter: number
  /** Whether it accepts requests for accounts of the server `bad` and never responds. */
  readonly hangs: boolean
  /** How long before its end a token is due, in milliseconds. */
  readonly lead: number
}

export interface ServerFigures {
  readonly posts: number
  /** Refresh tokens that were sent again while the server allows it, and those that it refused as spent. */
  readonly replays: number
  readonly refused: number
  readonly hung: number
  readonly firstAt: number
  readonly lastAt: number
  /**
   * The delay of the latest renewal of an account of the server `good`, among those that came due since then,
   * in milliseconds.
   */
  readonly latest: number
  /** How many accounts of each block were renewed, from the beginning. */
  readonly renewed: Readonly<Record<string, number>>
}

/** The grace of the default policy: when tokens are due. */
const lead = 120_000
const everyMillis = 1000
const hour = 3_600_000

const round = (value: number, digits = 0): number => Number(value.toFixed(digits))
const megabytes = (bytes: number): number => round(bytes / 1_000_000, 1)
/** The load of the machine beside a figure, because other programs may use it. */
const load = (): number => round(loadavg()[0] ?? 0, 1)

const startServer = async () => {
  const child = Campaign.start(await Campaign.bundle("token-server"), null)
  const port = (await child.line()) as number
  const figures = async (): Promise<ServerFigures> => {
    child.tell("figures")
    return (await child.line()) as ServerFigures
  }
  return {
    port,
    figures,
    behave: (behaviour: Partial<Behaviour>) => child.tell(behaviour),
    until: async (is: (figures: ServerFigures) => boolean, seconds: number): Promise<ServerFigures> => {
      const giveUp = performance.now() + seconds * 1000
      for (;;) {
        const now = await figures()
        if (is(now) || performance.now() > giveUp) return now
        await Campaign.pause(20)
      }
    },
    end: child.end
  }
}

/** `due`: how many accounts are renewed in the longest of its parts. */
export const run = (open: Open, n: number, due: number): Promise<Campaign.Figures> =>
  Campaign.inDirectory(async (directory) => {
    const backend = await open(directory)
    const program = await Campaign.bundle("accounts-child")
    const server = await startServer()
    const runtime = ManagedRuntime.make(AccountStore.layer(backend))
    const running = new Set<Campaign.Child>()
    const figures: Record<string, unknown> = {}
    const broken: Array<string> = []
    let stored = 0
    const note = (part: string, found: unknown): void => {
      figures[part] = found
      if (n > 1000) process.stderr.write(`${backend.kind}, ${part}: ${JSON.stringify(found)}\n`)
    }

    const seed = async (
      name: string,
      count: number,
      from: number,
      to: number
    ): Promise<AccountStore.Block> => {
      const now = Math.round(Campaign.wallClock())
      const block = { name, n: count, from: now + from, to: now + to }
      await runtime.runPromise(AccountStore.seed(backend, block))
      stored += count
      return block
    }
    /** Accounts whose tokens are already within their grace. */
    const seedDue = (name: string, count: number) => seed(name, count, lead / 4, lead / 2)
    const start = async (options: Renewer.Options = {}): Promise<Campaign.Child> => {
      const all: Renewer.Options = { every: everyMillis, concurrency: 64, perServer: 64, ...options }
      const job: RenewingJob = { backend, port: server.port, options: all }
      const child = Campaign.start(program, job)
      running.add(child)
      await child.line()
      return child
    }
    const report = async (child: Campaign.Child): Promise<RenewingReport | undefined> => {
      child.tell("report")
      return (await child.line()) as RenewingReport | undefined
    }
    const stop = async (child: Campaign.Child): Promise<void> => {
      running.delete(child)
      await child.end()
    }
    /** Waits until the blocks are renewed. Returns the problems. */
    const finish = async (
      part: string,
      blocks: ReadonlyArray<AccountStore.Block>
    ): Promise<ServerFigures> => {
      const isDone = ({ renewed }: ServerFigures) => blocks.every((b) => (renewed[b.name] ?? 0) >= b.n)
      const seen = await server.until(isDone, 90 + due / 10)
      const countUnsound = () => Promise.all(blocks.map((b) => runtime.runPromise(AccountStore.unsound(b))))
      const sumOf = (counts: ReadonlyArray<number>) => counts.reduce((sum, one) => sum + one, 0)
      // The server's last responses are committed a moment later.
      let unsound = sumOf(await countUnsound())
      for (let i = 0; unsound > 0 && i < 20; i++) {
        await Campaign.pause(250)
        unsound = sumOf(await countUnsound())
      }
      for (const { n: wanted, name } of blocks) {
        const renewed = seen.renewed[name] ?? 0
        if (renewed !== wanted) broken.push(`${part}: ${renewed} renewals for ${wanted} accounts of ${name}`)
      }
      if (unsound > 0) broken.push(`${part}: ${unsound} accounts do not hold what the server gave them`)
      const last = await server.figures()
      if (last.refused > 0) broken.push(`${part}: ${last.refused} spent refresh tokens were sent`)
      return last
    }

    /** The memory of a process that renews the same number out of many accounts as out of few. */
    const memory = async (size: number) => {
      const block = await seedDue(`good_memory${size}`, Math.ceil(due / 4))
      const child = await start()
      await finish("memory", [block])
      const told = await report(child)
      await stop(child)
      return told
    }

    const rate = async () => {
      const block = await seedDue("good_rate", due)
      server.behave({ answersAfter: 0 })
      const children = [await start(), await start()]
      const { firstAt, lastAt, posts, replays } = await finish("rate", [block])
      const told = await Promise.all(children.map(report))
      await Promise.all(children.map(stop))
      if (replays > 0) broken.push(`rate: ${replays} refresh tokens were sent twice`)
      const sum = (of: (one: RenewingReport) => number) => told.reduce((s, r) => s + (r ? of(r) : 0), 0)
      note("rate", {
        renewalsPerSecond: round(posts / ((lastAt - firstAt) / 1000)),
        cpuMillisPerRenewal: round(sum((r) => r.cpuMillis) / posts, 2),
        load: load()
      })
    }

    const kill = async () => {
      const block = await seedDue("good_kill", Math.ceil(due / 2))
      server.behave({ answersAfter: 50 })
      const [first, second] = [await start(), await start()] as const
      await server.until(({ posts }) => posts >= block.n / 3, 60)
      first.kill("SIGKILL")
      const { posts, replays } = await finish("kill", [block])
      await stop(first)
      await stop(second)
      note("kill", { accounts: block.n, posts, replays, load: load() })
    }

    const hang = async () => {
      server.behave({ answersAfter: 0, hangs: true, lead })
      // One server can use at most a quarter of the places.
      const child = await start({ window: 0, perServer: 16 })
      const bad = await seedDue("bad_hang", Math.min(Math.ceil(due / 2), 2000))
      await server.until(({ hung }) => hung > 0, 30)
      const some = Math.min(bad.n, 60)
      const good = await seed("good_hang", some, lead + 1500, lead + 1500 + some * 100)
      const { hung, latest } = await finish("hang", [good])
      if (hung === 0) broken.push("hang: nothing hangs")
      // One round to find it, and at most one more because of another server.
      if (latest > 2 * everyMillis)
        broken.push(`hang: an account of another server was ${round(latest)} ms late`)
      note("hang", { due: bad.n, hung, others: some, latestMillis: round(latest), everyMillis, load: load() })
      // A restart, while requests that are lost with the process can still be replayed, and other accounts
      // come due.
      await stop(child)
      const away = await seed("good_restart", bad.n, lead + 100, lead + 1000)
      await Campaign.pause(1100)
      server.behave({ hangs: false })
      const began = performance.now()
      const again = await start({ window: 0 })
      const { posts, replays } = await finish("restart", [bad, away])
      const seconds = round((performance.now() - began) / 1000, 1)
      await stop(again)
      note("restart", { wereDue: bad.n + away.n, posts, replays, seconds, load: load() })
    }

    try {
      const few = Math.min(n, 10_000)
      await seed("good_few", few, hour, 2 * hour)
      const atFew = n > few ? await memory(few) : undefined
      const began = performance.now()
      if (n > few) await seed("good_rest", n - few, hour, 2 * hour)
      note("seedSeconds", round((performance.now() - began) / 1000, 1))
      const now = Math.round(Campaign.wallClock())
      const all = { name: "", n, from: now + hour, to: now + 2 * hour }
      const measure = async () => ({
        medianAndP99: await runtime.runPromise(AccountStore.measureDue(all, Math.min(n, 200))),
        load: load()
      })
      note("due", await measure())
      const atAll = atFew && (await memory(n))
      if (atFew !== undefined && atAll !== undefined) {
        note("memory", {
          [few]: { rss: megabytes(atFew.rss), heap: megabytes(atFew.heapUsed) },
          [n]: { rss: megabytes(atAll.rss), heap: megabytes(atAll.heapUsed) },
          growthPercent: round((atAll.rss / atFew.rss - 1) * 100, 1),
          load: load()
        })
      }
      // A rate needs enough renewed accounts.
      if (due >= 500) {
        await rate()
        note("dueAfterwards", await measure())
      }
      await kill()
      await hang()
      const counted = await runtime.runPromise(
        Effect.flatMap(TokenStorages.TokenStorages, ({ count }) => count)
      )
      if (counted !== stored) broken.push(`${counted} accounts are stored of ${stored}`)
      return { due, ...figures, broken }
    } finally {
      for (const child of running) await child.end()
      await server.end()
      await runtime.dispose()
    }
  })
