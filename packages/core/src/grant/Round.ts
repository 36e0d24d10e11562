/** Rounds of renewal: which of the due accounts begin now. Pure. Times are epoch milliseconds. */
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import type { DueAccount } from "../TokenStorages.js"
import { jitterShare } from "./BackOff.js"

/** How renewals are spread, and how many run at a time. */
export interface Limits {
  readonly concurrency: number
  readonly perServer: number
  /**
   * How long before its end a token is renewed at the latest, and the time before that over which renewals
   * are spread.
   */
  readonly lead: number
  readonly window: number
  /** Gives each process its own order, so that they do not all begin with the same accounts. */
  readonly instance: string
}

/** The name of a token server, or an object that stands for it. */
export type Server = string | object

/** A renewal. `early` is this account's share of the window, in milliseconds. */
export interface Renewal {
  readonly account: string
  readonly server: Server
  readonly early: number
}

/** The renewals that run and wait at one token server. */
export interface ServerLoad {
  readonly running: number
  /**
   * The renewals that begin as soon as there is room, in the order of this process, and whether more are due.
   */
  readonly waiting: ReadonlyArray<Renewal>
  readonly isCut: boolean
  /** How many renewals failed in a row, and until when the server gets a pause because of that. */
  readonly failures: number
  readonly notBefore: number
}

/** Until when an account rests, and how often its renewal failed in a row. */
interface Rest {
  readonly until: number
  readonly failures: number
}

/** All renewals of this process. */
export interface Load {
  readonly running: number
  readonly waiting: number
  /** Accounts whose renewal runs or waits. */
  readonly taken: HashSet.HashSet<string>
  readonly servers: HashMap.HashMap<Server, ServerLoad>
  readonly rests: HashMap.HashMap<string, Rest>
}

export const noLoad: Load = {
  running: 0,
  waiting: 0,
  taken: HashSet.empty(),
  servers: HashMap.empty(),
  rests: HashMap.empty()
}

/**
 * The outcome of a renewal.
 *
 * - `NotNeeded`: it was not due, or another process renews it.
 * - `Failed`: the server or the connection to it failed.
 * - `Stuck`: this account cannot be renewed, whatever the server does.
 */
export type Outcome = "Renewed" | "NotNeeded" | "Failed" | "Stuck"

/** An outcome, and when the account next needs something. */
export interface Result {
  readonly outcome: Outcome
  readonly nextAt: number
}

/** The account cannot be renewed, for unknown reasons. */
export const stuck: Result = { outcome: "Stuck", nextAt: Infinity }

const idle: ServerLoad = { running: 0, waiting: [], isCut: false, failures: 0, notBefore: -Infinity }

export const serverLoad = (load: Load, server: Server): ServerLoad =>
  Option.getOrElse(HashMap.get(load.servers, server), () => idle)

/** The time up to which accounts are queried. Those that are due by then may begin now. */
export const horizon = ({ lead, window }: Limits, now: number): number => now + lead + window

/**
 * How many accounts wait at most: per place of a server, and at all servers. Few, because other processes
 * renew them meanwhile. The next query comes when they have begun.
 */
const lineOfPlace = 4
const longestLine = 2000

/** Whether enough accounts wait already. */
export const isFull = ({ waiting }: Load): boolean => waiting >= longestLine

/** Pauses after failures, in milliseconds: of a server, and of one account. */
const firstPause = 1000
const longestServerPause = 15_000
const longestRest = 600_000

const pause = (failures: number, longest: number): number =>
  Math.min(firstPause * 2 ** Math.min(failures - 1, 30), longest)

/** If the clock was set back, an earlier time may lie too far ahead. */
const isOver = (until: number, now: number, longest: number): boolean => now >= until || until - now > longest

/** Starts a new round: no account has been left out yet, and rests that ended long ago are forgotten. */
export const open = (load: Load, now: number): Load => ({
  ...load,
  servers: HashMap.map(load.servers, (server) => (server.isCut ? { ...server, isCut: false } : server)),
  rests: HashMap.filter(load.rests, ({ until }) => Math.abs(now - until) <= longestRest)
})

/**
 * Returns the load after a page of due accounts: those whose time has come wait at their server. Each process
 * takes them in its own order, so that two processes rarely try the same account.
 */
export const enqueue = (
  limits: Limits,
  load: Load,
  page: ReadonlyArray<DueAccount>,
  serverOf: (account: string) => Server,
  now: number
): Load =>
  page
    .map((due) => ({ ...due, share: jitterShare(`${due.account} ${limits.instance}`) }))
    .sort((a, b) => b.share - a.share)
    .reduce((next, due) => enqueueOne(limits, next, due, serverOf, now), load)

const enqueueOne = (
  limits: Limits,
  load: Load,
  { account, dueAt, share }: DueAccount & { readonly share: number },
  serverOf: (account: string) => Server,
  now: number
): Load => {
  const early = limits.window * share
  if (now < dueAt - limits.lead - early || HashSet.has(load.taken, account)) return load
  const rests = Option.exists(
    HashMap.get(load.rests, account),
    ({ until }) => !isOver(until, now, longestRest)
  )
  if (rests) return load
  const server = serverOf(account)
  const busy = serverLoad(load, server)
  if (!isOver(busy.notBefore, now, longestServerPause)) return load
  return busy.waiting.length >= limits.perServer * lineOfPlace
    ? withServer(load, server, { ...busy, isCut: true })
    : {
        ...withServer(load, server, { ...busy, waiting: [...busy.waiting, { account, server, early }] }),
        waiting: load.waiting + 1,
        taken: HashSet.add(load.taken, account)
      }
}

const withServer = (load: Load, server: Server, next: ServerLoad): Load => ({
  ...load,
  servers:
    next.running === 0 && next.waiting.length === 0 && next.failures === 0
      ? HashMap.remove(load.servers, server)
      : HashMap.set(load.servers, server, next)
})

/** One failure may concern the account alone. Two in a row concern the server. */
const isTroubled = (failures: number): boolean => failures > 1

/** A failing server gets a quarter of its places. */
const places = ({ perServer }: Limits, { failures }: ServerLoad): number =>
  isTroubled(failures) ? Math.ceil(perServer / 4) : perServer

/** Begins waiting renewals while there is room, first at the server with the fewest running. */
export const begin = (
  limits: Limits,
  load: Load
): { readonly load: Load; readonly begun: ReadonlyArray<Renewal> } => {
  const begun: Array<Renewal> = []
  let now = load
  for (let next = nextOf(limits, now); next !== undefined; next = nextOf(limits, now)) {
    const { busy, first } = next
    begun.push(first)
    const started = { ...busy, running: busy.running + 1, waiting: busy.waiting.slice(1) }
    now = {
      ...withServer(now, first.server, started),
      running: now.running + 1,
      waiting: now.waiting - 1
    }
  }
  return { load: now, begun }
}

interface Next {
  readonly first: Renewal
  readonly busy: ServerLoad
}

/** Returns the renewal that begins next. Failing servers share half of all places. */
const nextOf = (limits: Limits, { running, servers }: Load): Next | undefined => {
  if (running >= limits.concurrency) return undefined
  const all = [...HashMap.values(servers)]
  const troubled = all.reduce((sum, one) => sum + (isTroubled(one.failures) ? one.running : 0), 0)
  const hasRoom = (busy: ServerLoad) =>
    busy.running < places(limits, busy) &&
    (!isTroubled(busy.failures) || troubled < Math.ceil(limits.concurrency / 2))
  return all
    .filter(hasRoom)
    .flatMap((busy) => busy.waiting.slice(0, 1).map((first): Next => ({ first, busy })))
    .reduce<Next | undefined>(
      (best, one) => (best === undefined || one.busy.running < best.busy.running ? one : best),
      undefined
    )
}

/**
 * Returns the load after a renewal. A failing server gets a pause that grows each time, and so does each
 * failing account.
 */
export const end = (limits: Limits, load: Load, renewal: Renewal, result: Result, now: number): Load => {
  const { account, server } = renewal
  const { nextAt, outcome } = result
  const before = serverLoad(load, server)
  // A renewal that began before the pause shows nothing new about the server.
  const isNews = outcome === "Failed" && isOver(before.notBefore, now, longestServerPause)
  const failures = isNews ? before.failures + 1 : outcome === "Renewed" ? 0 : before.failures
  const isPaused = isNews && isTroubled(failures)
  // Renewals that wait at a failing server come back in a later round.
  const dropped = isPaused ? before.waiting : []
  const next = withServer(load, server, {
    running: before.running - 1,
    waiting: isPaused ? [] : before.waiting,
    isCut: before.isCut && !isPaused,
    failures,
    notBefore: isPaused ? now + pause(failures - 1, longestServerPause) : before.notBefore
  })
  return {
    ...next,
    running: load.running - 1,
    waiting: load.waiting - dropped.length,
    taken: [renewal, ...dropped].reduce((taken, gone) => HashSet.remove(taken, gone.account), load.taken),
    rests: rested(limits, load, account, { outcome, nextAt }, now)
  }
}

/** An account rests after a failure, and when storage would list it as due before it needs anything. */
const rested = (limits: Limits, load: Load, account: string, { nextAt, outcome }: Result, now: number) => {
  const failures =
    outcome === "Failed"
      ? 1 +
        Option.match(HashMap.get(load.rests, account), { onNone: () => 0, onSome: (rest) => rest.failures })
      : 0
  const asked = Math.min(Math.max(nextAt, now + firstPause), now + longestRest)
  const until = outcome === "Failed" ? Math.max(asked, now + pause(failures, longestRest)) : asked
  const isWell = outcome === "Renewed" || outcome === "NotNeeded"
  return isWell && nextAt >= horizon(limits, now)
    ? HashMap.remove(load.rests, account)
    : HashMap.set(load.rests, account, { until: Math.min(until, now + longestRest), failures })
}

/** Whether the server has room, and more accounts are due there than the query returned. */
export const isHungry = (load: Load, server: Server, isPageCut: boolean): boolean => {
  const { isCut, waiting } = serverLoad(load, server)
  return waiting.length === 0 && (isCut || isPageCut)
}
