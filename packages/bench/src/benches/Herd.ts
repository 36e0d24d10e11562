/** `herd`: very many callers at the moment of expiry. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { Bench, Context } from "../Bench.js"
import { cacheOf } from "../candidates/Effects.js"
import { managerOf, sessionOf } from "../candidates/Latchkey.js"
import { inTurn, spread } from "../Measure.js"
import { type Held, requestByFetch, type Session } from "../Peer.js"
import { type Goal, row, rowOf, type Table } from "../Report.js"

/** Calls all at once. Returns how many failed. */
type Crowd = (callers: number) => Promise<number>

interface Candidate {
  readonly name: string
  /** A crowd at a grant whose token has expired, and one refresh afterwards. */
  readonly gather: (held: Held) => Promise<{ readonly ask: Crowd; readonly refresh: Session["refresh"] }>
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

const cacheInFibers = "effect Cache, a fiber each"
/** The cost of making that many fibers wait for anything. */
const limitInFibers = "one Deferred, a fiber each"

const candidates = ({ peers, server }: Context): ReadonlyArray<Candidate> => [
  {
    name: "latchkey",
    gather: async (held) => {
      const session = sessionOf(await managerOf(server, held))
      return { ask: promised(session), refresh: session.refresh }
    }
  },
  {
    name: "latchkey, a fiber each",
    gather: async (held) => {
      const manager = await managerOf(server, held)
      return { ask: inFibers(manager.getAccessToken), refresh: sessionOf(manager).refresh }
    }
  },
  {
    name: cacheInFibers,
    gather: async (held) => {
      const { get, refresh } = cacheOf(server, held)
      return { ask: inFibers(get), refresh: () => Effect.runPromise(refresh) }
    }
  },
  {
    name: limitInFibers,
    gather: (held) => {
      let { refreshToken } = held
      const request = Effect.promise(() => requestByFetch(server, refreshToken))
      const note = Effect.map(request, (answer) => (refreshToken = answer.refreshToken))
      const done = Deferred.unsafeMake<string>(FiberId.none)
      const ask: Crowd = (callers) => {
        Effect.runFork(Effect.intoDeferred(note, done))
        return inFibers(Deferred.await(done))(callers)
      }
      return Promise.resolve({ ask, refresh: () => Effect.runPromise(note) })
    }
  },
  ...peers.map((peer) => ({
    name: peer.name,
    gather: async (held: Held) => {
      const session = await peer.open(server, held)
      return { ask: promised(session), refresh: session.refresh }
    }
  }))
]

interface Seen {
  readonly milliseconds: Array<number>
  requests: number
  errors: number
  lost: boolean
}

/** A library that floods the server runs once, the others every round. */
const herdOf = async (context: Context, callers: number, rounds: number): Promise<Table> => {
  const all = candidates(context)
  const seen = new Map<string, Seen>()
  // The first round is for warming up.
  for (let round = 0; round <= rounds; round++) {
    for (const { gather, name } of inTurn(all, round)) {
      const figures = seen.get(name) ?? { milliseconds: [], requests: 0, errors: 0, lost: false }
      seen.set(name, figures)
      if (figures.requests > 1) continue
      const { ask, refresh } = await gather({
        accessToken: "expired",
        refreshToken: await context.login(),
        expiresAt: 1
      })
      const before = (await context.figures()).requests
      const began = performance.now()
      const errors = await ask(callers)
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
  const first = spread(seen.get("latchkey")?.milliseconds ?? []).median
  return {
    title: `${callers.toLocaleString("en")} callers at expiry`,
    unit: "ms",
    rows: [...seen].map(([name, { errors, lost, milliseconds, requests }]) =>
      row(name, spread(milliseconds), first, { requests, errors, grant: lost ? "lost" : "kept" })
    )
  }
}

const goalsOf = (context: Context, table: Table): ReadonlyArray<Goal> => {
  const of = (name: string, what: string) => Number(rowOf(table, name)?.more?.[what])
  const millis = (name: string) => rowOf(table, name)?.value.median ?? Number.NaN
  const against = (name: string, whom: string, others: ReadonlyArray<string>): Goal => ({
    what: `${table.title}: ${name} against ${whom}`,
    found: millis(name) / Math.min(...others.filter((other) => of(other, "requests") === 1).map(millis)),
    atMost: 1
  })
  const peers = context.peers.map(({ name }) => name)
  return [
    ...["latchkey", "latchkey, a fiber each"].flatMap((name) => [
      { what: `${table.title}: requests of ${name}`, found: of(name, "requests"), atMost: 1 },
      { what: `${table.title}: errors of ${name}`, found: of(name, "errors"), atMost: 0 },
      against(name, "the best other that makes one request", peers)
    ]),
    against("latchkey, a fiber each", cacheInFibers, [cacheInFibers])
  ]
}

export const herd: Bench = async (context) => {
  const tables: Array<Table> = []
  for (const callers of context.small ? [50] : [1000, 10_000]) {
    tables.push(await herdOf(context, callers, context.small ? 1 : 9))
  }
  return { tables, goals: tables.flatMap((table) => goalsOf(context, table)) }
}
