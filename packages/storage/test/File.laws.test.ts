import * as Entry from "@latchkey/core/Entry"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import { FencingLaws, HistoryLaws, LeaseLaws, RecordLaws, StorageLaws } from "@latchkey/storage/testing"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
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

/** A foreign format that holds every field, so that all laws apply to it. */
const foreign = FileFormat.foreign({
  at: ["their", "login"],
  decode: (section, now) => {
    const { extras, ...fields } = section
    const record = { latchkey: 1, family: "x", generation: 0, ...fields, extras: JSON.parse(String(extras)) }
    return Either.map(Entry.fromJson(record, now), ({ credentials }) => Option.some(credentials))
  },
  encode: (credentials) => {
    const {
      latchkey: _,
      family: _f,
      generation: _g,
      fence: _n,
      extras,
      ...fields
    } = Entry.toJson(Entry.first(credentials))
    const absent = { refreshToken: undefined, idToken: undefined, accountId: undefined }
    const timeless = { obtainedAt: undefined, expiresAt: undefined, refreshAt: undefined }
    return { ...absent, ...timeless, ...fields, extras: JSON.stringify(extras) }
  }
})

const foreignStores = Effect.gen(function* () {
  const options = { path: yield* freshPath, format: foreign, backups: 1 }
  return { first: (yield* File.make(options)).storage, second: (yield* File.make(options)).storage }
})

describe.concurrent("a foreign file", () => {
  const laws = [
    ...StorageLaws.laws({ make: foreignStores, changes: true }),
    ...HistoryLaws.laws({ make: foreignStores, histories: 20 })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})

describe.concurrent("the file", () => {
  const laws = [
    ...StorageLaws.laws({ make: stores, changes: true }),
    ...HistoryLaws.laws({ make: stores, histories: 8 }),
    ...LeaseLaws.laws({ make: leases, bearsWrongClocks: true }),
    ...FencingLaws.laws({ make: fenced }),
    ...RecordLaws.laws({ make: record })
  ]
  it.live.each(laws)("$name", (law) => law.effect)
})
