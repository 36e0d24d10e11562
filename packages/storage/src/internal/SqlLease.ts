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
        // A client that dates its leases may have set its clock meanwhile. The keeper knows how old they are.
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

/** PostgreSQL knows the time. SQLite is a file, and uses the clocks of its clients. */
const isDatedByServer = ({ dialect }: Session): boolean => dialect === "pg"

const ask = <A extends object>(session: Session, statement: (now: Fragment) => Statement<A>) =>
  Effect.flatMap(session.now, (now) => session.run(statement(now)))

const finds = (
  session: Session,
  statement: (now: Fragment) => Statement<object>
): Effect.Effect<boolean, ServerProblem> => Effect.map(ask(session, statement), (rows) => rows.length > 0)

/** The owner of the lease, in force or lapsed. */
interface Held {
  readonly owner: string
  readonly holder: string
  readonly until: string
  readonly live: boolean
}

type HeldRow = Record<"owner" | "holder" | "live" | "expires", unknown>

const selectHeld = (session: Session, account: string, now: Fragment) => {
  const { sql } = session
  return sql<HeldRow>`
    SELECT ${session.bytes(sql("owner"))} AS owner, ${session.bytes(sql("holder"))} AS holder, expires,
      CASE WHEN expires > ${now} THEN 1 ELSE 0 END AS live
    FROM ${sql(session.tables.leases)} WHERE account = ${account} AND owner IS NOT NULL`
}

const heldIn = (row: HeldRow | undefined): Option.Option<Held> =>
  Option.map(
    Option.filter(Option.fromNullable(row), ({ owner }) => owner !== null),
    ({ expires, holder, live, owner }) => ({
      owner: textOf(owner),
      holder: textOf(holder),
      until: String(expires),
      live: Number(live) === 1
    })
  )

const look = (session: Session, account: string): Effect.Effect<Option.Option<Held>, ServerProblem> =>
  Effect.map(
    ask(session, (now) => selectHeld(session, account, now)),
    ([row]) => heldIn(row)
  )

/** The previous owner of the lease, and the fence if it is granted. */
interface Attempt {
  readonly found: Option.Option<Held>
  readonly fence: Option.Option<number>
}

const grant = (session: Session, request: Request): Effect.Effect<Answer, ServerProblem> =>
  Effect.gen(function* () {
    const { fence, found } = yield* session.dialect === "pg"
      ? lookAndTake(session, request)
      : lookThenTake(session, request)
    if (Option.isSome(fence)) {
      return { _tag: "Granted", fence: fence.value, previous: Option.map(found, ({ owner }) => owner) }
    }
    const over = Option.getOrUndefined(request.over)
    const winner = yield* Option.exists(found, ({ live, owner }) => live && owner !== over)
      ? Effect.succeed(found)
      : look(session, request.account)
    return Option.match(winner, {
      onNone: (): Answer => ({ _tag: "Busy", owner: "", holder: "another process", until: "" }),
      onSome: ({ owner, holder, until }) => ({ _tag: "Busy", owner, holder, until })
    })
  })

/**
 * In one statement. Processes that wait for a holder only read, so they do not contend for the right to
 * write.
 */
const lookAndTake = (session: Session, request: Request): Effect.Effect<Attempt, ServerProblem> => {
  const { sql } = session
  const over = session.bytes(sql`CAST(${Option.getOrNull(request.over)} AS TEXT)`)
  return ask(
    session,
    (now) => sql<HeldRow & { readonly fence: unknown }>`
      WITH found AS (${selectHeld(session, request.account, now)}),
        taken AS (${take(
          session,
          request,
          now,
          sql`NOT EXISTS (
          SELECT 1 FROM found WHERE live = 1 AND owner IS DISTINCT FROM ${over})`
        )})
      SELECT found.*, taken.fence FROM (SELECT 1) AS one LEFT JOIN found ON TRUE LEFT JOIN taken ON TRUE`
  ).pipe(
    Effect.map(([row]) => ({
      found: heldIn(row),
      fence: Option.map(Option.fromNullable(row?.fence), Number)
    })),
    Effect.catchIf(isRace, () => Effect.succeed({ found: Option.none(), fence: Option.none() }))
  )
}

/**
 * In two statements, of which the first only reads. A clock that was set wrong does not end the lease of a
 * running holder.
 */
const lookThenTake = (session: Session, request: Request): Effect.Effect<Attempt, ServerProblem> =>
  Effect.gen(function* () {
    const found = yield* look(session, request.account)
    const others = Option.filter(found, ({ owner }) => owner !== Option.getOrUndefined(request.over))
    if (Option.isSome(others) && (others.value.live || (yield* request.isRunning(others.value.owner)))) {
      return { found: Option.some({ ...others.value, live: true }), fence: Option.none() }
    }
    const [row] = yield* ask(session, (now) => take(session, request, now, session.sql`1 = 1`)).pipe(
      Effect.catchIf(isRace, () => Effect.succeed([]))
    )
    // Finds out who has taken it since.
    return row === undefined
      ? { found: Option.none(), fence: Option.none() }
      : { found, fence: Option.some(Number(row.fence)) }
  })

/** The fence is above the last one granted, above the one written, and not below the clock. */
const take = (
  session: Session,
  { account, owner, holder, ttl, over }: Request,
  now: Fragment,
  condition: Fragment
) => {
  const { sql, tables } = session
  const greatest = sql.literal(session.dialect === "pg" ? "GREATEST" : "MAX")
  const expires = sql`${now} + CAST(${Math.ceil(ttl)} AS BIGINT)`
  return sql<{ readonly fence: unknown }>`
    INSERT INTO ${sql(tables.leases)} AS held (account, owner, holder, expires, fence)
    SELECT CAST(${account} AS TEXT), CAST(${owner} AS TEXT), CAST(${holder} AS TEXT), ${expires},
      ${greatest}(${now}, 1 + COALESCE((SELECT fence FROM ${sql(tables.entries)} WHERE account = ${account}), 0))
    WHERE ${condition}
    ON CONFLICT (account) DO UPDATE SET
      owner = excluded.owner, holder = excluded.holder, expires = ${expires},
      fence = ${greatest}(held.fence + 1, excluded.fence)
      WHERE held.owner IS NULL OR held.expires <= ${now}
        OR held.owner = CAST(${Option.getOrNull(over)} AS TEXT)
    RETURNING fence`
}
