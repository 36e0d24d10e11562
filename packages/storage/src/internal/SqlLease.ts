/** The leases in their table. Each change is one statement, and so atomic. */
import type { Fragment, Statement } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Answer, Backend, Request } from "./LeaseKeeper.js"
import type { ServerProblem } from "./ServerProblem.js"
import { isRace } from "./SqlProblem.js"
import { batched, type Session, textOf } from "./SqlSession.js"
import { wellFormed } from "./SqlTables.js"

export const make = (session: Session): Backend => {
  const { sql } = session
  const leases = sql(session.tables.leases)
  const attempt: Try =
    session.dialect === "pg" ? together(session) : (request) => lookThenTake(session, request)
  const ended = batched((all: ReadonlyArray<Ended>) => endAll(session, all))
  const release = (account: string, owner: string) =>
    finds(
      session,
      () =>
        sql`UPDATE ${leases} SET owner = NULL, holder = NULL, expires = 0
          WHERE account = ${account} AND owner = ${owner} RETURNING fence`
    )
  return {
    datedBy: isDatedByServer(session) ? "server" : "clients",
    grant: (request) => grant(session, attempt, request),
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
      session.dialect === "pg"
        ? Effect.flatMap(ended({ account, owner }), (done) => (done ? Effect.void : release(account, owner)))
        : release(account, owner)
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

type Try = (request: Request) => Effect.Effect<Attempt, ServerProblem>

/** Combines concurrent requests. A request whose lease is locked is sent again alone, and waits. */
const together = (session: Session): Try => {
  const all = batched((requests: ReadonlyArray<Request>) => lookAndTake(session, requests, false))
  const alone = (request: Request) =>
    Effect.map(lookAndTake(session, [request], true), ([tried = notTaken]) => tried)
  const isAnswered = ({ fence, found }: Attempt, over: string | undefined): boolean =>
    Option.isSome(fence) || Option.exists(found, ({ live, owner }) => live && owner !== over)
  return (request) =>
    // A name that no text of PostgreSQL can hold fails alone.
    request.account.includes("\0")
      ? alone(request)
      : Effect.flatMap(all(request), (tried) =>
          isAnswered(tried, Option.getOrUndefined(request.over)) ? Effect.succeed(tried) : alone(request)
        )
}

const grant = (session: Session, attempt: Try, request: Request): Effect.Effect<Answer, ServerProblem> =>
  Effect.gen(function* () {
    const { fence, found } = yield* attempt(request)
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
 * All requests in one statement. Processes that wait for a holder only read, so they do not contend for the right to
 * write. A lease whose row is locked is left out unless `waits`, so that no account waits for another.
 */
const lookAndTake = (
  session: Session,
  requests: ReadonlyArray<Request>,
  waits: boolean
): Effect.Effect<ReadonlyArray<Attempt>, ServerProblem> => {
  const { sql, tables } = session
  const [entries, leases] = [sql(tables.entries), sql(tables.leases)]
  const rows = JSON.stringify(
    requests.map(({ account, holder, over, owner, ttl }, place) => ({
      ...{ place, account: wellFormed(account), owner, holder, ttl: Math.ceil(ttl) },
      over: Option.getOrNull(over)
    }))
  )
  const written = sql`COALESCE((SELECT fence FROM ${entries} AS kept WHERE kept.account = asked.account), 0)`
  const statement = (now: Fragment) => sql<HeldRow & Record<"place" | "fence", unknown>>`
    WITH asked AS MATERIALIZED (
      SELECT * FROM json_to_recordset(CAST(${rows} AS JSON))
        AS one(place INT, account TEXT, owner TEXT, holder TEXT, ttl BIGINT, over TEXT)
    ), free AS (
      SELECT asked.place FROM asked JOIN ${leases} AS held ON held.account = asked.account
      WHERE held.owner IS NULL OR held.expires <= ${now} OR held.owner = asked.over
      FOR UPDATE OF held ${sql.literal(waits ? "" : "SKIP LOCKED")}
    ), taken AS (
      UPDATE ${leases} AS held SET owner = asked.owner, holder = asked.holder, expires = ${now} + asked.ttl,
        fence = GREATEST(held.fence + 1, ${now}, 1 + ${written})
      FROM asked JOIN free ON free.place = asked.place
      WHERE held.account = asked.account
        AND (held.owner IS NULL OR held.expires <= ${now} OR held.owner = asked.over)
      RETURNING held.owner, held.fence
    ), made AS (
      INSERT INTO ${leases} (account, owner, holder, expires, fence)
      SELECT account, owner, holder, ${now} + ttl, GREATEST(${now}, 1 + ${written}) FROM asked
      WHERE NOT EXISTS (SELECT 1 FROM ${leases} AS held WHERE held.account = asked.account)
      ORDER BY account
      ON CONFLICT (account) DO NOTHING
      RETURNING owner, fence
    ), granted AS (SELECT * FROM taken UNION ALL SELECT * FROM made)
    SELECT asked.place, granted.fence, ${session.bytes(sql("held.owner"))} AS owner,
      ${session.bytes(sql("held.holder"))} AS holder, held.expires,
      CASE WHEN held.expires > ${now} THEN 1 ELSE 0 END AS live
    FROM asked LEFT JOIN granted ON granted.owner = asked.owner
      LEFT JOIN ${leases} AS held ON held.account = asked.account`
  return Effect.map(ask(session, statement), (found) => {
    const byPlace = new Map(found.map((row) => [Number(row.place), row]))
    return requests.map((_, place): Attempt => {
      const row = byPlace.get(place)
      return { found: heldIn(row), fence: Option.map(Option.fromNullable(row?.fence), Number) }
    })
  }).pipe(Effect.catchIf(isRace, () => Effect.succeed(requests.map((): Attempt => notTaken))))
}

const notTaken: Attempt = { found: Option.none(), fence: Option.none() }

/** Ends all of these leases in one statement. Returns which of them it found, and not locked. */
const endAll = (
  session: Session,
  all: ReadonlyArray<Ended>
): Effect.Effect<ReadonlyArray<boolean>, ServerProblem> => {
  const { sql, tables } = session
  const leases = sql(tables.leases)
  const rows = JSON.stringify(all.map(({ account, owner }) => ({ account: wellFormed(account), owner })))
  const statement = sql<{ readonly owner: unknown }>`
    WITH ended AS (
      SELECT held.account, held.owner FROM ${leases} AS held
        JOIN json_to_recordset(CAST(${rows} AS JSON)) AS one(account TEXT, owner TEXT)
        ON one.account = held.account AND one.owner = held.owner
      FOR UPDATE OF held SKIP LOCKED
    )
    UPDATE ${leases} AS held SET owner = NULL, holder = NULL, expires = 0
    FROM ended WHERE held.account = ended.account AND held.owner = ended.owner RETURNING ended.owner`
  return Effect.map(session.run(statement), (found) => {
    const owners = new Set(found.map(({ owner }) => String(owner)))
    return all.map(({ owner }) => owners.has(owner))
  })
}

interface Ended {
  readonly account: string
  readonly owner: string
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
    const [row] = yield* ask(session, (now) => take(session, request, now)).pipe(
      Effect.catchIf(isRace, () => Effect.succeed([]))
    )
    // Finds out who has taken it since.
    return row === undefined
      ? { found: Option.none(), fence: Option.none() }
      : { found, fence: Option.some(Number(row.fence)) }
  })

/** The fence is above the last one granted, above the one written, and not below the clock. */
const take = (session: Session, { account, owner, holder, ttl, over }: Request, now: Fragment) => {
  const { sql, tables } = session
  const expires = sql`${now} + CAST(${Math.ceil(ttl)} AS BIGINT)`
  return sql<{ readonly fence: unknown }>`
    INSERT INTO ${sql(tables.leases)} AS held (account, owner, holder, expires, fence)
    SELECT CAST(${account} AS TEXT), CAST(${owner} AS TEXT), CAST(${holder} AS TEXT), ${expires},
      MAX(${now}, 1 + COALESCE((SELECT fence FROM ${sql(tables.entries)} WHERE account = ${account}), 0))
    WHERE 1 = 1
    ON CONFLICT (account) DO UPDATE SET
      owner = excluded.owner, holder = excluded.holder, expires = ${expires},
      fence = MAX(held.fence + 1, excluded.fence)
      WHERE held.owner IS NULL OR held.expires <= ${now}
        OR held.owner = CAST(${Option.getOrNull(over)} AS TEXT)
    RETURNING fence`
}
