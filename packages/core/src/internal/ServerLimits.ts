/** Limits what is sent to each token server: the number at a time, and the number per second. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fifo from "../edition/Fifo.js"
import type { Server } from "../grant/Round.js"

/** Runs an effect once there is room for it. */
export type Limit = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * At most `permits` at a time, in FIFO order. Effect's `Semaphore` wakes all waiting fibers at each release:
 * a thousand callers at one server took it 30 seconds, and three thousand used up all memory.
 */
export const atMost = (permits: number): Limit => {
  const waiting = Fifo.make<{ isWaiting: boolean; readonly enter: () => void }>()
  let free = permits
  const release = (): void => {
    let next = waiting.poll()
    while (next !== undefined && !next.isWaiting) next = waiting.poll()
    if (next === undefined) free++
    else {
      next.isWaiting = false
      next.enter()
    }
  }
  const take = Effect.async<void>((resume) => {
    const waiter = { isWaiting: free === 0, enter: () => resume(Effect.void) }
    if (waiter.isWaiting) waiting.offer(waiter)
    else {
      free--
      waiter.enter()
    }
    return Effect.sync(() => {
      if (waiter.isWaiting) waiter.isWaiting = false
      else release()
    })
  })
  return (effect) =>
    Effect.acquireUseRelease(
      Effect.interruptible(take),
      () => effect,
      () => Effect.sync(release)
    )
}

/**
 * How far, in milliseconds, a server may fall behind its rate and still catch up. Beyond that, missed starts
 * are dropped.
 */
const slack = 100

/** Starts at most `perSecond` effects per second. */
export const rate = (perSecond: number, places: number): Limit => {
  if (perSecond === Infinity) return (effect) => effect
  const spacing = 1000 / perSecond
  let next = -Infinity
  return (effect) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      // Never further ahead than the number of waiters allows, so that a clock that was set back delays
      // nobody.
      const start = Math.max(Math.min(next, now + places * spacing), now - slack)
      next = start + spacing
      return start > now ? Effect.delay(effect, start - now) : effect
    })
}

/** The limits of one token server. Renewals have their own places and never take a caller's. */
export interface ServerLimits {
  /** Accounts whose last refresh failed get at most half of the places. */
  readonly caller: (isTroubled: boolean) => Limit
  readonly renewal: Limit
}

/**
 * Returns the limits of each server, keyed by a name or by an object that stands for it. The limits of an
 * object are garbage-collected with it.
 */
export const make = (perServer: number, perSecond: number): ((server: Server) => ServerLimits) => {
  const named = new Map<string, ServerLimits>()
  const unnamed = new WeakMap<object, ServerLimits>()
  const makeOne = (): ServerLimits => {
    const [places, troubled] = [atMost(perServer), atMost(Math.ceil(perServer / 2))]
    const paced = rate(perSecond, perServer)
    const caller: Limit = (effect) => places(paced(effect))
    return {
      caller: (isTroubled) => (isTroubled ? (effect) => troubled(caller(effect)) : caller),
      renewal: paced
    }
  }
  return (server) => {
    const known = typeof server === "string" ? named.get(server) : unnamed.get(server)
    if (known !== undefined) return known
    const made = makeOne()
    if (typeof server === "string") named.set(server, made)
    else unnamed.set(server, made)
    return made
  }
}
