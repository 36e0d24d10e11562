/**
 * Garbage-collects the statements of a closed connection. The driver (`libsql` 0.5) closes a database's files
 * only when each statement that was prepared on it is collected. That may be long after `close`, or never in
 * a program with little garbage: a program that opens and closes databases would run out of descriptors.
 */
import { TimeLimit } from "@latchkey/core/internal-api"
import * as Effect from "effect/Effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

type Collect = (options?: { readonly type: "minor" }) => void

/** The engine's own collection. Does nothing if it is not available. */
const collect: Effect.Effect<Collect> = Effect.runSync(
  Effect.cached(
    Effect.sync((): Collect => {
      try {
        setFlagsFromString("--expose-gc")
        const found: unknown = runInNewContext("gc")
        return typeof found === "function" ? (found as Collect) : () => {}
      } catch {
        return () => {}
      }
    })
  )
)

/** How many closed connections may wait. Each has up to four descriptors. */
const mostWaiting = 8

let waiting = 0
const registry = new FinalizationRegistry<void>(() => {
  waiting--
})

/**
 * Collects everything reachable through a closed connection, once nothing refers to it. For a connection that
 * was open for a short time this takes half a millisecond. A full collection runs only if many wait.
 */
export const afterClose = (connection: WeakRef<object>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const gc = yield* collect
    const still = connection.deref()
    if (still !== undefined) {
      waiting++
      registry.register(still, undefined)
    }
    yield* TimeLimit.turn
    gc({ type: "minor" })
    yield* TimeLimit.turn
    if (waiting > mostWaiting) gc()
    yield* TimeLimit.turn
  })
