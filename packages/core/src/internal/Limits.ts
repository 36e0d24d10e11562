/** How much runs at a time: over all token servers, and at each. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as MutableQueue from "effect/MutableQueue"

/** Runs an effect once there is room for it. */
export type Limit = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * At most `permits` at a time, first come, first served. Effect's `Semaphore` wakes all that wait at each release: a thousand
 * callers at one server took it 30 seconds, and three thousand all memory.
 */
export const atMost = (permits: number): Limit => {
  const waiting = MutableQueue.unbounded<{ isWaiting: boolean; readonly enter: () => void }>()
  let free = permits
  const release = (): void => {
    let next = MutableQueue.poll(waiting, undefined)
    while (next !== undefined && !next.isWaiting) next = MutableQueue.poll(waiting, undefined)
    if (next === undefined) free++
    else {
      next.isWaiting = false
      next.enter()
    }
  }
  const take = Effect.async<void>((resume) => {
    const waiter = { isWaiting: free === 0, enter: () => resume(Effect.void) }
    if (waiter.isWaiting) MutableQueue.offer(waiting, waiter)
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

/** How far behind its rate a server may be before what it missed is no longer made up for, in milliseconds. */
const slack = 100

/** Begins no more often than so many times a second. */
export const rate = (perSecond: number, places: number): Limit => {
  if (perSecond === Infinity) return (effect) => effect
  const spacing = 1000 / perSecond
  let next = -Infinity
  return (effect) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      // No further ahead than those who can wait here: a clock that was set back holds nobody up.
      const start = Math.max(Math.min(next, now + places * spacing), now - slack)
      next = start + spacing
      return start > now ? Effect.delay(effect, start - now) : effect
    })
}

/** What may run over all token servers, and at each. */
export interface Settings {
  readonly concurrency: number
  readonly perServer: number
  readonly perSecond: number
}

/** Accounts that are renewed by one fiber, `width` at a time. */
export interface Group {
  readonly width: number
  readonly limit: Limit
}

/** One token server. Renewals have at most three quarters of its places, and accounts whose last refresh failed half. */
export interface Server {
  readonly caller: (isTroubled: boolean) => Limit
  readonly sound: Group
  readonly troubled: Group
}

export interface Limits {
  readonly server: () => Server
  /** Reads of one storage. */
  readonly storage: () => Group
}

export const make = ({ concurrency, perSecond, perServer }: Settings): Limits => {
  const all = atMost(concurrency)
  const allTroubled = atMost(Math.ceil(concurrency / 2))
  return {
    storage: () => ({ width: concurrency, limit: all }),
    server: () => {
      const [most, half] = [Math.ceil(perServer * 0.75), Math.ceil(perServer / 2)]
      const [places, renewals, troubled] = [atMost(perServer), atMost(most), atMost(half)]
      const paced = rate(perSecond, perServer)
      const caller: Limit = (effect) => places(paced(effect))
      // Who waits for one limit holds only what is this server's own.
      const sound: Limit = (effect) => renewals(places(all(paced(effect))))
      return {
        caller: (isTroubled) => (isTroubled ? (effect) => troubled(caller(effect)) : caller),
        sound: { width: most, limit: sound },
        troubled: {
          width: half,
          limit: (effect) => troubled(renewals(places(allTroubled(all(paced(effect))))))
        }
      }
    }
  }
}
