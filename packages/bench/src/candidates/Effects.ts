/** The means of `effect` itself to cache a value with a time to live. */
import * as Cache from "effect/Cache"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Held, Open, Peer, Server } from "../Peer.js"
import { requestByFetch, wallClock } from "../Peer.js"

/** The first result is the existing token, unless it has expired. */
const lookUp = (server: Server, first: Held) => {
  let held = first
  let asked = first.expiresAt <= wallClock()
  return {
    held: () => held,
    next: Effect.promise(async () => {
      if (asked) held = await requestByFetch(server, held.refreshToken)
      asked = true
      return held
    })
  }
}

const left = (held: Held): Duration.Duration => Duration.millis(Math.max(0, held.expiresAt - wallClock()))

const cache: Open = (server, first) => {
  const { held, next } = lookUp(server, first)
  const values = Effect.runSync(
    Cache.makeWith({
      capacity: 100,
      lookup: (_: "grant") => next,
      timeToLive: Exit.match({ onFailure: () => Duration.zero, onSuccess: left })
    })
  )
  const [get, refresh] = [values.get("grant"), values.refresh("grant")]
  return { get: () => Effect.runPromise(get), refresh: () => Effect.runPromise(refresh), held }
}

/** It has one time to live for all values. */
const cached: Open = (server, first) => {
  const { held, next } = lookUp(server, first)
  const [get, invalidate] = Effect.runSync(Effect.cachedInvalidateWithTTL(next, "1 hour"))
  const refresh = Effect.zipRight(invalidate, get)
  return { get: () => Effect.runPromise(get), refresh: () => Effect.runPromise(refresh), held }
}

export const effects: ReadonlyArray<Peer> = [
  { name: "effect Cache", full: false, open: cache },
  { name: "Effect.cachedWithTTL", full: false, only: "process", open: cached }
]
