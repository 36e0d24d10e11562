/**
 * Values that are kept for a short time and can be taken once: for example a login that another instance of a
 * web application finishes.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { millisOf } from "./TokenConfig.js"
import { StorageError } from "./TokenStorage.js"

/**
 * The port. Any number of callers may use it concurrently.
 *
 * @since 0.1.0
 * @category tags
 */
export class OneTimeStore extends Context.Tag("@latchkey/core/OneTimeStore")<
  OneTimeStore,
  {
    /** Stores a value under a key that was never used before. It is gone after `timeToLive`. */
    readonly put: (
      key: string,
      value: string,
      timeToLive: Duration.DurationInput
    ) => Effect.Effect<void, StorageError>
    /**
     * Removes the value and returns it, in one step: of several callers, one gets it. None if the key is
     * unknown, its value was taken, or its time is over.
     */
    readonly take: (key: string) => Effect.Effect<Option.Option<string>, StorageError>
  }
>() {}

/** How many values are kept in memory. Beyond that, the oldest are dropped. */
const mostValues = 50_000

/**
 * Creates a store in the memory of this process. It keeps at most 50,000 values, and drops the oldest ones
 * beyond that.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory: Effect.Effect<Context.Tag.Service<OneTimeStore>> = Effect.sync(() => {
  // In the order in which they were stored.
  const values = new Map<string, { readonly value: string; readonly until: number }>()
  const drop = (now: number): void => {
    for (const [key, { until }] of values) {
      if (until > now && values.size <= mostValues) return
      values.delete(key)
    }
  }
  return {
    put: (key, value, timeToLive) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const millis = millisOf(timeToLive)
        if (!(millis > 0) || values.has(key)) return misuse
        return Effect.sync(() => {
          values.set(key, { value, until: now + millis })
          drop(now)
        })
      }),
    take: (key) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const found = Option.fromNullable(values.get(key))
        values.delete(key)
        return Option.map(
          Option.filter(found, ({ until }) => until > now),
          ({ value }) => value
        )
      })
  }
})

const misuse = new StorageError({
  reason: "Malformed",
  operation: "commit",
  location: "memory",
  message: "A value for one use needs a key of its own and a positive time to live. Nothing was stored."
})

/**
 * {@link makeMemory} as a layer, for a program that runs as one process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<OneTimeStore> = Layer.effect(OneTimeStore, makeMemory)
