/** One round of renewal: which of the accounts that are due begin now. Pure; times are epoch milliseconds. */
import type { DueAccount } from "../TokenStorages.js"
import { jitterShare } from "./BackOff.js"

/** How renewals are spread, and how many run at a time. */
export interface Limits {
  readonly concurrency: number
  readonly perServer: number
  /** How long before its end a token is renewed at the latest, and over how long before that renewals are spread. */
  readonly lead: number
  readonly window: number
  /** Gives each process its own order, so that several do not begin with the same accounts. */
  readonly instance: string
}

/** What is under way at one token server, and until when it is left alone after failures in a row. */
export interface ServerLoad {
  readonly running: number
  readonly failures: number
  readonly notBefore: number
}

/** A name of a token server, or an object that stands for it. */
export type Server = string | object

/** What is under way, and what is left alone. */
export interface Load {
  readonly running: ReadonlySet<string>
  readonly servers: ReadonlyMap<Server, ServerLoad>
  /** Accounts that cannot be renewed as they are, and until when they are not looked at again. */
  readonly resting: ReadonlyMap<string, number>
}

export const noLoad: Load = { running: new Set(), servers: new Map(), resting: new Map() }

/**
 * What came of a renewal. `Done`: the account has a token that lasts, or another process is at it. `Failed`: the server or the
 * way to it failed. `Stuck`: this account cannot be renewed, whatever the server does.
 */
export type Outcome = "Done" | "Failed" | "Stuck"

const idle: ServerLoad = { running: 0, failures: 0, notBefore: -Infinity }

export const serverOf = (load: Load, server: Server): ServerLoad => load.servers.get(server) ?? idle

/** Until when accounts are asked for: those that are due by then may begin now. */
export const horizon = ({ lead, window }: Limits, now: number): number => now + lead + window

/** When an account begins: each has its own moment in the window before its lead. */
const startsAt = ({ instance, lead, window }: Limits, { account, dueAt }: DueAccount): number =>
  dueAt - lead - window * jitterShare(`${account} ${instance}`)

/** The load with the accounts that begin now, in the order of the page. One whose server is busy waits for the next round. */
export const begin = (
  limits: Limits,
  load: Load,
  page: ReadonlyArray<DueAccount>,
  serverOfAccount: (account: string) => Server,
  now: number
): { readonly load: Load; readonly begun: ReadonlyArray<string> } => {
  const running = new Set(load.running)
  const servers = new Map(load.servers)
  const begun: Array<string> = []
  for (const due of page) {
    if (running.size >= limits.concurrency) break
    const server = serverOfAccount(due.account)
    const { failures, notBefore, running: busy } = servers.get(server) ?? idle
    // A server that has failed is tried with one account at a time.
    const places = failures > 0 ? 1 : limits.perServer
    const rests = now < (load.resting.get(due.account) ?? -Infinity)
    if (rests || running.has(due.account) || busy >= places) continue
    if (now < notBefore || now < startsAt(limits, due)) continue
    running.add(due.account)
    servers.set(server, { failures, notBefore, running: busy + 1 })
    begun.push(due.account)
  }
  return { load: { ...load, running, servers }, begun }
}

/** The first pause after a failure, doubled by each further one, and the longest, in milliseconds. */
const firstPause = 1000
const longestPause = 60_000

/** How long an account that cannot be renewed is not looked at, in milliseconds. */
const rest = 600_000

/** The load after a renewal. Failures in a row have the server left alone, longer each time. */
export const end = (load: Load, account: string, server: Server, outcome: Outcome, now: number): Load => {
  const before = serverOf(load, server)
  const failures = outcome === "Failed" ? before.failures + 1 : outcome === "Done" ? 0 : before.failures
  const pause = Math.min(firstPause * 2 ** Math.min(failures - 1, 30), longestPause)
  const notBefore = outcome === "Failed" ? now + pause : failures === 0 ? -Infinity : before.notBefore
  const after: ServerLoad = { running: before.running - 1, failures, notBefore }
  const servers = new Map(load.servers)
  if (after.running === 0 && failures === 0) servers.delete(server)
  else servers.set(server, after)
  const resting = new Map([...load.resting].filter(([, until]) => until > now))
  if (outcome === "Stuck") resting.set(account, now + rest)
  return { running: new Set([...load.running].filter((name) => name !== account)), servers, resting }
}
