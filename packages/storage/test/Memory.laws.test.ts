import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import { HistoryLaws, LeaseLaws, StorageLaws } from "@latchkey/storage/testing"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"

// One process by nature: both handles are the same.
const make = Effect.map(TokenStorage.makeMemory(), (store) => ({ first: store, second: store }))
const makeLease = Effect.map(RefreshLease.makeProcess, (lease) => ({ first: lease, second: lease }))

describe("the memory storage and the process lease", () => {
  const laws = [
    ...StorageLaws.laws({ make, changes: true }),
    ...HistoryLaws.laws({ make, histories: 200 }),
    ...LeaseLaws.laws({ make: makeLease, ttl: "200 millis" })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})
