/**
 * `fleet`: several processes hold the same n accounts of one store, and all of them become due at once. Each is
 * to be renewed by one of them, at a server where a second use of a refresh token shows: by 1, 2 and 4 processes,
 * and by 4 of which one is killed in the middle.
 *
 * The server takes 200 ms, and each process has 2 places at it: 10 a second at most. So a process waits more than it
 * works, as in a product, and four of them and the store have room on two cores that others use too.
 */
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { loadavg } from "node:os"
import { join } from "node:path"
import { mkdir } from "node:fs/promises"
import * as Campaign from "./Campaign.js"
import type { Open } from "./Opener.js"
import * as Tenants from "./Tenants.js"

/** How long the server takes. */
const serverMillis = 200

/** Rotates; the predecessor may be replayed until its successor is used. */
const startServer = async () => {
  const generations = new Map<string, number>()
  const figures = { requests: 0, replays: 0, refused: 0, firstAt: 0, lastAt: 0 }
  const redeem = (token: string): boolean => {
    const { account, generation } = Tenants.redeemed(token)
    const current = generations.get(account) ?? 1
    figures.requests++
    figures.lastAt = performance.now()
    if (figures.firstAt === 0) figures.firstAt = figures.lastAt
    if (generation === current) generations.set(account, current + 1)
    else if (generation === current - 1) figures.replays++
    else figures.refused++
    return generation >= current - 1
  }
  const server = createServer((incoming, outgoing) => {
    let body = ""
    incoming.setEncoding("utf8").on("data", (chunk: string) => (body += chunk))
    incoming.on("end", () => {
      const good = redeem(body)
      setTimeout(() => outgoing.writeHead(good ? 200 : 400).end(), serverMillis)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as AddressInfo).port,
    generations,
    figures,
    stop: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

interface Said {
  readonly refreshed: number
  readonly failures: ReadonlyArray<string>
  readonly warned: number
}

const round = async (
  open: Open,
  directory: string,
  options: { readonly n: number; readonly processes: number; readonly kill: boolean }
) => {
  const { kill, n, processes } = options
  const program = await Campaign.bundle("tenants-child")
  const place = join(directory, `${processes}${kill ? "-killed" : ""}`)
  await mkdir(place)
  const backend = { ...(await open(place)), account: randomUUID() }
  await Effect.runPromise(Tenants.seed(backend, n, Math.round(Campaign.wallClock())))
  const server = await startServer()
  try {
    const children = Array.from({ length: processes }, () =>
      Campaign.start(program, { do: "serve", backend, n, port: server.port })
    )
    for (const child of children) await child.line()
    for (const child of children) child.tell("go")
    const giveUp = performance.now() + 120_000 + n * serverMillis
    const renewed = () => server.generations.size
    const until = async (done: () => boolean) => {
      while (!done() && performance.now() < giveUp) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const [victim, ...others] = children
    const survivors = kill ? others : children
    if (kill) {
      await until(() => renewed() >= n / 2)
      victim!.kill("SIGKILL")
    }
    await until(() => renewed() >= n)
    for (const child of survivors) child.tell("tell")
    const said = await Promise.all(survivors.map(async (child) => (await child.line()) as Said | undefined))
    await Promise.all(children.map((child) => child.end()))
    const { firstAt, lastAt, ...counts } = server.figures
    const seconds = (lastAt - firstAt) / 1000
    const broken = [
      ...(renewed() === n ? [] : [`${n - renewed()} accounts were not renewed`]),
      ...(counts.refused === 0 ? [] : [`${counts.refused} requests with a spent refresh token`]),
      ...(counts.requests - counts.replays === n ? [] : [`${counts.requests} requests for ${n} accounts`]),
      ...(kill || counts.replays === 0 ? [] : [`${counts.replays} requests sent twice`]),
      ...(said.every((s) => s !== undefined && s.warned === 0) ? [] : ["accounts with warnings afterwards"]),
      ...[...new Set(said.flatMap((s) => s?.failures ?? ["a process died"]))]
    ]
    return {
      figures: {
        ...counts,
        seconds: Math.round(seconds * 100) / 100,
        refreshesPerSecond: Math.round(counts.requests / seconds),
        byProcess: said.map((s) => s?.refreshed)
      },
      broken: broken.map((problem) => `${processes} processes${kill ? ", one killed" : ""}: ${problem}`)
    }
  } finally {
    server.stop()
  }
}

type Round = readonly [name: string, processes: number, kill: boolean]

const rounds: ReadonlyArray<Round> = [
  ["1", 1, false],
  ["2", 2, false],
  ["4", 4, false],
  ["4, one killed", 4, true]
]

/** For a look at whether it works. */
const small: Round = ["2, one killed", 2, true]

export const run = (open: Open, n: number): Promise<Campaign.Figures> =>
  Campaign.inDirectory(async (directory) => {
    const figures: Record<string, unknown> = {}
    const broken: Array<string> = []
    for (const [name, processes, kill] of n < 100 ? [small] : rounds) {
      const done = await round(open, directory, { n, processes, kill })
      figures[name] = done.figures
      broken.push(...done.broken)
    }
    return {
      serverMillis,
      placesEach: Tenants.placesAtServer,
      loadAverage: loadavg()[0],
      processes: figures,
      broken
    }
  })
