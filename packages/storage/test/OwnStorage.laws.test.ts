/** The example of the guide: a backend of one's own, by public imports alone. */
import { HistoryLaws, RecordLaws, StorageLaws } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as OwnStorage from "./support/OwnStorage.js"

const rows = Effect.sync(() => new Map<string, OwnStorage.Row>())
const make = Effect.map(rows, (table) => ({
  first: OwnStorage.make(table, "ada"),
  second: OwnStorage.make(table, "ada")
}))
const record = Effect.map(rows, (table) => ({
  storage: OwnStorage.make(table, "ada"),
  write: (bytes: Uint8Array) =>
    Effect.sync(() => void table.set("ada", { ...table.get("ada")!, record: bytes })),
  read: Effect.sync(() => table.get("ada")!.record!)
}))

describe("a storage of one's own", () => {
  const laws = [
    ...StorageLaws.laws({ make, changes: false }),
    ...HistoryLaws.laws({ make }),
    ...RecordLaws.laws({ make: record })
  ]
  it.live.each(laws)("$name (F42)", (law) => law.effect)

  it("is the one of the guide", () => {
    const guide = fs.readFileSync(new URL("../../docs/guide/extending.md", import.meta.url), "utf8")
    const example = fs.readFileSync(new URL("./support/OwnStorage.ts", import.meta.url), "utf8")
    assert.include(guide, example.trimEnd())
    assert.notMatch(example, /internal|\.\.\//)
  })
})
