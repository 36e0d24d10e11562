/** `cold`: one refresh, against the same request by plain `fetch`. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { Bench, Context } from "../Bench.js"
import { managerOf, requestOf, sessionOf, transactionOf } from "../candidates/Latchkey.js"
import { type Candidate, compare, processorTime } from "../Measure.js"
import { type Held, type Session, requestByFetch, requestByUndici } from "../Peer.js"
import { durations, type Goal, rowOf, type Table } from "../Report.js"

const repeated =
  (refresh: Session["refresh"]): Candidate =>
  async (n) => {
    for (let i = 0; i < n; i++) await refresh()
  }

const grant = async (context: Context): Promise<Held> => ({
  accessToken: "none",
  refreshToken: await context.login(),
  expiresAt: 1
})

const plain = async (context: Context, request = requestByFetch): Promise<Candidate> => {
  let { refreshToken } = await grant(context)
  return repeated(async () => {
    refreshToken = (await request(context.server, refreshToken)).refreshToken
  })
}

const wholes = async (context: Context): Promise<Record<string, Candidate>> => {
  const { server } = context
  const overFetch = sessionOf(await managerOf(server, await grant(context)))
  const overUndici = sessionOf(await managerOf(server, await grant(context), NodeHttpClient.layerUndici))
  return {
    "plain fetch": await plain(context),
    latchkey: repeated(overFetch.refresh),
    "latchkey over undici": repeated(overUndici.refresh)
  }
}

const goalsOf = (table: Table): ReadonlyArray<Goal> =>
  ["latchkey", "latchkey over undici"].map((name) => ({
    what: `${name}: the whole refresh against plain fetch`,
    found: rowOf(table, name)?.ratio?.median ?? Number.NaN,
    atMost: 1.15
  }))

export const cold: Bench = async (context) => {
  const { peers, server, small } = context
  const ours = await wholes(context)
  // As in a server that has run for a while, and before anything else has run in this process.
  const settled = small ? { operations: 3, rounds: 3 } : { operations: 25, rounds: 101, warmUp: 4000 }
  const alone = durations(
    "One refresh, against the same request by plain fetch",
    "ms",
    await compare({ ...ours, "plain undici": await plain(context, requestByUndici) }, settled)
  )
  const candidates = { ...ours }
  for (const peer of peers) {
    const session = await peer.open(server, await grant(context))
    candidates[peer.name] = repeated(session.refresh)
  }
  const table = durations(
    "One refresh at a real authorization server in another process",
    "ms",
    await compare(
      candidates,
      small ? { operations: 3, rounds: 3 } : { operations: 25, rounds: 31, warmUp: 100 }
    )
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
      ...(small ? { operations: 3, rounds: 3 } : { operations: 50, rounds: 31, warmUp: 100 }),
      clock: processorTime
    })
  )
  return { tables: [table, alone, processor], goals: goalsOf(alone) }
}

/** The same at a server whose answers take their time, as those of a server elsewhere do. */
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

/** In milliseconds: what the way to a server and its work commonly take together. */
export const distance = 20
