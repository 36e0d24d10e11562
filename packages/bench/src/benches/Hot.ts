/** `hot`: a fresh token, by a promise and in a fiber. */
import * as Effect from "effect/Effect"
import type { Bench, Context } from "../Bench.js"
import { editionFiber, inFiberOnEffect4, noEdition } from "../candidates/Edition.js"
import { managerOf, sessionOf } from "../candidates/Latchkey.js"
import { type Candidate, compareWith, repeated } from "../Measure.js"
import { type Held, type Peer, wallClock } from "../Peer.js"
import { durations, type Goal, ratioOf } from "../Report.js"

const byPromise = "latchkey"
const inOneFiber = "latchkey, yielded in a fiber"

/** One fiber for the loop, so that the step is measured and not the start of a fiber. */
const inFiber =
  <E>(step: Effect.Effect<unknown, E>): Candidate =>
  (n) => {
    let i = 0
    return Effect.runPromise(
      Effect.orDie(Effect.whileLoop({ while: () => i < n, body: () => step, step: () => void i++ }))
    )
  }

const fresh = async (context: Context): Promise<Held> => ({
  accessToken: "an access token",
  refreshToken: await context.login(),
  expiresAt: wallClock() + 3_600_000
})

export const hot: Bench = async (context) => {
  const manager = await managerOf(context.server, await fresh(context))
  await Effect.runPromise(manager.getAccessToken)
  const four = await editionFiber(context.packages)
  if (four === undefined) process.stderr.write(`${noEdition}\n`)
  const own = {
    [byPromise]: repeated(sessionOf(manager).get),
    [inOneFiber]: inFiber(manager.getAccessToken),
    ...(four !== undefined && { [inFiberOnEffect4]: four })
  }
  const how = context.small ? { milliseconds: 0.1, rounds: 1 } : { rounds: 81 }
  const open = async (peer: Peer) => (await peer.open(context.server, await fresh(context))).get
  const table = durations("A fresh token", "ns", await compareWith(own, context.peers, open, how))
  const full = context.peers.filter((peer) => peer.full)
  const goal = (
    name: string,
    peers: Context["peers"],
    atMost: number,
    words: Omit<Goal, "limits">
  ): Goal => ({
    ...words,
    limits: [{ atMost, found: Math.max(...peers.map((peer) => ratioOf(table, name, peer.name))) }]
  })
  const inFiberOf = (effect: number) => ({
    row: `a fresh token in a fiber, Effect ${effect}`,
    against: "the best full library's `await`"
  })
  return {
    tables: [table],
    goals: [
      goal(byPromise, context.peers, 0.85, {
        row: "a fresh token by promise",
        against: "the fastest `await` of all peers"
      }),
      goal(inOneFiber, full, 1.3, inFiberOf(3)),
      goal(inFiberOnEffect4, full, 1, inFiberOf(4))
    ]
  }
}
