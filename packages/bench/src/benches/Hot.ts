/** `hot`: a fresh token, through each interface. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import type { Bench, Context } from "../Bench.js"
import { cachedOf, cacheOf } from "../candidates/Effects.js"
import { managerOf, sessionOf } from "../candidates/Latchkey.js"
import { type Candidate, compare } from "../Measure.js"
import { type Held, type Session, wallClock } from "../Peer.js"
import { durations, ratioOf, type Table } from "../Report.js"

/** One fiber for the loop, so that the step is measured and not the start of a fiber. */
const inFiber =
  <E>(step: Effect.Effect<unknown, E>): Candidate =>
  (n) => {
    let i = 0
    return Effect.runPromise(
      Effect.orDie(Effect.whileLoop({ while: () => i < n, body: () => step, step: () => void i++ }))
    )
  }

const synchronously =
  <E>(step: Effect.Effect<unknown, E>): Candidate =>
  (n) => {
    for (let i = 0; i < n; i++) Effect.runSync(step)
  }

const awaited =
  (get: Session["get"]): Candidate =>
  async (n) => {
    for (let i = 0; i < n; i++) await get()
  }

const generator = Effect.gen(function* () {
  const { expiresAt, token } = yield* Ref.get(cell)
  const now = yield* Clock.currentTimeMillis
  return now < expiresAt ? token : yield* Effect.dieMessage("expired")
})
const cell = Effect.runSync(Ref.make({ token: Redacted.make("a"), expiresAt: Number.MAX_SAFE_INTEGER }))

const fresh = async (context: Context): Promise<Held> => ({
  accessToken: "an access token",
  refreshToken: await context.login(),
  expiresAt: wallClock() + 3_600_000
})

export const hot: Bench = async (context) => {
  const scale = context.small ? 100 : 1
  const held = await fresh(context)
  const manager = await managerOf(context.server, held)
  await Effect.runPromise(manager.getAccessToken)
  const latchkey = sessionOf(manager)
  const succeed = Effect.succeed(Redacted.make("a"))

  const sessions = new Map<string, Session>()
  for (const peer of context.peers) {
    sessions.set(peer.name, await peer.open(context.server, await fresh(context)))
  }
  const quick = [...sessions].filter(([name]) => name !== slow)

  const peek: Candidate = (n) => {
    for (let i = 0; i < n; i++) {
      const peeked = manager.unsafePeek()
      if (Option.isSome(peeked)) context.keep(peeked.value)
    }
  }
  const peekValue: Candidate = (n) => {
    for (let i = 0; i < n; i++) {
      const peeked = manager.unsafePeek()
      if (Option.isSome(peeked)) context.keep(Redacted.value(peeked.value))
    }
  }

  const outside = durations(
    "A fresh token outside Effect, without a promise",
    "ns",
    await compare(
      {
        "a field read and a clock compare": context.fieldRead(held),
        "latchkey unsafePeek": peek,
        "latchkey unsafePeek, and the token's text": peekValue
      },
      { operations: 500_000 / scale, rounds: 31 }
    )
  )
  const fiber = durations(
    "A fresh token in one fiber",
    "ns",
    await compare(
      {
        "Effect.succeed": inFiber(succeed),
        "latchkey getAccessToken": inFiber(manager.getAccessToken),
        "Effect.gen over Ref and Clock": inFiber(generator),
        "effect Cache": inFiber(cacheOf(context.server, held).get),
        "Effect.cachedWithTTL": inFiber(cachedOf(context.server, held, "1 hour").get)
      },
      { operations: 20_000 / scale, rounds: 31 }
    )
  )
  const sync = durations(
    "A fresh token by Effect.runSync",
    "ns",
    await compare(
      {
        "Effect.succeed": synchronously(succeed),
        "latchkey getAccessToken": synchronously(manager.getAccessToken),
        "Effect.gen over Ref and Clock": synchronously(generator)
      },
      { operations: 20_000 / scale, rounds: 31 }
    )
  )
  const promises = durations(
    "A fresh token by await",
    "ns",
    await compare(
      {
        latchkey: awaited(latchkey.get),
        [inOneFiber]: inFiber(manager.getAccessToken),
        ...Object.fromEntries(quick.map(([name, session]) => [name, awaited(session.get)]))
      },
      { operations: 20_000 / scale, rounds: 31 }
    )
  )
  const slowly = durations(
    "A fresh token by await, where that takes long",
    "ns",
    await compare(
      {
        latchkey: awaited(latchkey.get),
        [slow]: awaited(sessions.get(slow)?.get ?? latchkey.get)
      },
      { operations: 500 / (context.small ? 10 : 1), rounds: 15 }
    )
  )
  const all: Table = { ...promises, rows: [...promises.rows, ...slowly.rows.slice(1)] }
  const against = (name: string, full: boolean): number =>
    Math.max(
      ...context.peers.filter((peer) => peer.full || !full).map((peer) => ratioOf(all, name, peer.name))
    )
  return {
    tables: [all, fiber, sync, outside],
    goals: [
      {
        what: "the promise manager against the fastest await of all others",
        found: against("latchkey", false),
        atMost: 1
      },
      {
        what: "in a fiber against the best full library's await",
        found: against(inOneFiber, true),
        atMost: 1
      },
      {
        what: "in a fiber against Effect.succeed",
        found: ratioOf(fiber, "latchkey getAccessToken", "Effect.succeed"),
        atMost: 5
      },
      {
        what: "unsafePeek against a field read and a clock compare",
        found: ratioOf(outside, "latchkey unsafePeek", "a field read and a clock compare"),
        atMost: 1.2
      }
    ]
  }
}

/** In addition to those that are awaited: each in the loop that is natural to it. */
const inOneFiber = "latchkey, yielded in a fiber"

/** It searches its cache at every call. */
const slow = "@azure/msal-node"
