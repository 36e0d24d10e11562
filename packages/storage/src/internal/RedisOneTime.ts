/** Values that can be taken once, each under a key of its own. Redis removes those that nobody took. */
import type { OneTimeStore } from "@latchkey/core/OneTimeStore"
import { millisOf } from "@latchkey/core/TokenConfig"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { badTimeToLive, keyInUse } from "./OneTimeProblem.js"
import type { Connection } from "./RedisClient.js"
import { text } from "./RedisGrant.js"
import { toStorageError } from "./ServerProblem.js"

const put = `return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') and 1 or 0`

const take = `
local value = redis.call('GET', KEYS[1])
if value then redis.call('DEL', KEYS[1]) end
return value`

export const make = ({ location, run }: Connection, prefix: string): Context.Tag.Service<OneTimeStore> => {
  // An account's key has braces after the prefix, so no account has this one.
  const keyOf = (key: string) => `${prefix}:one-time:${key}`
  return {
    put: (key, value, timeToLive) =>
      Effect.gen(function* () {
        const millis = Math.ceil(millisOf(timeToLive))
        if (!(millis > 0 && Number.isSafeInteger(millis))) return yield* badTimeToLive(location)
        const written = yield* Effect.mapError(
          run(put, keyOf(key), [value, millis]),
          toStorageError("commit", location)
        )
        if (written !== 1) return yield* keyInUse(location)
      }),
    take: (key) =>
      run(take, keyOf(key), []).pipe(
        Effect.map((value) => (value instanceof Uint8Array ? Option.some(text(value)) : Option.none())),
        Effect.mapError(toStorageError("remove", location))
      )
  }
}
