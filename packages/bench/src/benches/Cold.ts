/** `cold`: one refresh, against the same request by plain `fetch`. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { Bench, Context } from "../Bench.js"
import { managerOf, requestOf, sessionOf, transactionOf } from "../candidates/Latchkey.js"
import { type Candidate, compare, processorTime } from "../Measure.js"
import { type Held, type Session, requestByFetch } from "../Peer.js"
import { durations, rowOf } from "../Report.js"

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

const plainFetch = async (context: Context): Promise<Candidate> => {
  let { refreshToken } = await grant(context)
  return repeated(async () => {
    refreshToken = (await requestByFetch(context.server, refreshToken)).refreshToken
  })
}

export const cold: Bench = async (context) => {
  const { peers, server, small } = context
  const candidates: Record<string, Candidate> = { "plain fetch": await plainFetch(context) }
  const overFetch = sessionOf(await managerOf(server, await grant(context)))
  candidates["latchkey"] = repeated(overFetch.refresh)
  const overUndici = sessionOf(await managerOf(server, await grant(context), NodeHttpClient.layerUndici))
  candidates["latchkey over undici"] = repeated(overUndici.refresh)
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
    "plain fetch": await plainFetch(context),
    latchkey: repeated(overFetch.refresh),
    "latchkey over undici": repeated(overUndici.refresh),
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
  return {
    tables: [table, processor],
    goals: ["latchkey", "latchkey over undici"].map((name) => ({
      what: `${name}: the whole refresh against plain fetch`,
      found: rowOf(table, name)?.ratio?.median ?? Number.NaN,
      atMost: 1.15
    }))
  }
}
