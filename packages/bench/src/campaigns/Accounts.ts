/**
 * `accounts`: processes hold the same n accounts of one store, of which some are due at once. Each is renewed by one of
 * them, at a server where a second use of a refresh token shows: by one process at a server that answers at once, by 2 and
 * 4, and by 4 of which one is killed in the middle.
 *
 * Where there are several, the server takes 200 ms and each process has 2 places at it: 10 a second at most. So a process
 * waits more than it works, as in a product, and four of them and the store have room on two cores.
 */
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { loadavg } from "node:os"
import * as AccountStore from "./AccountStore.js"
import type { Backend } from "./Backend.js"
import * as Campaign from "./Campaign.js"
import type { Open } from "./Opener.js"

export interface AccountsJob {
  readonly backend: Backend
  readonly n: number
  readonly due: number
  readonly port: number
  /** How many refreshes a process has under way at the server. */
  readonly places: number
}

export interface AccountsReport {
  readonly refreshed: number
  readonly failures: ReadonlyArray<string>
  /** How many accounts have a warning, or none of their own. */
  readonly unsound: number
  readonly bytesAnAccount: number
  readonly idlePercent: number
  /** What callers waited meanwhile: the median, and 99 of 100. */
  readonly waitMillis: ReadonlyArray<number>
}

/** Rotates; the predecessor may be replayed until its successor is used. */
const startServer = async (millis: number) => {
  const generations = new Map<string, number>()
  const figures = { requests: 0, replays: 0, refused: 0, firstAt: Infinity, lastAt: 0 }
  const redeem = (token: string): boolean => {
    const { account, generation } = AccountStore.redeemed(token)
    const current = generations.get(account) ?? 1
    figures.requests++
    figures.lastAt = performance.now()
    figures.firstAt = Math.min(figures.firstAt, figures.lastAt)
    if (generation === current) generations.set(account, current + 1)
    else if (generation === current - 1) figures.replays++
    else figures.refused++
    return generation >= current - 1
  }
  const server = createServer((incoming, outgoing) => {
    let body = ""
    incoming.setEncoding("utf8").on("data", (chunk: string) => (body += chunk))
    incoming.on("end", () => {
      const isGood = redeem(body)
      setTimeout(() => outgoing.writeHead(isGood ? 200 : 400).end(), millis)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { port: (server.address() as AddressInfo).port, generations, figures, stop }
}

interface Round {
  readonly processes: number
  readonly kills?: boolean
  readonly n: number
  readonly due: number
}

const play = (open: Open, program: string, { due, kills = false, n, processes }: Round) =>
  Campaign.inDirectory(async (directory) => {
    const backend = { ...(await open(directory)), account: randomUUID() }
    await AccountStore.seed(backend, n, due)
    const isAlone = processes === 1
    const server = await startServer(isAlone ? 0 : 200)
    const job: AccountsJob = { backend, n, due, port: server.port, places: isAlone ? 32 : 2 }
    const children = Array.from({ length: processes }, () => Campaign.start(program, job))
    try {
      for (const child of children) await child.line()
      for (const child of children) child.tell("go")
      const giveUp = performance.now() + 120_000 + due * 500
      const until = async (renewed: number) => {
        while (server.generations.size < renewed && performance.now() < giveUp) await Campaign.pause(10)
      }
      const survivors = kills ? children.slice(1) : children
      if (kills) {
        await until(due / 2)
        children[0]!.kill("SIGKILL")
      }
      await until(due)
      for (const child of survivors) child.tell("over")
      const said = await Promise.all(
        survivors.map(async (child) => (await child.line()) as AccountsReport | undefined)
      )
      const { firstAt, lastAt, ...counts } = server.figures
      const renewed = server.generations.size
      const seconds = (lastAt - firstAt) / 1000
      const broken = [
        ...(renewed === due ? [] : [`${renewed} of ${due} accounts were renewed`]),
        ...(counts.refused === 0 ? [] : [`${counts.refused} requests with a spent refresh token`]),
        ...(counts.requests - counts.replays === due
          ? []
          : [`${counts.requests} requests for ${due} accounts`]),
        ...(kills || counts.replays === 0 ? [] : [`${counts.replays} requests sent twice`]),
        ...(said.every((s) => s?.unsound === 0) ? [] : ["accounts are not sound afterwards"]),
        ...new Set(said.flatMap((s) => s?.failures ?? ["a process died"]))
      ]
      return {
        figures: {
          ...counts,
          seconds: Math.round(seconds * 100) / 100,
          refreshesPerSecond: Math.round(counts.requests / seconds),
          byProcess: said.map((s) => s && { ...s, failures: undefined, unsound: undefined })
        },
        broken: broken.map((what) => `${processes} processes${kills ? ", one killed" : ""}: ${what}`)
      }
    } finally {
      for (const child of children) await child.end()
      server.stop()
    }
  })

/** A store in memory is of one process. */
export const run = async (
  open: Open,
  n: number,
  due: number,
  isShared: boolean
): Promise<Campaign.Figures> => {
  const program = await Campaign.bundle("accounts-child")
  const few = n < 100 ? [{ processes: 2, kills: true }] : [2, 4].map((processes) => ({ processes }))
  const rounds = [{ processes: 1 }, ...few, ...(n < 100 ? [] : [{ processes: 4, kills: true }])]
  const figures: Record<string, unknown> = {}
  const broken: Array<string> = []
  for (const round of isShared ? rounds : rounds.slice(0, 1)) {
    const done = await play(open, program, { ...round, n, due })
    figures[`${round.processes}${"kills" in round ? ", one killed" : ""}`] = done.figures
    broken.push(...done.broken)
  }
  return { due, loadAverage: Math.round((loadavg()[0] ?? 0) * 10) / 10, processes: figures, broken }
}
