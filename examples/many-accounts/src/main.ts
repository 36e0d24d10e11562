/**
 * A thousand accounts on one PostgreSQL, asked for by two instances of a program at the same time, in the morning
 * when every token has expired. Each is refreshed once, by whoever comes first; the other takes what it wrote.
 *
 * Against the quickstart: a pool in the place of the manager, and storages of all accounts in the place of the
 * file's. An account is set up when it is asked for, renewed while it is here, and let go when idle.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Credentials, TokenConfig, TokenManagers } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { HostileServer } from "@latchkey/oauth/testing"
import * as Postgres from "@latchkey/storage/Postgres"
import { Clock, Effect, Layer, Logger, LogLevel, Option, Redacted } from "effect"
// A database of the example's own; a program gives the URL of its own one.
import { postgres } from "../../../.ci/programs.js"
import * as PostgresServer from "../../../packages/storage/test/support/PostgresServer.js"

const accounts = Array.from({ length: 1000 }, (_, i) => `user-${String(i).padStart(4, "0")}`)

const Pool = (url: string) =>
  TokenManagers.layerShared({ provider: "example" }).pipe(
    Layer.provide(Postgres.layerAccounts({ client: { url: Redacted.make(url), maxConnections: 10 } })),
    Layer.provide(RefreshToken.layer({ server: HostileServer.server, client: { clientId: "example" } })),
    Layer.provide(TokenConfig.layer())
  )

/** An instance of the program: what it has of its own is all but the database. */
const instance = (url: string) =>
  Effect.map(Layer.build(Pool(url)), (context) => Effect.provide(TokenManagers.TokenManagers, context)).pipe(
    Effect.flatten
  )

/** A grant of yesterday. */
const expired = Effect.gen(function* () {
  const server = yield* HostileServer.HostileServer
  const grant = yield* server.issueGrant()
  return new Credentials.Credentials({ ...grant, expiresAt: Option.some(yield* Clock.currentTimeMillis) })
})

const login = (pool: TokenManagers.Managers) =>
  Effect.forEach(
    accounts,
    (account) =>
      Effect.scoped(
        Effect.gen(function* () {
          const manager = yield* pool.get(account)
          yield* manager.save(yield* expired)
        })
      ),
    { concurrency: 8, discard: true }
  )

const tokens = (pool: TokenManagers.Managers) =>
  Effect.forEach(accounts, (account) => Effect.map(pool.getAccessToken(account), Redacted.value), {
    concurrency: 16
  })

const program = Effect.gen(function* () {
  if (postgres.missing !== undefined) {
    console.log(postgres.missing)
    return true
  }
  const { url } = yield* PostgresServer.make
  const server = yield* HostileServer.HostileServer
  const first = yield* instance(url)
  yield* login(first)
  const second = yield* instance(url)

  const began = yield* Clock.currentTimeMillis
  const [ours, theirs] = yield* Effect.all([tokens(first), tokens(second)], {
    concurrency: 2
  })
  const took = ((yield* Clock.currentTimeMillis) - began) / 1000
  const { refreshes, reuses } = yield* server.counts
  const same = ours.filter((token, i) => token === theirs[i]).length
  const here = (yield* second.accounts).length
  console.log(`2 instances asked for ${accounts.length} expired accounts each: ${took.toFixed(1)} s`)
  console.log(`refreshes ${refreshes}, refresh tokens used twice ${reuses}, same token in both ${same}`)
  console.log(`held by the second instance: ${here}; renewals ahead: ${(yield* second.renewals).scheduled}`)
  return refreshes === accounts.length && reuses === 0 && same === accounts.length
})

NodeRuntime.runMain(
  program.pipe(
    Effect.scoped,
    Effect.provide(HostileServer.layer()),
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
