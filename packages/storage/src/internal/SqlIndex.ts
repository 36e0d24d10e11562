/** The index of accounts in the table of entries: which are due for renewal, and how many there are. */
import {
  type Account,
  atRest,
  type AtRest,
  type DueAccount,
  type DueOptions
} from "@latchkey/core/TokenStorages"
import type * as Entry from "@latchkey/core/Entry"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Streams } from "@latchkey/core/internal-api"
import * as RecordText from "./RecordText.js"
import type { ServerProblem } from "./ServerProblem.js"
import { bytesOf, type Session } from "./SqlSession.js"
import type { Tables } from "./SqlSchema.js"

/** The columns of an entry, for the statement that writes it. */
export const columnsOf = (entry: Entry.Entry): { readonly state: string; readonly due: number | null } => {
  const { dueAt, state } = atRest(entry)
  return { state, due: Option.getOrNull(dueAt) }
}

/** One page of what is due. The index has it in this order, so that a page costs what is in it. */
export const due = (
  session: Session,
  { after, before, limit }: DueOptions
): Effect.Effect<ReadonlyArray<DueAccount>, ServerProblem> => {
  const { sql, tables } = session
  const later =
    after === undefined
      ? sql.literal("")
      : sql`AND (due, account) > (CAST(${after.dueAt} AS BIGINT), CAST(${after.account} AS TEXT))`
  const statement = sql<Record<"account" | "due", unknown>>`
    SELECT account, due FROM ${sql(tables.entries)}
    WHERE due < CAST(${clamped(before)} AS BIGINT) ${later}
    ORDER BY due, account LIMIT ${limit}`
  return Effect.map(session.run(statement), (rows) =>
    rows.map((row) => ({ account: String(row.account), dueAt: Number(row.due) }))
  )
}

/** What a column of 64 bits can be compared with. */
const clamped = (millis: number): number =>
  Number.isNaN(millis)
    ? Number.MIN_SAFE_INTEGER
    : Math.ceil(Math.min(Math.max(millis, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER))

const pageSize = 1000

/** The accounts after one, by name; each page is one query. */
export const accounts = (
  session: Session,
  first: Option.Option<string>
): Stream.Stream<Account, ServerProblem> => {
  const { sql, tables } = session
  const page = (after: Option.Option<string>) => {
    const later = Option.match(after, {
      onNone: () => sql.literal(""),
      onSome: (account) => sql`AND account > CAST(${account} AS TEXT)`
    })
    const statement = sql<Record<"account" | "state" | "due", unknown>>`
      SELECT account, state, due FROM ${sql(tables.entries)}
      WHERE record IS NOT NULL ${later} ORDER BY account LIMIT ${pageSize}`
    return Effect.map(session.run(statement), (rows) => {
      const found = rows.map((row): Account => ({
        account: String(row.account),
        state: stateOf(row.state),
        dueAt: row.due === null ? Option.none() : Option.some(Number(row.due))
      }))
      const last = found.length < pageSize ? Option.none() : Option.fromNullable(found.at(-1))
      return [found, Option.map(last, ({ account }) => Option.some(account))] as const
    })
  }
  return Streams.pages(first, page)
}

const stateOf = (value: unknown): AtRest["state"] =>
  value === "Dead" || value === "Renewable" ? value : "Fixed"

export const count = (session: Session): Effect.Effect<number, ServerProblem> =>
  Effect.map(
    session.run(
      session.sql<{ readonly count: unknown }>`
        SELECT COUNT(*) AS count FROM ${session.sql(session.tables.entries)} WHERE record IS NOT NULL`
    ),
    ([row]) => Number(row?.count ?? 0)
  )

/** Adds the index to a table that may hold entries already. A record that cannot be read is not due. */
export const migration = (sql: SqlClient.SqlClient, names: Tables): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const integer = sql.literal(sql.onDialectOrElse({ pg: () => "BIGINT", orElse: () => "INTEGER" }))
    yield* sql`ALTER TABLE ${sql(names.entries)} ADD COLUMN state TEXT`
    yield* sql`ALTER TABLE ${sql(names.entries)} ADD COLUMN due ${integer}`
    yield* fill(sql, names, Option.none())
    yield* sql`CREATE INDEX ${sql(`${names.entries}_due`)} ON ${sql(names.entries)} (due, account)
      WHERE due IS NOT NULL`
  })

const fill = (
  sql: SqlClient.SqlClient,
  names: Tables,
  after: Option.Option<string>
): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const bytes = sql.onDialectOrElse({
      pg: () => sql`convert_to(record, 'UTF8')`,
      orElse: () => sql`CAST(record AS BLOB)`
    })
    const later = Option.match(after, {
      onNone: () => sql.literal(""),
      onSome: (account) => sql`AND account > ${account}`
    })
    const rows = yield* sql<Record<"account" | "record", unknown>>`
      SELECT account, ${bytes} AS record FROM ${sql(names.entries)}
      WHERE record IS NOT NULL ${later} ORDER BY account LIMIT ${pageSize}`
    const now = yield* Clock.currentTimeMillis
    for (const row of rows) {
      const read = RecordText.decode(bytesOf(row.record), "", now)
      if (Either.isLeft(read)) continue
      const { due, state } = columnsOf(read.right.entry)
      yield* sql`UPDATE ${sql(names.entries)} SET state = ${state}, due = ${due} WHERE account = ${String(row.account)}`
    }
    const last = rows.at(-1)
    if (last !== undefined && rows.length === pageSize) {
      yield* fill(sql, names, Option.some(String(last.account)))
    }
  })
