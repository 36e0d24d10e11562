/** `memory`: the memory of an account, in a separate process for each candidate. */
import type { Bench } from "../Bench.js"
import { poolOf, tokenOf } from "../candidates/Pool.js"
import { type Held, type Peer, type Server, wallClock } from "../Peer.js"
import { exactly, row, type Row, type Table } from "../Report.js"

export interface Job {
  readonly job: "memory"
  readonly candidate: string
  readonly accounts: number
}

export interface Weight {
  /** In bytes: the memory of the accounts, and everything that the process has on and off its heap. */
  readonly accounts: number
  readonly inAll: number
}

const ours = "latchkey"
const plain = "a plain record"

const nowhere: Server = {
  issuer: "http://127.0.0.1:1",
  tokenEndpoint: "http://127.0.0.1:1/token",
  clientId: "public-client"
}

const heldOf = (n: number): Held => ({
  accessToken: tokenOf("access", n),
  refreshToken: tokenOf("refresh", n),
  expiresAt: wallClock() + 7_200_000
})

const hold = async (candidate: string, accounts: number, peers: ReadonlyArray<Peer>): Promise<unknown> => {
  if (candidate === ours) return poolOf(accounts)
  if (candidate === plain) return Array.from({ length: accounts }, (_, n) => ({ ...heldOf(n) }))
  const peer = peers.find(({ name }) => name === candidate)
  const sessions: Array<unknown> = []
  for (let n = 0; n < accounts; n++) {
    const session = await peer?.open(nowhere, heldOf(n))
    await session?.get()
    sessions.push(session)
  }
  return sessions
}

const inUse = (): number => {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  const { arrayBuffers, external, heapUsed } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

/** Measures them here. Anything that the first account creates once exists before the measurement. */
export const weigh = async (
  { accounts, candidate }: Job,
  peers: ReadonlyArray<Peer>,
  keep: (value: unknown) => void
): Promise<Weight> => {
  keep(await hold(candidate, 10, peers))
  const before = inUse()
  keep(await hold(candidate, accounts, peers))
  const after = inUse()
  return { accounts: after - before, inAll: after }
}

export const memory: Bench = async ({ child, peers, small }) => {
  const refreshing = peers.filter(({ name }) => !withServer.includes(name))
  const names = [ours, plain, ...refreshing.map(({ name }) => name)]
  const tables: Array<Table> = []
  for (const accounts of small ? [100] : [10_000, 100_000]) {
    const rows: Array<Row> = []
    for (const candidate of names) {
      const job: Job = { job: "memory", candidate, accounts }
      const weight = (await child(job, ["--expose-gc", "--max-old-space-size=6000"])) as Weight
      const each = Math.round(weight.accounts / accounts)
      const first = rows[0]?.value.median ?? each
      rows.push(row(candidate, exactly(each), first, { "MB in all": Math.round(weight.inAll / 1e6) }))
    }
    tables.push({ title: `Memory of ${accounts.toLocaleString("en")} accounts, each`, unit: "bytes", rows })
  }
  const last = tables.at(-1)
  const lightest = Math.min(
    ...(last?.rows ?? [])
      .filter(({ name }) => peers.some((peer) => peer.full && peer.name === name))
      .map(({ value }) => value.median)
  )
  const own = last?.rows[0]
  return {
    tables,
    goals: [
      {
        what: "bytes an account against the lightest library that refreshes",
        found: (own?.value.median ?? Number.NaN) / lightest,
        atMost: 1
      },
      { what: `MB in all, ${last?.title ?? ""}`, found: Number(own?.more?.["MB in all"]), atMost: 150 }
    ]
  }
}

/** It fills its cache only from a token server. */
const withServer = ["@azure/msal-node"]
