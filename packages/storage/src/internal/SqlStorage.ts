/** The storage of one account in the table of entries. Each change is one statement, and so atomic. */
import type { CommitRefused as Refusal, TokenStorage, Version } from "@latchkey/core/TokenStorage"
import { CommitRefused } from "@latchkey/core/TokenStorage"
import * as Entry from "@latchkey/core/Entry"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import type * as Record from "./Record.js"
import { markOf } from "./RecordKeys.js"
import * as RecordText from "./RecordText.js"
import { ServerProblem, toStorageError } from "./ServerProblem.js"
import { isLocked, isRace } from "./SqlProblem.js"
import { batched, type Session } from "./SqlSession.js"
import { bytesOf, columnsOf, wellFormed } from "./SqlTables.js"

/**
 * A change is reported on the channel of its table, with the account as the payload, or an empty one if the
 * account is too long.
 */
export const channelOf = (session: Session): string => session.tables.entries
const payloadOf = (account: string): string => (Buffer.byteLength(account) < longestPayload ? account : "")

/** Returns the account that a payload names. None if it may be any. */
export const accountIn = (payload: Option.Option<string>): Option.Option<string> =>
  Option.filter(payload, (account) => account !== "")

/** In bytes. PostgreSQL refuses 8000. */
const longestPayload = 7_900

export const make = (
  entries: Table,
  account: string,
  changes: Option.Option<Stream.Stream<void, StorageError>>
): Context.Tag.Service<TokenStorage> => {
  const { session } = entries
  const location = `${session.location}, account ${account}`
  return {
    location,
    // Created on access, because a storage that only commits does not need its statement.
    get load() {
      return Effect.mapError(load(entries, account, location), toStorageError("load", location))
    },
    commit: (entry, expected) =>
      commit(entries, { account, location }, entry, expected).pipe(
        Effect.catchTag("ServerProblem", (problem) => toStorageError("commit", location)(problem))
      ),
    get remove() {
      return Effect.mapError(remove(session, account), toStorageError("remove", location))
    },
    changes
  }
}

interface Row {
  /** 0 if there is none yet. */
  readonly number: number
  readonly fence: number
  readonly granted: number
  readonly held: Option.Option<Record.Record & { readonly version: Version }>
}

/** The digest reveals a record that another program restored or edited. */
const versionOf = (number: number, text: Uint8Array | string, document: Record.Record["document"]): Version =>
  // In one piece, because a slice would keep the buffer that it was cut from.
  Buffer.from(
    `${number}-${createHash("sha256").update(text).digest("hex").slice(0, 16)}${markOf(document)}`
  ).toString() as Version

/** The version of a record that holds only our fields, parsed. */
interface Known {
  readonly number: number
  readonly digest: string
}

const knownBy = (version: Version): Known | undefined => {
  const [, number, digest = ""] = /^(\d+)-([0-9a-f]+)$/.exec(version) ?? []
  return number === undefined ? undefined : { number: Number(number), digest }
}

/** A row as the driver returns it. */
interface Found {
  readonly number: number
  readonly fence: number
  readonly granted: number
  /** None if there is no record. Its content is undefined if it is too large. */
  readonly record: Option.Option<Uint8Array | undefined>
}

/** The table of entries. Concurrent reads, and concurrent writes under leases, share a statement. */
export interface Table {
  readonly session: Session
  readonly read: (account: string) => Effect.Effect<Found, ServerProblem>
  /** Returns whether it was written. If not, the reason is not known. */
  readonly replace: (next: Replacement) => Effect.Effect<boolean, ServerProblem>
}

export const table = (session: Session): Table => ({
  session,
  read: batched((accounts: ReadonlyArray<string>) => readAll(session, accounts)),
  replace: batched((all: ReadonlyArray<Replacement>) => replaceAll(session, all))
})

const readAll = (
  session: Session,
  accounts: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Found>, ServerProblem> => {
  const { sql, tables } = session
  const bytes = session.bytes(sql("kept.record"))
  // One parameter for any number of accounts, so the statement is the same each time and can be reused.
  const names = JSON.stringify(accounts.map(wellFormed))
  const asked =
    session.dialect === "pg"
      ? sql`json_array_elements_text(CAST(${names} AS JSON)) WITH ORDINALITY AS asked(account, place)`
      : sql`(SELECT value AS account, key + 1 AS place FROM json_each(${names})) AS asked`
  const statement = sql<Record<"place" | "version" | "fence" | "granted" | "size" | "record", unknown>>`
    SELECT asked.place, kept.version, kept.fence, length(${bytes}) AS size,
      (SELECT fence FROM ${sql(tables.leases)} AS held WHERE held.account = asked.account) AS granted,
      CASE WHEN length(${bytes}) <= ${sql.literal(String(RecordText.maxBytes))} THEN ${bytes} END AS record
    FROM ${asked} LEFT JOIN ${sql(tables.entries)} AS kept ON kept.account = asked.account`
  return Effect.map(session.run(statement), (rows) => {
    const found = new Map(rows.map((row) => [Number(row.place), row]))
    return accounts.map((_, i): Found => {
      const row = found.get(i + 1)
      const record = row?.record === null ? undefined : bytesOf(row?.record)
      return {
        number: Number(row?.version ?? 0),
        fence: Number(row?.fence ?? 0),
        granted: Number(row?.granted ?? 0),
        record: row === undefined || row.size === null ? Option.none() : Option.some(record)
      }
    })
  })
}

const read = (entries: Table, account: string, location: string): Effect.Effect<Row, ServerProblem> =>
  Effect.gen(function* () {
    const { fence, granted, number, record: text } = yield* entries.read(account)
    if (Option.isNone(text)) return { number, fence, granted, held: Option.none() }
    if (text.value === undefined) return yield* RecordText.tooLarge(location)
    const record = yield* RecordText.decode(text.value, location, yield* Clock.currentTimeMillis)
    return {
      number,
      fence,
      granted,
      held: Option.some({ ...record, version: versionOf(number, text.value, record.document) })
    }
  })

const load = (entries: Table, account: string, location: string) =>
  Effect.map(read(entries, account, location), ({ held }) =>
    Option.map(held, ({ entry, version }) => ({ entry, version }))
  )

/** How often a commit reads a row again that keeps changing, before it fails. */
const maxRaces = 20

const commit = (
  entries: Table,
  place: Place,
  entry: Entry.Entry,
  expected: Option.Option<Version>
): Effect.Effect<Version, ServerProblem | Refusal> =>
  Effect.flatMap(replaceUnread(entries, place, entry, expected), (version) =>
    version === undefined ? commitToRead(entries, place, entry, expected) : Effect.succeed(version)
  )

interface Place {
  readonly account: string
  readonly location: string
}

/**
 * Replaces, under a lease, a record whose version is known, without reading it: one statement. Nearly every
 * commit of a refresh takes this path. Returns undefined if it wrote nothing. The caller must then read the
 * row to find out why.
 */
const replaceUnread = (
  { replace, session }: Table,
  { account, location }: Place,
  entry: Entry.Entry,
  expected: Option.Option<Version>
): Effect.Effect<Version | undefined, ServerProblem> =>
  Effect.gen(function* () {
    const known = Option.isSome(expected) ? knownBy(expected.value) : undefined
    // SQLite has no digests, and reads without a round trip.
    if (known === undefined || entry.fence === 0 || session.dialect !== "pg") return undefined
    const text = yield* RecordText.encode({}, entry, location, yield* Clock.currentTimeMillis)
    const isWritten = yield* replace({
      ...known,
      account,
      fence: entry.fence,
      record: text,
      ...columnsOf(entry)
    })
    return isWritten ? versionOf(known.number + 1, text, {}) : undefined
  })

/** A new record, written under a lease, and the version that it replaces. */
interface Replacement extends Known {
  readonly account: string
  readonly fence: number
  readonly record: string
  readonly state: string
  readonly due: number | null
}

/**
 * Writes each record whose row still has the known version, if no later lease was granted. Returns which of
 * them were written. It skips locked rows, so that no account waits for another. Meanwhile it locks the rows of
 * the leases, as {@link write} does.
 */
const replaceAll = (
  session: Session,
  all: ReadonlyArray<Replacement>
): Effect.Effect<ReadonlyArray<boolean>, ServerProblem> => {
  const { sql, tables } = session
  const rows = JSON.stringify(
    all.map((one, place) => {
      const account = wellFormed(one.account)
      return { ...one, place, account, digest: `${one.digest}%`, payload: payloadOf(account) }
    })
  )
  const [entries, leases] = [sql(tables.entries), sql(tables.leases)]
  const statement = sql<{ readonly place: unknown }>`
    WITH asked AS MATERIALIZED (
      SELECT * FROM json_to_recordset(CAST(${rows} AS JSON)) AS one(place INT, account TEXT, number BIGINT,
        fence BIGINT, digest TEXT, record TEXT, state TEXT, due BIGINT, payload TEXT)
    ), leased AS (
      SELECT asked.place FROM asked JOIN ${leases} AS held ON held.account = asked.account
      WHERE held.fence <= asked.fence FOR SHARE OF held SKIP LOCKED
    ), same AS (
      SELECT asked.place FROM asked JOIN ${entries} AS kept ON kept.account = asked.account
      WHERE kept.version = asked.number AND kept.fence <= asked.fence
        AND encode(sha256(convert_to(kept.record, 'UTF8')), 'hex') LIKE asked.digest
      FOR UPDATE OF kept SKIP LOCKED
    )
    UPDATE ${entries} AS kept
    SET version = asked.number + 1, fence = asked.fence, record = asked.record, state = asked.state, due = asked.due
    FROM asked JOIN leased ON leased.place = asked.place JOIN same ON same.place = asked.place
    WHERE kept.account = asked.account AND kept.version = asked.number
    RETURNING asked.place, pg_notify(${channelOf(session)}, asked.payload)`
  return Effect.map(session.run(statement), (written) => {
    const places = new Set(written.map(({ place }) => Number(place)))
    return all.map((_, place) => places.has(place))
  })
}

const commitToRead = (
  entries: Table,
  place: Place,
  entry: Entry.Entry,
  expected: Option.Option<Version>,
  races = 0
): Effect.Effect<Version, ServerProblem | Refusal> =>
  Effect.gen(function* () {
    const { account, location } = place
    const { number, fence, granted, held } = yield* read(entries, account, location)
    const version = Option.map(held, (h) => h.version)
    if (Option.getOrUndefined(version) !== Option.getOrUndefined(expected)) {
      return yield* new CommitRefused({ reason: "Conflict", location })
    }
    const seen = Math.max(fence, granted)
    if (!Entry.passesFence(entry, seen)) return yield* new CommitRefused({ reason: "Fenced", location })
    const kept = Entry.keepFence(entry, seen)
    const document = Option.match(held, { onNone: () => ({}), onSome: (h) => h.document })
    const text = yield* RecordText.encode(document, kept, location, yield* Clock.currentTimeMillis)
    const written = yield* write(entries.session, account, {
      number,
      text,
      fence: kept.fence,
      lease: entry.fence,
      ...columnsOf(kept)
    })
    if (written) return versionOf(number + 1, text, document)
    if (races < maxRaces) return yield* commitToRead(entries, place, entry, expected, races + 1)
    return yield* new ServerProblem({
      reason: "Unavailable",
      message: `Others keep changing ${location}: try again.`
    })
  })

/**
 * Writes the entry if its row is still the one that was read and no later lease was granted. Returns whether
 * it did. On PostgreSQL the lease's row is locked meanwhile: a grant comes completely before or after.
 */
const write = (
  session: Session,
  account: string,
  next: {
    readonly number: number
    readonly text: string
    readonly fence: number
    readonly lease: number
    readonly state: string
    readonly due: number | null
  }
): Effect.Effect<boolean, ServerProblem> => {
  const { sql, tables, dialect } = session
  const pg = dialect === "pg"
  const leases = sql`SELECT fence FROM ${sql(tables.leases)} WHERE account = ${account}`
  return session
    .run(
      sql`
      WITH granted AS (${leases} ${sql.literal(pg ? "FOR SHARE" : "")})
      INSERT INTO ${sql(tables.entries)} AS kept (account, version, fence, record, state, due)
      SELECT CAST(${account} AS TEXT), CAST(${next.number + 1} AS BIGINT), CAST(${next.fence} AS BIGINT),
        CAST(${next.text} AS TEXT), CAST(${next.state} AS TEXT), CAST(${next.due} AS BIGINT)
      WHERE CAST(${next.lease} AS BIGINT) = 0
        OR NOT EXISTS (SELECT 1 FROM granted WHERE fence > CAST(${next.lease} AS BIGINT))
      ON CONFLICT (account) DO UPDATE
        SET version = excluded.version, fence = excluded.fence, record = excluded.record,
          state = excluded.state, due = excluded.due
        WHERE kept.version = CAST(${next.number} AS BIGINT)
      RETURNING version ${tell(session, account)}`
    )
    .pipe(
      Effect.map((rows) => rows.length > 0),
      // A writer that has already waited for a lock does not wait again.
      Effect.catchIf(
        (problem) => isRace(problem) && !isLocked(problem),
        () => Effect.succeed(false)
      )
    )
}

const remove = (session: Session, account: string): Effect.Effect<boolean, ServerProblem> => {
  const { sql, tables } = session
  const statement = sql`UPDATE ${sql(tables.entries)} SET record = NULL, state = NULL, due = NULL, version = version + 1
    WHERE account = ${account} AND record IS NOT NULL
    RETURNING version ${tell(session, account)}`
  return Effect.tap(
    Effect.map(session.run(statement), (rows) => rows.length > 0),
    (existed) => (existed && session.dialect === "sqlite" ? forget(session) : Effect.void)
  )
}

/**
 * A write-ahead log keeps removed data until it is merged into the file. This merges it now, if nobody reads.
 */
const forget = (session: Session): Effect.Effect<void> =>
  Effect.ignore(session.run(session.sql`PRAGMA wal_checkpoint(TRUNCATE)`))

/** In the statement that makes the change, so it is reported if and only if the change is committed. */
const tell = (session: Session, account: string) =>
  session.dialect === "pg"
    ? session.sql`, pg_notify(${channelOf(session)}, ${payloadOf(account)})`
    : session.sql.literal("")
