/** The means of `effect` itself to cache a value with a time to live. */
import * as Cache from "effect/Cache"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Held, Peer, Server } from "../Peer.js"
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

export const cacheOf = (server: Server, first: Held) => {
  const { held, next } = lookUp(server, first)
  const cache = Effect.runSync(
    Cache.makeWith({
      capacity: 100,
      lookup: (_: "grant") => next,
      timeToLive: Exit.match({ onFailure: () => Duration.zero, onSuccess: left })
    })
  )
  return { held, get: cache.get("grant"), refresh: cache.refresh("grant") }
}

export const effectCache: Peer = {
  name: "effect Cache",
  full: false,
  open: (server, first) => {
    const { get, held, refresh } = cacheOf(server, first)
    return { get: () => Effect.runPromise(get), refresh: () => Effect.runPromise(refresh), held }
  }
}

/** It has one time to live for all values. */
export const cachedOf = (server: Server, first: Held, timeToLive: Duration.DurationInput) => {
  const { held, next } = lookUp(server, first)
  const [get, invalidate] = Effect.runSync(Effect.cachedInvalidateWithTTL(next, timeToLive))
  return { held, get, refresh: Effect.zipRight(invalidate, get) }
}

export const effectCached: Peer = {
  name: "Effect.cachedWithTTL",
  full: false,
  open: (server, first) => {
    const { get, held, refresh } = cachedOf(server, first, "1 hour")
    return { get: () => Effect.runPromise(get), refresh: () => Effect.runPromise(refresh), held }
  }
}
