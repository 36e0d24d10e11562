/** `herd`: very many callers at the moment of expiry. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { Bench, Context } from "../Bench.js"
import { managerOf, sessionOf } from "../candidates/Latchkey.js"
import { inTurn, spread } from "../Measure.js"
import { type Held, requestByFetch, type Server, type Session, sharing, inPart } from "../Peer.js"
import { type Goal, row, rowOf, type Table } from "../Report.js"

/** Calls all at once. Returns how many failed. */
type Crowd = (callers: number) => Promise<number>

/** A crowd at a grant whose token has expired, and one refresh afterwards. */
interface Gathered {
  readonly crowd: Crowd
  readonly refresh: Session["refresh"]
}

const promised =
  ({ get }: Session): Crowd =>
  async (callers) => {
    const all = await Promise.allSettled(Array.from({ length: callers }, () => get()))
    return all.filter((one) => one.status === "rejected").length
  }

const inFibers =
  <A, E>(get: Effect.Effect<A, E>): Crowd =>
  (callers) =>
    Effect.runPromise(
      Effect.map(
        Effect.forEach(Array.from({ length: callers }), () => Effect.isFailure(get), {
          concurrency: "unbounded"
        }),
        (failed) => failed.filter(Boolean).length
      )
    )

const ours = "latchkey"
const inFibersEach = "latchkey, a fiber each"
/** The cost of making that many fibers wait for anything. */
const limitInFibers = "one Deferred, a fiber each"

type Candidates = Readonly<Record<string, (held: Held) => Promise<Gathered>>>

const own = (server: Server): Candidates => ({
  [ours]: async (held) => {
    const session = sessionOf(await managerOf(server, held))
    return { crowd: promised(session), refresh: session.refresh }
  },
  [inFibersEach]: async (held) => {
    const manager = await managerOf(server, held)
    return { crowd: inFibers(manager.getAccessToken), refresh: sessionOf(manager).refresh }
  },
  [limitInFibers]: async (held) => {
    const { refresh } = sharing(held, ({ refreshToken }) => requestByFetch(server, refreshToken))
    const done = Deferred.unsafeMake<unknown>(FiberId.none)
    const crowd: Crowd = (callers) => {
      Effect.runFork(Effect.intoDeferred(Effect.promise(refresh), done))
      return inFibers(Deferred.await(done))(callers)
    }
    return { crowd, refresh }
  }
})

const ofPeers = ({ peers, server }: Context, last: boolean): Candidates =>
  Object.fromEntries(
    inPart(peers, last)
      .filter(({ only }) => only !== "fresh")
      .map((peer) => [
        peer.name,
        async (held: Held) => {
          const session = await peer.open(server, held)
          return { crowd: promised(session), refresh: session.refresh }
        }
      ])
  )

interface Seen {
  readonly milliseconds: Array<number>
  requests: number
  errors: number
  lost: boolean
}

/** A library that floods the server runs once, the others every round. */
const herdOf = async (
  context: Context,
  candidates: Candidates,
  callers: number
): Promise<ReadonlyMap<string, Seen>> => {
  const all = Object.entries(candidates)
  const rounds = context.small ? 1 : 9
  const seen = new Map<string, Seen>()
  // The first round is for warming up.
  for (let round = 0; round <= rounds; round++) {
    for (const [name, gather] of inTurn(all, round)) {
      const figures = seen.get(name) ?? { milliseconds: [], requests: 0, errors: 0, lost: false }
      seen.set(name, figures)
      if (figures.requests > 1) continue
      const { crowd, refresh } = await gather({
        accessToken: "expired",
        refreshToken: await context.login(),
        expiresAt: 1
      })
      const before = (await context.figures()).requests
      const began = performance.now()
      const errors = await crowd(callers)
      const took = performance.now() - began
      figures.requests = Math.max(figures.requests, (await context.figures()).requests - before)
      if (round > 0 || figures.requests > 1) figures.milliseconds.push(took)
      figures.errors = Math.max(figures.errors, errors)
      figures.lost ||= await refresh().then(
        () => false,
        () => true
      )
    }
  }
  return seen
}

const tableOf = (callers: number, seen: ReadonlyMap<string, Seen>): Table => {
  const first = spread(seen.get(ours)?.milliseconds ?? []).median
  return {
    title: `${callers.toLocaleString("en")} callers at expiry`,
    unit: "ms",
    rows: [...seen].map(([name, { errors, lost, milliseconds, requests }]) =>
      row(name, spread(milliseconds), first, { requests, errors, grant: lost ? "lost" : "kept" })
    )
  }
}

const goalsOf = (context: Context, table: Table, most: number): ReadonlyArray<Goal> => {
  const of = (name: string, what: string) => Number(rowOf(table, name)?.more?.[what])
  const millis = (name: string) => rowOf(table, name)?.value.median ?? Number.NaN
  const single = context.peers.filter(({ name }) => of(name, "requests") === 1)
  return [
    {
      row: `${table.title}, by promise`,
      against: "the best peer that makes one request",
      limits: [
        { what: "request", atMost: 1, found: of(ours, "requests") },
        { what: "errors", atMost: 0, found: of(ours, "errors") },
        { atMost: most, found: millis(ours) / Math.min(...single.map(({ name }) => millis(name))) }
      ]
    },
    ...(most > 1
      ? []
      : [
          {
            row: `${table.title}, a fiber each`,
            against: "one `Deferred` with a fiber each",
            limits: [{ atMost: 1.15, found: millis(inFibersEach) / millis(limitInFibers) }]
          }
        ])
  ]
}

/** How many callers, and the most that their time may be of that of the best peer. */
const sizes = [
  { callers: 1000, most: 2 },
  { callers: 10_000, most: 1 }
]

export const herd: Bench = async (context) => {
  const found = sizes.map(({ callers, most }) => ({
    callers: context.small ? callers / 100 : callers,
    most,
    seen: new Map<string, Seen>()
  }))
  for (const candidates of [{ ...own(context.server), ...ofPeers(context, false) }, ofPeers(context, true)]) {
    for (const { callers, seen } of found) {
      for (const [name, one] of await herdOf(context, candidates, callers)) seen.set(name, one)
    }
  }
  const tables = found.map(({ callers, most, seen }) => ({ most, table: tableOf(callers, seen) }))
  return {
    tables: tables.map(({ table }) => table),
    goals: tables.flatMap(({ most, table }) => goalsOf(context, table, most))
  }
}
