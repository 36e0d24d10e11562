import { Entry, TokenStorage } from "@latchkey/core"
import { EntryText } from "@latchkey/storage"
import { Clock, Effect, Option } from "effect"

/** A row of your database. It stays when its record is removed: its number and its fence never decrease. */
export interface Row {
  readonly number: number
  readonly fence: number
  readonly record: Uint8Array | undefined
}

const none: Row = { number: 0, fence: 0, record: undefined }

export const make = (rows: Map<string, Row>, account: string) => {
  const location = `my database, account ${account}`
  const read = (operation: "load" | "commit") =>
    Effect.gen(function* () {
      const row = rows.get(account) ?? none
      const now = yield* Clock.currentTimeMillis
      const context = { location, operation, now }
      const stored =
        row.record === undefined ? Option.none() : Option.some(yield* EntryText.decode(row.record, context))
      // The version includes the bytes, so a record that was restored from a backup has another version.
      const digest = row.record === undefined ? "" : Buffer.from(row.record).toString("base64").slice(-40)
      return { row, context, stored, version: `${row.number}-${digest}` as TokenStorage.Version }
    })
  return TokenStorage.TokenStorage.of({
    location,
    load: Effect.map(read("load"), ({ stored, version }) =>
      Option.map(stored, ({ entry }) => ({ entry, version }))
    ),
    commit: (entry, expected) =>
      Effect.gen(function* () {
        const { context, row, stored, version } = yield* read("commit")
        const found = Option.as(stored, version)
        if (Option.getOrUndefined(found) !== Option.getOrUndefined(expected)) {
          return yield* new TokenStorage.CommitRefused({ reason: "Conflict", location })
        }
        if (!Entry.passesFence(entry, row.fence)) {
          return yield* new TokenStorage.CommitRefused({ reason: "Fenced", location })
        }
        const kept = Entry.keepFence(entry, row.fence)
        const record = yield* EntryText.encode(kept, stored, context)
        // In a real database: one statement that writes only if the row still has this number, else `Conflict`.
        rows.set(account, { number: row.number + 1, fence: kept.fence, record })
        return (yield* read("commit")).version
      }),
    remove: Effect.sync(() => {
      const row = rows.get(account) ?? none
      rows.set(account, { ...row, number: row.number + 1, record: undefined })
      return row.record !== undefined
    }),
    changes: Option.none()
  })
}
