/** `refresh`: one refresh at a server that takes its time, and what it costs of the processor. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { Bench } from "../Bench.js"
import { managerOf, sessionOf, transactionOf } from "../candidates/Latchkey.js"
import { compare, compareWith, processorTime, repeated } from "../Measure.js"
import { type Held, requestByFetch } from "../Peer.js"
import { durations, rowOf } from "../Report.js"

/** In milliseconds: a common sum of the network's and the server's time. */
export const distance = 20

const bare = "plain fetch"
const ours = "latchkey"
const beside = "a refresh without its request"

export const refresh: Bench = async ({ login, peers, server, small }) => {
  const grant = async (): Promise<Held> => ({
    accessToken: "none",
    refreshToken: await login(),
    expiresAt: 1
  })
  let { refreshToken } = await grant()
  const request = async () => ({ refreshToken } = await requestByFetch(server, refreshToken))
  const overUndici = await managerOf(server, await grant(), NodeHttpClient.layerUndici)
  const processor = durations(
    "One refresh, of the processor",
    "ms",
    await compare(
      { [beside]: repeated(await transactionOf(await grant())) },
      {
        ...(small ? { operations: 3, rounds: 1 } : { operations: 50, rounds: 31, warmUp: 3000 }),
        clock: processorTime
      }
    )
  )
  const own = {
    [bare]: repeated(request),
    [ours]: repeated(sessionOf(await managerOf(server, await grant())).refresh),
    "latchkey over undici": repeated(sessionOf(overUndici).refresh)
  }
  const how = small ? { operations: 1, rounds: 1 } : { operations: 10, rounds: 31, warmUp: 100 }
  const distant = durations(
    `One refresh at a server that answers after ${distance} ms`,
    "ms",
    await compareWith(
      own,
      peers.filter(({ only }) => only !== "fresh"),
      async (peer) => (await peer.open(server, await grant())).refresh,
      how
    )
  )
  return {
    tables: [distant, processor],
    goals: [
      {
        row: `a refresh at a server that takes ${distance} ms`,
        against: "plain `fetch`",
        limits: [{ atMost: 1.08, found: rowOf(distant, ours)?.ratio?.median ?? Number.NaN }]
      },
      {
        row: "processor time of a refresh beside its request",
        against: "",
        limits: [{ what: "ms", atMost: 0.2, found: rowOf(processor, beside)?.value.median ?? Number.NaN }]
      }
    ]
  }
}
