/** `cold`: one refresh, against the same request with plain `fetch`. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { Bench, Context } from "../Bench.js"
import { managerOf, requestOf, sessionOf, transactionOf } from "../candidates/Latchkey.js"
import { against, type Candidate, compare, processorTime, sample, type Samples } from "../Measure.js"
import { type Held, requestByFetch, requestByUndici, type Server, type Session } from "../Peer.js"
import { durations, type Goal, rowOf, type Table } from "../Report.js"

const repeated =
  (refresh: Session["refresh"]): Candidate =>
  async (n) => {
    for (let i = 0; i < n; i++) await refresh()
  }

const fewest = { operations: 3, rounds: 3 }

const held = (refreshToken: string): Held => ({ accessToken: "none", refreshToken, expiresAt: 1 })

const grant = async (context: Context): Promise<Held> => held(await context.login())

const plain = (server: Server, first: Held, request = requestByFetch): Candidate => {
  let { refreshToken } = first
  return repeated(async () => {
    refreshToken = (await request(server, refreshToken)).refreshToken
  })
}

const whole = async (server: Server, first: Held, client: Client): Promise<Candidate> => {
  const layer = client === "undici" ? NodeHttpClient.layerUndici : undefined
  return repeated(sessionOf(await managerOf(server, first, layer)).refresh)
}

/** The HTTP client of an application. */
type Client = "fetch" | "undici"

const nameOf = { fetch: "latchkey", undici: "latchkey over undici" } as const satisfies Record<Client, string>

const bare = "plain fetch"

const wholes = async (context: Context): Promise<Record<string, Candidate>> => {
  const { server } = context
  return {
    [bare]: plain(server, await grant(context)),
    [nameOf.fetch]: await whole(server, await grant(context), "fetch"),
    [nameOf.undici]: await whole(server, await grant(context), "undici")
  }
}

/** Compares one client with plain `fetch` in a separate process. */
export interface Job {
  readonly job: "cold"
  readonly client: Client
  readonly server: Server
  readonly refreshTokens: readonly [string, string, string]
  readonly small: boolean
}

export const alone = async ({ client, refreshTokens, server, small }: Job): Promise<Samples> => {
  const [first, second, third] = refreshTokens
  const candidates = {
    [bare]: plain(server, held(first)),
    [nameOf[client]]: await whole(server, held(second), client),
    ...(client === "undici" && { "plain undici": plain(server, held(third), requestByUndici) })
  }
  // As in a server that has run for a while.
  return sample(candidates, small ? fewest : { operations: 25, rounds: 41, warmUp: 3000 })
}

/** The engine optimizes a program differently from process to process, by more than from round to round. */
const processes = 5

const settled = async ({ child, login, server, small }: Context): Promise<Table> => {
  const samples: Record<Client, Samples> = { fetch: new Map(), undici: new Map() }
  for (let nth = 0; nth < (small ? 1 : processes); nth++) {
    for (const client of ["fetch", "undici"] as const) {
      const refreshTokens = [await login(), await login(), await login()] as const
      const job: Job = { job: "cold", client, server, refreshTokens, small }
      for (const [name, values] of (await child(job)) as Samples) {
        samples[client].set(name, [...(samples[client].get(name) ?? []), ...values])
      }
    }
  }
  const [, ...overUndici] = against(samples.undici, bare)
  return durations(
    "One refresh, against the same request by plain fetch, each client in processes of its own",
    "ms",
    [...against(samples.fetch, bare), ...overUndici]
  )
}

const goalsOf = (table: Table): ReadonlyArray<Goal> =>
  Object.values(nameOf).map((name) => ({
    what: `${name}: the whole refresh against plain fetch`,
    found: rowOf(table, name)?.ratio?.median ?? Number.NaN,
    atMost: 1.15
  }))

export const cold: Bench = async (context) => {
  const { peers, server, small } = context
  const beside = await settled(context)
  const ours = await wholes(context)
  const candidates = { ...ours }
  for (const peer of peers) {
    const session = await peer.open(server, await grant(context))
    candidates[peer.name] = repeated(session.refresh)
  }
  const table = durations(
    "One refresh at a real authorization server in another process",
    "ms",
    await compare(candidates, small ? fewest : { operations: 25, rounds: 31, warmUp: 1500 })
  )
  const parts: Record<string, Candidate> = {
    ...ours,
    "of it, the request": repeated(await requestOf(server, await grant(context))),
    "of it, the request over undici": repeated(
      await requestOf(server, await grant(context), NodeHttpClient.layerUndici)
    ),
    "of it, all but the request": repeated(await transactionOf(await grant(context)))
  }
  const processor = durations(
    "One refresh: what this process uses of the processor",
    "µs",
    await compare(parts, {
      ...(small ? fewest : { operations: 50, rounds: 31, warmUp: 1500 }),
      clock: processorTime
    })
  )
  return { tables: [table, beside, processor], goals: goalsOf(beside) }
}

/** The same at a server with slow responses, like a remote server. */
export const distant: Bench = async (context) => {
  const table = durations(
    `One refresh at a server that answers after ${distance} ms`,
    "ms",
    await compare(
      await wholes(context),
      context.small ? { operations: 2, rounds: 2 } : { operations: 10, rounds: 31, warmUp: 100 }
    )
  )
  return { tables: [table], goals: goalsOf(table) }
}

/** In milliseconds: a common sum of the network's and the server's time. */
export const distance = 20
