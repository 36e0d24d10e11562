/** The leases in their table. Each change is one statement, and so atomic. */
import type { Fragment, Statement } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Answer, Backend, Request } from "./LeaseKeeper.js"
import type { ServerProblem } from "./ServerProblem.js"
import { isRace } from "./SqlProblem.js"
import { type Session, textOf } from "./SqlSession.js"

export const make = (session: Session): Backend => {
  const { sql } = session
  const leases = sql(session.tables.leases)
  return {
    datedBy: isDatedByServer(session) ? "server" : "clients",
    grant: (request) => grant(session, request),
    renew: (account, owner, ttl) =>
      finds(
        session,
        (now) =>
          sql`UPDATE ${leases} SET expires = ${now} + CAST(${Math.ceil(ttl)} AS BIGINT)
            WHERE account = ${account} AND owner = ${owner} RETURNING fence`
      ),
    isHeld: (account, owner) =>
      finds(
        session,
        // A client that dates its leases may have set its clock meanwhile; the keeper knows how old they are.
        (now) =>
          sql`SELECT fence FROM ${leases} WHERE account = ${account} AND owner = ${owner}
            AND ${isDatedByServer(session) ? sql`expires > ${now}` : sql`1 = 1`}`
      ),
    release: (account, owner) =>
      finds(
        session,
        () =>
          sql`UPDATE ${leases} SET owner = NULL, holder = NULL, expires = 0
            WHERE account = ${account} AND owner = ${owner} RETURNING fence`
      )
  }
}

/** PostgreSQL says what time it is; SQLite is a file, and has the clocks of its clients. */
const isDatedByServer = ({ dialect }: Session): boolean => dialect === "pg"

const ask = <A extends object>(session: Session, statement: (now: Fragment) => Statement<A>) =>
  Effect.flatMap(session.now, (now) => session.run(statement(now)))

const finds = (
  session: Session,
  statement: (now: Fragment) => Statement<object>
): Effect.Effect<boolean, ServerProblem> => Effect.map(ask(session, statement), (rows) => rows.length > 0)

/** Whose the lease is, in force or lapsed. */
const look = (session: Session, account: string) => {
  const { sql } = session
  const statement = (now: Fragment) => sql<Record<"owner" | "holder" | "live" | "expires", unknown>>`
    SELECT ${session.bytes(sql("owner"))} AS owner, ${session.bytes(sql("holder"))} AS holder, expires,
      CASE WHEN expires > ${now} THEN 1 ELSE 0 END AS live
    FROM ${sql(session.tables.leases)} WHERE account = ${account} AND owner IS NOT NULL`
  return Effect.map(ask(session, statement), ([row]) =>
    Option.map(Option.fromNullable(row), ({ owner, holder, live, expires }) => ({
      owner: textOf(owner),
      holder: textOf(holder),
      until: String(expires),
      live: Number(live) === 1
    }))
  )
}

/** Looks first, so that those who wait for a holder do not also contend for the right to write. */
const grant = (session: Session, request: Request): Effect.Effect<Answer, ServerProblem> =>
  Effect.gen(function* () {
    const found = yield* look(session, request.account)
    const over = Option.getOrUndefined(request.over)
    if (Option.isSome(found) && found.value.owner !== over) {
      const { live, ...other } = found.value
      if (live || (!isDatedByServer(session) && (yield* request.isRunning(other.owner)))) {
        return { _tag: "Busy", ...other }
      }
    }
    const [row] = yield* ask(session, (now) => take(session, request, now)).pipe(
      Effect.catchIf(isRace, () => Effect.succeed([]))
    )
    if (row !== undefined) {
      return { _tag: "Granted", fence: Number(row.fence), previous: Option.map(found, ({ owner }) => owner) }
    }
    const winner = yield* look(session, request.account)
    return Option.match(winner, {
      onNone: (): Answer => ({ _tag: "Busy", owner: "", holder: "another process", until: "" }),
      onSome: ({ owner, holder, until }) => ({ _tag: "Busy", owner, holder, until })
    })
  })

/** The fence is above the last one granted, above the one written, and not below the clock. */
const take = (session: Session, { account, owner, holder, ttl, over }: Request, now: Fragment) => {
  const { sql, tables } = session
  const greatest = sql.literal(session.dialect === "pg" ? "GREATEST" : "MAX")
  return sql<{ readonly fence: unknown }>`
    INSERT INTO ${sql(tables.leases)} AS held (account, owner, holder, expires, fence)
    VALUES (
      ${account}, ${owner}, ${holder}, ${now} + CAST(${Math.ceil(ttl)} AS BIGINT),
      ${greatest}(${now}, 1 + COALESCE((SELECT fence FROM ${sql(tables.entries)} WHERE account = ${account}), 0))
    )
    ON CONFLICT (account) DO UPDATE SET
      owner = excluded.owner, holder = excluded.holder, expires = ${now} + CAST(${Math.ceil(ttl)} AS BIGINT),
      fence = ${greatest}(held.fence + 1, excluded.fence)
      WHERE held.owner IS NULL OR held.expires <= ${now}
        OR held.owner = CAST(${Option.getOrNull(over)} AS TEXT)
    RETURNING fence`
}
