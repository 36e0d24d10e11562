/**
 * Many grants and their leases in one SQL database, SQLite or PostgreSQL, over the `SqlClient` of
 * `@effect/sql`. `Sqlite` and `Postgres` provide clients that are configured for it.
 *
 * **What it relies on.** Two tables, created on first use: entries (account, version, fence, record, state,
 * due) and leases (account, owner, expiry, fence). Each change is one statement, so the database makes it
 * atomic. In the same statement, a commit checks that the row is the one that was read and that no lease
 * above its fence was granted. On PostgreSQL the lease's row is locked meanwhile. What `commit` has
 * acknowledged is as durable as the database's own commit: PostgreSQL with `synchronous_commit` not `off`,
 * SQLite in WAL with `synchronous` at `FULL`. For SQLite, use the client of `Sqlite`: other clients over
 * `libsql` (0.5) may acknowledge what they do not commit, once they have met a lock.
 *
 * **Leases** use the database server's clock on PostgreSQL, whatever the hosts' clocks show, and this host's
 * `Clock` on SQLite. A holder keeps a kernel lock on its own file, so that on the same host a dead holder is
 * detected at once. On other hosts its lease is taken over when its ttl has passed. Whatever clock dated it,
 * a lease counts for no longer than its ttl, at most an hour, from when a waiter first saw it in its present
 * state. A holder that was only stopped also loses it then, and the fence refuses its later commits.
 *
 * **Shared by** all users of the same tables: the processes of a host for SQLite, any number of hosts for
 * PostgreSQL. Anyone who can read the tables can read the tokens: the records hold them in clear text.
 *
 * Not among the package's root exports, so that other programs do not need `@effect/sql`: import
 * `@latchkey/storage/Sql`.
 *
 * @since 0.1.0
 */
import { OneTimeStore } from "@latchkey/core/OneTimeStore"
import type { RefreshLease as Lease } from "@latchkey/core/RefreshLease"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { millisOf } from "@latchkey/core/TokenConfig"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import { TokenStorages } from "@latchkey/core/TokenStorages"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as HolderLiveness from "./internal/HolderLiveness.js"
import * as LeaseKeeper from "./internal/LeaseKeeper.js"
import { toStorageError } from "./internal/ServerProblem.js"
import * as SqlIndex from "./internal/SqlIndex.js"
import * as SqlLease from "./internal/SqlLease.js"
import * as SqlOneTime from "./internal/SqlOneTime.js"
import * as SqlSession from "./internal/SqlSession.js"
import * as SqlStorage from "./internal/SqlStorage.js"

/**
 * How the tables are used.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /** The prefix of the tables' names. Default: `latchkey`. Lower case, digits, underscores. */
  readonly tables?: string | undefined
  /** How long the database may take to answer, in real time. Default: 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Which grant, and how the tables are used.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions {
  /** Names the grant and its leases in the tables. */
  readonly account: string
}

/**
 * The result of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sql {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<Lease>
}

/**
 * The result of {@link makeAccounts}.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlAccounts {
  readonly storages: Context.Tag.Service<TokenStorages>
  readonly lease: Context.Tag.Service<Lease>
}

/**
 * What a client's environment offers besides its results. `Sqlite` and `Postgres` provide it with their
 * clients. Without it, storage cannot report changes.
 *
 * @since 0.1.0
 * @category tags
 */
export class SqlSurroundings extends Context.Tag("@latchkey/storage/SqlSurroundings")<
  SqlSurroundings,
  {
    /** Where the database is, for people, without secrets. */
    readonly location: string
    /**
     * The file beside which the holders of leases keep their own files, if all users of the database see it.
     */
    readonly file: Option.Option<string>
    /** Emits the payload of each notification on a channel, and none if some may have been missed. */
    readonly listen: Option.Option<(channel: string) => Stream.Stream<Option.Option<string>>>
  }
>() {}

/**
 * Creates the storage of one account and the leases of all in one database. Sends nothing to the database
 * yet: the first operation creates the tables, or migrates them to this version. Fails if the options cannot
 * work or the dialect is another one.
 *
 * All operations may run concurrently. None joins a transaction of its caller, and none is undone by an
 * interruption. Time-outs and lost connections are `Unavailable`: the next load then shows whether a commit
 * took place.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Sql, StorageError, SqlClient.SqlClient> =>
  Effect.flatMap(makeAccounts(options), ({ storages, lease }) =>
    Effect.map(storages.of(options.account), (storage) => ({ storage, lease }))
  )

/**
 * Creates the storages and the leases of all accounts, over one client. See {@link make}. The storage of one
 * account is created at once and holds nothing. The changes of all accounts come through one subscription.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeAccounts = (
  options: TableOptions = {}
): Effect.Effect<SqlAccounts, StorageError, SqlClient.SqlClient> =>
  Effect.map(open(options), ({ session, surroundings }) => {
    const entries = SqlStorage.table(session)
    const fails = toStorageError("load", session.location)
    const changes = Option.map(
      Option.flatMap(surroundings, ({ listen }) => listen),
      (listen) => Stream.map(listen(SqlStorage.channelOf(session)), SqlStorage.accountIn)
    )
    return {
      storages: {
        location: session.location,
        changes,
        of: (account) =>
          account === "" || account.includes("\0")
            ? Either.left(misuse("The account is blank or has a NUL in it: give another."))
            : Either.right(SqlStorage.make(entries, account, changesOf(changes, account))),
        due: (asked) => Effect.mapError(SqlIndex.due(session, asked), fails),
        accounts: (after) => Stream.mapError(SqlIndex.accounts(session, Option.fromNullable(after)), fails),
        count: Effect.mapError(SqlIndex.count(session), fails)
      },
      lease: leaseOf(session, surroundings)
    }
  })

/** The changes of one account, among those of all. */
const changesOf = (
  changes: Context.Tag.Service<TokenStorages>["changes"],
  account: string
): Context.Tag.Service<TokenStorage>["changes"] =>
  Option.map(changes, (all) =>
    Stream.as(
      Stream.filter(all, (changed) => Option.isNone(changed) || changed.value === account),
      undefined
    )
  )

/**
 * Creates the leases of all accounts, for credentials stored elsewhere.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeLease = (
  options: TableOptions = {}
): Effect.Effect<Context.Tag.Service<Lease>, StorageError, SqlClient.SqlClient> =>
  Effect.map(open(options), ({ session, surroundings }) => leaseOf(session, surroundings))

/**
 * Provides storage and lease of one account.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<TokenStorage | Lease, StorageError, SqlClient.SqlClient> =>
  Layer.effectContext(
    Effect.map(make(options), ({ storage, lease }) =>
      Context.make(TokenStorage, storage).pipe(Context.add(RefreshLease, lease))
    )
  )

/**
 * Provides storages and leases of all accounts, for `TokenManagers`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAccounts = (
  options: TableOptions = {}
): Layer.Layer<TokenStorages | Lease, StorageError, SqlClient.SqlClient> =>
  Layer.effectContext(
    Effect.map(makeAccounts(options), ({ storages, lease }) =>
      Context.make(TokenStorages, storages).pipe(Context.add(RefreshLease, lease))
    )
  )

/**
 * Provides only the storage, for use with a lease from elsewhere.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStorage = (
  options: Options
): Layer.Layer<TokenStorage, StorageError, SqlClient.SqlClient> =>
  Layer.effect(
    TokenStorage,
    Effect.map(make(options), ({ storage }) => storage)
  )

/**
 * Provides only the leases, for credentials stored elsewhere. They use the account name that `acquire`
 * receives.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerLease = (
  options: TableOptions = {}
): Layer.Layer<Lease, StorageError, SqlClient.SqlClient> => Layer.effect(RefreshLease, makeLease(options))

/**
 * Creates a store of values that can be taken once, in a table of its own. `AttemptStore.layerStored` of
 * `@latchkey/oauth` keeps web logins there. What the database has acknowledged as taken is taken: no other
 * process gets it. Values that nobody took are removed when others are stored.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeOneTime = (
  options: TableOptions = {}
): Effect.Effect<Context.Tag.Service<OneTimeStore>, StorageError, SqlClient.SqlClient> =>
  Effect.map(open(options), ({ session }) => SqlOneTime.make(session))

/**
 * {@link makeOneTime} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerOneTime = (
  options: TableOptions = {}
): Layer.Layer<OneTimeStore, StorageError, SqlClient.SqlClient> =>
  Layer.effect(OneTimeStore, makeOneTime(options))

const misuse = (message: string): StorageError =>
  new StorageError({ reason: "Malformed", operation: "load", location: "the database", message })

type Surroundings = Option.Option<Context.Tag.Service<SqlSurroundings>>

const defaultTables = "latchkey"

const open = (options: TableOptions) =>
  Effect.gen(function* () {
    const { tables = defaultTables, timeout = "10 seconds" } = options
    const timeoutMillis = millisOf(timeout)
    if (!/^[a-z_][a-z0-9_]{0,39}$/.test(tables)) {
      return yield* misuse(
        "`tables` must be 1 to 40 lower-case letters, digits or underscores, no digit first."
      )
    }
    if (!Number.isFinite(timeoutMillis) || timeoutMillis <= 0) {
      return yield* misuse("`timeout` must be a positive, finite time.")
    }
    const client = yield* SqlClient.SqlClient
    const dialect = client.onDialectOrElse({
      pg: () => "pg" as const,
      sqlite: () => "sqlite" as const,
      orElse: () => undefined
    })
    if (dialect === undefined) {
      return yield* misuse("This SqlClient is for neither SQLite nor PostgreSQL: use one that is.")
    }
    const surroundings: Surroundings = yield* Effect.serviceOption(SqlSurroundings)
    const named = Option.match(surroundings, {
      onNone: () => (dialect === "pg" ? "PostgreSQL" : "SQLite"),
      onSome: ({ location }) => location
    })
    const location = tables === defaultTables ? named : `${named}, prefix ${tables}`
    const session = SqlSession.make(client, dialect, { prefix: tables, timeoutMillis, location })
    return { session, surroundings }
  })

const leaseOf = (session: SqlSession.Session, surroundings: Surroundings): Context.Tag.Service<Lease> => {
  const file = Option.flatMap(surroundings, (s) => s.file)
  const base = Option.isSome(file) ? Effect.succeed(file) : HolderLiveness.ownDirectory
  return LeaseKeeper.make(SqlLease.make(session), HolderLiveness.make(base, Option.isSome(file)))
}
