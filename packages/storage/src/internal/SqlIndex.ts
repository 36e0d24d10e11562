/** The index of accounts in the table of entries: which are due for renewal, and how many there are. */
import { Streams } from "@latchkey/core/internal-api"
import type { Account, DueAccount, DueOptions } from "@latchkey/core/TokenStorages"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { accountOf } from "./AccountRow.js"
import type { ServerProblem } from "./ServerProblem.js"
import type { Session } from "./SqlSession.js"

/**
 * Returns one page of due accounts. The index has this order, so that the cost of a page depends only on its
 * contents.
 */
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

/** Limits a value to what a 64-bit column can be compared with. */
const clamped = (millis: number): number =>
  Number.isNaN(millis)
    ? Number.MIN_SAFE_INTEGER
    : Math.ceil(Math.min(Math.max(millis, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER))

const pageSize = 1000

/** Returns the accounts after one, by name. Each page is one query. */
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
      const found = rows.map(({ account, due, state }) => accountOf(String(account), state, due))
      const last = found.length < pageSize ? Option.none() : Option.fromNullable(found.at(-1))
      return [found, Option.map(last, ({ account }) => Option.some(account))] as const
    })
  }
  return Streams.pages(first, page)
}

export const count = (session: Session): Effect.Effect<number, ServerProblem> =>
  Effect.map(
    session.run(
      session.sql<{ readonly count: unknown }>`
        SELECT COUNT(*) AS count FROM ${session.sql(session.tables.entries)} WHERE record IS NOT NULL`
    ),
    ([row]) => Number(row?.count ?? 0)
  )
