/**
 * PostgreSQL for {@link Sql}: any number of processes on any number of hosts, through `@effect/sql-pg` (an
 * optional peer, with `pg`).
 *
 * **What it relies on.** The server's transactions and row locks, its clock for the leases, and its
 * `synchronous_commit` (which must not be `off`) for what survives a crash of the server. `changes` use
 * `LISTEN` and `NOTIFY`, in the transaction of the change, over one connection for all accounts of a client.
 * A lost connection is replaced, which counts as a change.
 *
 * **Limits.** A pooler that shares connections per transaction: storage and leases work through it, `LISTEN`
 * does not. Behind one, or if you do not want a connection for it, give {@link Sql} only the client. It then
 * has no `changes`.
 *
 * Not among the package's root exports: import `@latchkey/storage/Postgres`.
 *
 * @since 0.1.0
 */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { TokenStorages } from "@latchkey/core/TokenStorages"
import type { TokenStorage } from "@latchkey/core/TokenStorage"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as ConnectionUrl from "./internal/ConnectionUrl.js"
import * as PgListener from "./internal/PgListener.js"
import { toStorageError } from "./internal/ServerProblem.js"
import { fromClient } from "./internal/SqlProblem.js"
import * as Sql from "./Sql.js"

/**
 * The server, in the form that `@effect/sql-pg` takes. `setting` is the name of the URL in messages, for
 * example that of an environment variable. Default: `url`.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientOptions = PgClient.PgClientConfig & { readonly setting?: string | undefined }

/**
 * Provides a pool of connections, and what {@link Sql} must know about the server. It connects once when it
 * is built, and fails if that does not succeed. An invalid URL is a `ConfigError`, which does not quote it.
 * For many accounts, share this layer among their `Sql.layer`s.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = ({
  setting = "url",
  ...options
}: ClientOptions): Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient | Sql.SqlSurroundings,
  StorageError | ConfigError.ConfigError
> =>
  Either.match(checkUrl(options, setting), {
    onLeft: (error) => Layer.effectContext(Effect.fail(error)),
    onRight: () =>
      Layer.provideMerge(
        layerSurroundings,
        Layer.catchAll(PgClient.layer(options), (error) =>
          Layer.effectContext(
            Effect.fail(toStorageError("load", "PostgreSQL")(fromClient("PostgreSQL")(error)))
          )
        )
      )
  })

const checkUrl = (
  { url }: PgClient.PgClientConfig,
  setting: string
): Either.Either<unknown, ConfigError.ConfigError> => {
  // The client itself parses the path of a socket's directory.
  if (url === undefined || /^(\/|socket:)/.test(Redacted.value(url))) return Either.right(undefined)
  return ConnectionUrl.parse(Redacted.value(url), {
    setting,
    form: "postgres://host:port/database",
    protocols: ["postgres:", "postgresql:"],
    hostless: true
  })
}

/**
 * Provides what {@link Sql} must know about the server of an existing client. It listens from the first
 * subscriber to `changes` until the last.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSurroundings: Layer.Layer<Sql.SqlSurroundings, never, PgClient.PgClient> = Layer.scoped(
  Sql.SqlSurroundings,
  Effect.gen(function* () {
    const { config } = yield* PgClient.PgClient
    const channels = yield* RcMap.make({
      lookup: (channel: string) => Stream.share(PgListener.listen(config, channel), { capacity: "unbounded" })
    })
    const { host = "localhost", port = 5432, database = "postgres" } = config
    return {
      location: `PostgreSQL at ${host}:${port}/${database}`,
      file: Option.none(),
      listen: Option.some((channel: string) => Stream.unwrapScoped(RcMap.get(channels, channel)))
    }
  })
)

/**
 * Provides storage and lease of one account on a server, with its own connections.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Sql.Options & { readonly client: ClientOptions }
): Layer.Layer<TokenStorage | RefreshLease, StorageError | ConfigError.ConfigError> =>
  Layer.provide(Sql.layer(options), layerClient(options.client))

/**
 * Provides storages and leases of all accounts on a server, over one pool of connections: for
 * `TokenManagers`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAccounts = (
  options: Sql.TableOptions & { readonly client: ClientOptions }
): Layer.Layer<TokenStorages | RefreshLease, StorageError | ConfigError.ConfigError> =>
  Layer.provide(Sql.layerAccounts(options), layerClient(options.client))
