import * as File from "@latchkey/storage/File"
import { FencingLaws, HistoryLaws, LeaseLaws, RecordLaws, StorageLaws } from "@latchkey/storage/testing"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs/promises"
import { freshPath } from "./fixtures.js"

const handles = Effect.gen(function* () {
  const path = yield* freshPath
  return { path, first: yield* File.make({ path }), second: yield* File.make({ path }) }
})

const stores = Effect.map(handles, ({ first, second }) => ({ first: first.storage, second: second.storage }))
const leases = Effect.map(handles, ({ first, second }) => ({ first: first.lease, second: second.lease }))
const fenced = Effect.map(handles, ({ first, second }) => ({ first, second, account: "me" }))
const record = Effect.map(handles, ({ path, first }) => ({
  storage: first.storage,
  write: (bytes: Uint8Array) => Effect.promise(() => fs.writeFile(path, bytes)),
  read: Effect.promise(() => fs.readFile(path))
}))

describe.concurrent("the file", () => {
  const laws = [
    ...StorageLaws.laws({ make: stores, changes: true }),
    ...HistoryLaws.laws({ make: stores, histories: 40 }),
    ...LeaseLaws.laws({ make: leases }),
    ...FencingLaws.laws({ make: fenced }),
    ...RecordLaws.laws({ make: record })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})
