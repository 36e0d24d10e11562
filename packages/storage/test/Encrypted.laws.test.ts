import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Encrypted from "@latchkey/storage/Encrypted"
import * as File from "@latchkey/storage/File"
import { FencingLaws, HistoryLaws, RecordLaws, StorageLaws } from "@latchkey/storage/testing"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs/promises"
import { freshPath } from "./fixtures.js"
import { withKeys } from "./keys.js"

const who = { provider: "example", account: "me" }

const memory = Effect.gen(function* () {
  const inner = yield* TokenStorage.makeMemory()
  return { first: yield* Encrypted.make(inner, who), second: yield* Encrypted.make(inner, who) }
}).pipe(withKeys("a"))

describe("encrypted in memory", () => {
  const laws = [
    ...StorageLaws.laws({ make: memory, changes: true }),
    ...HistoryLaws.laws({ make: memory, histories: 30 })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})

const handle = (path: string) =>
  Effect.gen(function* () {
    const { storage, lease } = yield* File.make({ path })
    return { storage: yield* Encrypted.make(storage, who), lease }
  })

const handles = Effect.gen(function* () {
  const path = yield* freshPath
  return { path, first: yield* handle(path), second: yield* handle(path) }
}).pipe(withKeys("a"))

const stores = Effect.map(handles, ({ first, second }) => ({ first: first.storage, second: second.storage }))
const fenced = Effect.map(handles, ({ first, second }) => ({ first, second, account: "me" }))
const record = Effect.map(handles, ({ path, first }) => ({
  storage: first.storage,
  write: (bytes: Uint8Array) => Effect.promise(() => fs.writeFile(path, bytes)),
  read: Effect.promise(() => fs.readFile(path))
}))

describe.concurrent("encrypted in a file", () => {
  const laws = [
    ...StorageLaws.laws({ make: stores, changes: true }),
    ...HistoryLaws.laws({ make: stores, histories: 8 }),
    ...FencingLaws.laws({ make: fenced }),
    ...RecordLaws.laws({
      make: record,
      except: [
        // These fields are inside.
        'the refresh token "null"',
        "expiry in seconds",
        "expiry in microseconds",
        "expiry that is no number"
      ]
    })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})
