/** `hot`: a fresh token, by a promise and in a fiber. */
import * as Effect from "effect/Effect"
import type { Bench, Context } from "../Bench.js"
import { editionFiber, inFiberOnEffect4, noEdition } from "../candidates/Edition.js"
import { managerOf, sessionOf } from "../candidates/Latchkey.js"
import { type Candidate, compareInTwo } from "../Measure.js"
import { type Held, type Session, wallClock, inPart } from "../Peer.js"
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

const awaited =
  (get: Session["get"]): Candidate =>
  async (n) => {
    for (let i = 0; i < n; i++) await get()
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
  const ofPeers = async (last: boolean): Promise<Record<string, Candidate>> => {
    const opened: Record<string, Candidate> = {}
    for (const peer of inPart(context.peers, last)) {
      opened[peer.name] = awaited((await peer.open(context.server, await fresh(context))).get)
    }
    return opened
  }
  const candidates = {
    [byPromise]: awaited(sessionOf(manager).get),
    [inOneFiber]: inFiber(manager.getAccessToken),
    ...(four !== undefined && { [inFiberOnEffect4]: four }),
    ...(await ofPeers(false))
  }
  const how = context.small ? { milliseconds: 0.1, rounds: 1 } : { rounds: 81 }
  const table = durations("A fresh token", "ns", await compareInTwo(candidates, () => ofPeers(true), how))
  const full = context.peers.filter((peer) => peer.full)
  const goal = (
    row: string,
    name: string,
    against: string,
    peers: Context["peers"],
    atMost: number
  ): Goal => ({
    row,
    against,
    limits: [{ atMost, found: Math.max(...peers.map((peer) => ratioOf(table, name, peer.name))) }]
  })
  return {
    tables: [table],
    goals: [
      goal("a fresh token by promise", byPromise, "the fastest `await` of all peers", context.peers, 0.85),
      ...[
        { effect: 3, name: inOneFiber, atMost: 1.3 },
        { effect: 4, name: inFiberOnEffect4, atMost: 1 }
      ].map(({ atMost, effect, name }) =>
        goal(
          `a fresh token in a fiber, Effect ${effect}`,
          name,
          "the best full library's `await`",
          full,
          atMost
        )
      )
    ]
  }
}
