/**
 * Grants and their leases in Redis, for any number of processes on any number of hosts. The client is
 * `ioredis` 5 (an optional peer).
 *
 * **What it relies on.** Redis runs one script at a time. Each operation is one script on one key per
 * account, so compare-and-set, lease and fence are atomic, also in a cluster. Leases use the server's clock.
 * A commit is as durable as the server makes it. With `appendonly yes` and `appendfsync always` a crash
 * undoes no acknowledged commit. With `everysec` it may undo those of the last second, with snapshots alone
 * those of minutes, and a fail-over to a replica may undo those that had not reached it. A rotated refresh
 * token that is undone in this way is lost. The server must not evict keys (`maxmemory-policy noeviction`).
 *
 * **Leases.** A holder keeps a kernel lock on its own file, so that on the same host a dead holder is
 * detected at once. On other hosts its lease is taken over when its ttl has passed. If fences were lost, new
 * ones start from the server's clock, and so rise through a fail-over.
 *
 * **Errors.** A lease that another holder has is `Busy`. If Redis is down, operations fail with `Unavailable`
 * at once. If Redis hangs, they fail with `Unavailable` after the time-out. No command waits in a queue for a
 * connection, and none is sent twice: after a lost connection, the next load shows whether a commit took
 * place.
 *
 * Anyone who can read the keys, or the server's `MONITOR` and slow log, can read the tokens: the records hold
 * them in clear text.
 *
 * Not among the package's root exports: import `@latchkey/storage/Redis`.
 *
 * @since 0.1.0
 */
import { OneTimeStore } from "@latchkey/core/OneTimeStore"
import type { RefreshLease as Lease } from "@latchkey/core/RefreshLease"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { millisOf } from "@latchkey/core/TokenConfig"
import { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import { TokenStorages } from "@latchkey/core/TokenStorages"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Cluster, Redis as Client } from "ioredis"
import * as ConnectionUrl from "./internal/ConnectionUrl.js"
import * as HolderLiveness from "./internal/HolderLiveness.js"
import * as LeaseKeeper from "./internal/LeaseKeeper.js"
import * as RedisClient from "./internal/RedisClient.js"
import * as RedisGrant from "./internal/RedisGrant.js"
import * as RedisIndex from "./internal/RedisIndex.js"
import * as RedisOneTime from "./internal/RedisOneTime.js"
import { toStorageError } from "./internal/ServerProblem.js"

/**
 * How to connect to Redis.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionOptions {
  /**
   * `redis://`, or `rediss://` for TLS, with user and password if needed. Or a function that creates your own
   * client, for a cluster or sentinels. It is called for each connection. Its client must have
   * `enableOfflineQueue: false`, `maxRetriesPerRequest: 0` and `autoResendUnfulfilledCommands: false`.
   */
  readonly server: string | Redacted.Redacted | (() => Client | Cluster)
  /** The name of the URL in messages, for example that of an environment variable. Default: `server`. */
  readonly setting?: string | undefined
  /** How long Redis may take to answer, in real time. Default: 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * How the keys are named.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyOptions {
  /** The prefix of the keys. Default: `latchkey`. An account's key is `prefix:{account}`. */
  readonly prefix?: string | undefined
}

/**
 * Which grant.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends KeyOptions {
  /** Names the grant and its leases in Redis. */
  readonly account: string
}

/**
 * The result of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Redis {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<Lease>
}

/**
 * The result of {@link makeAccounts}.
 *
 * @since 0.1.0
 * @category models
 */
export interface RedisAccounts {
  readonly storages: Context.Tag.Service<TokenStorages>
  readonly lease: Context.Tag.Service<Lease>
}

/**
 * A connection that many accounts share.
 *
 * @since 0.1.0
 * @category tags
 */
export class RedisConnection extends Context.Tag("@latchkey/storage/RedisConnection")<
  RedisConnection,
  RedisClient.Connection
>() {}

/**
 * Creates the storage of one account and the leases of all. Sends nothing to Redis yet. Fails if the options
 * cannot work.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Redis, StorageError, RedisConnection> =>
  Effect.flatMap(makeAccounts(options), ({ storages, lease }) =>
    Effect.map(storages.of(options.account), (storage) => ({ storage, lease }))
  )

/**
 * Creates the storages and the leases of all accounts, over one connection. The storage of one account is
 * created at once and holds nothing. The changes of all accounts come through one subscription, to the
 * pattern of their channels.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeAccounts = (
  options: KeyOptions = {}
): Effect.Effect<RedisAccounts, StorageError, RedisConnection> =>
  Effect.gen(function* () {
    const prefix = yield* resolvePrefix(options)
    const connection = yield* RedisConnection
    const storageOf = (account: string) => {
      const key = RedisGrant.keyOf(prefix, account)
      return RedisGrant.storage(
        connection,
        { prefix, account, key, location: `${connection.location}, key ${key}` },
        connection.listen(RedisGrant.channelOf(key))
      )
    }
    const fails = toStorageError("load", connection.location)
    const channels = connection.listenAll(RedisGrant.channelsOf(prefix))
    return {
      storages: {
        location: `${connection.location}, keys ${prefix}:*`,
        changes: Option.some(
          Stream.map(
            channels,
            Option.map((channel) => RedisGrant.accountIn(prefix, channel))
          )
        ),
        of: (account) =>
          account === ""
            ? Either.left(misuse("The account is blank: name it."))
            : Either.right(storageOf(account)),
        due: (asked) => Effect.mapError(RedisIndex.due(connection, prefix, asked), fails),
        accounts: (after = "") => Stream.mapError(RedisIndex.accounts(connection, prefix, after), fails),
        count: Effect.mapError(RedisIndex.count(connection, prefix), fails)
      },
      lease: leaseOver(connection, prefix)
    }
  })

/**
 * Creates the leases of all accounts, for credentials stored elsewhere.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeLease = (
  options: KeyOptions = {}
): Effect.Effect<Context.Tag.Service<Lease>, StorageError, RedisConnection> =>
  Effect.gen(function* () {
    const prefix = yield* resolvePrefix(options)
    return leaseOver(yield* RedisConnection, prefix)
  })

/**
 * Provides a connection that lives as long as the layer, and another one for `changes` on first use. It does
 * not wait for Redis: while Redis is down, each operation fails.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConnection = (
  options: ConnectionOptions
): Layer.Layer<RedisConnection, StorageError | ConfigError.ConfigError> =>
  Layer.scoped(RedisConnection, connection(options))

/**
 * Provides storage and lease of one account on a shared connection.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerShared = (
  options: Options
): Layer.Layer<TokenStorage | Lease, StorageError, RedisConnection> =>
  Layer.effectContext(
    Effect.map(make(options), ({ storage, lease }) =>
      Context.make(TokenStorage, storage).pipe(Context.add(RefreshLease, lease))
    )
  )

/**
 * Provides storages and leases of all accounts on a shared connection, for `TokenManagers`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAccountsShared = (
  options: KeyOptions = {}
): Layer.Layer<TokenStorages | Lease, StorageError, RedisConnection> =>
  Layer.effectContext(
    Effect.map(makeAccounts(options), ({ storages, lease }) =>
      Context.make(TokenStorages, storages).pipe(Context.add(RefreshLease, lease))
    )
  )

/**
 * Provides storages and leases of all accounts on their own connection, for `TokenManagers`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAccounts = (
  options: KeyOptions & ConnectionOptions
): Layer.Layer<TokenStorages | Lease, StorageError | ConfigError.ConfigError> =>
  Layer.provide(layerAccountsShared(options), layerConnection(options))

/**
 * Provides storage and lease of one account on its own connection.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options & ConnectionOptions
): Layer.Layer<TokenStorage | Lease, StorageError | ConfigError.ConfigError> =>
  Layer.provide(layerShared(options), layerConnection(options))

/**
 * Provides only the leases, for credentials stored elsewhere. They use the account name that `acquire`
 * receives.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerLease = (
  options: KeyOptions & ConnectionOptions
): Layer.Layer<Lease, StorageError | ConfigError.ConfigError> =>
  Layer.provide(Layer.effect(RefreshLease, makeLease(options)), layerConnection(options))

/**
 * Creates a store of values that can be taken once, each under a key that Redis expires.
 * `AttemptStore.layerStored` of `@latchkey/oauth` keeps web logins there. If Redis fails over to a replica that
 * lags behind, a value that was taken may be there again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeOneTime = (
  options: KeyOptions = {}
): Effect.Effect<Context.Tag.Service<OneTimeStore>, StorageError, RedisConnection> =>
  Effect.gen(function* () {
    const prefix = yield* resolvePrefix(options)
    return RedisOneTime.make(yield* RedisConnection, prefix)
  })

/**
 * {@link makeOneTime} as a layer, on a shared connection.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerOneTime = (
  options: KeyOptions = {}
): Layer.Layer<OneTimeStore, StorageError, RedisConnection> =>
  Layer.effect(OneTimeStore, makeOneTime(options))

const misuse = (message: string): StorageError =>
  new StorageError({ reason: "Malformed", operation: "load", location: "Redis", message })

const resolvePrefix = ({ prefix = "latchkey" }: KeyOptions): Effect.Effect<string, StorageError> =>
  /[{}]/.test(prefix)
    ? misuse("`prefix` must not contain braces: in a cluster they would spread the keys.")
    : Effect.succeed(prefix)

const leaseOver = (connection: RedisClient.Connection, prefix: string): Context.Tag.Service<Lease> =>
  LeaseKeeper.make(RedisGrant.leases(connection, prefix), HolderLiveness.make(HolderLiveness.ownDirectory))

const connection = ({
  server,
  setting = "server",
  timeout = "5 seconds"
}: ConnectionOptions): Effect.Effect<
  RedisClient.Connection,
  StorageError | ConfigError.ConfigError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const timeoutMillis = millisOf(timeout)
    if (!Number.isFinite(timeoutMillis) || timeoutMillis <= 0) {
      return yield* misuse("`timeout` must be a positive, finite time.")
    }
    const { location, connect } =
      typeof server === "function"
        ? { location: "Redis", connect: server }
        : yield* parse(Redacted.isRedacted(server) ? Redacted.value(server) : server, setting, timeoutMillis)
    const opened = new Set<Client | Cluster>()
    const open = () => {
      const client = connect()
      opened.add(client)
      client.once("end", () => opened.delete(client))
      return client
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => opened.forEach((client) => client.disconnect())))
    return {
      location,
      run: RedisClient.run(open(), location, timeoutMillis),
      listen: RedisClient.listen(open),
      listenAll: RedisClient.listenAll(open)
    }
  })

const form = {
  form: "redis://host:port or rediss://host:port",
  protocols: ["redis:", "rediss:"],
  hostless: false
}

const parse = (text: string, setting: string, timeoutMillis: number) =>
  Either.map(ConnectionUrl.parse(text, { ...form, setting }), (url) => ({
    location: `Redis at ${url.host}${url.pathname === "/" ? "" : url.pathname}`,
    connect: () =>
      new Client(url.href, {
        connectTimeout: timeoutMillis,
        // Disconnects from a server that hangs, and drops its pending commands.
        socketTimeout: timeoutMillis,
        // A command that cannot be sent now, or got no answer, fails, because only the caller knows what to
        // do then.
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        autoResendUnfulfilledCommands: false,
        retryStrategy: (times) => Math.min(times * 50, 1_000),
        // A demoted primary: reconnecting finds its successor.
        reconnectOnError: (error) => error.message.startsWith("READONLY")
      })
  }))
