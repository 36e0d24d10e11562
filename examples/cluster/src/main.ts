/**
 * Accounts spread over the runners of an `@effect/cluster`: each account is an entity, and the `Renewer` of
 * all accounts is a singleton. The runner that renews is killed in the middle. The other one takes over its
 * accounts and the renewals.
 *
 * The cluster is not needed for correctness: the lease in storage makes sure that each account is renewed
 * once, however many processes run a `Renewer` (see many-accounts). The cluster keeps the traffic of an
 * account on one process, which then has it in memory, and lets one process instead of all query the database
 * for due accounts.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Clock, Effect, Layer, Logger, LogLevel, Redacted } from "effect"
import { createServer, type AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
// The example's own database. A program passes the URL of its own.
import { postgres } from "../../../.ci/programs.js"
import * as PostgresServer from "../../../packages/storage/test/support/PostgresServer.js"
import * as Accounts from "../../many-accounts/src/Accounts.js"
import * as ChildProcess from "../../many-accounts/src/ChildProcess.js"
import * as TokenServer from "../../many-accounts/src/TokenServer.js"
import { until } from "../../many-accounts/src/until.js"
import { Account } from "./Account.js"
import * as Cluster from "./Cluster.js"

const accounts = Array.from({ length: 60 }, (_, i) => `user-${String(i).padStart(2, "0")}`)

const runner = fileURLToPath(new URL("./runner-process.ts", import.meta.url))

const freePort = Effect.async<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

const tokens = Effect.gen(function* () {
  const account = yield* Account.client
  return yield* Effect.forEach(accounts, (id) => Effect.map(account(id).AccessToken(), Redacted.value))
})

/** For how many accounts each runner answers, by its port. */
const spread = Effect.gen(function* () {
  const account = yield* Account.client
  const ports = yield* Effect.forEach(accounts, (id) => Effect.map(account(id).Runner(), ({ port }) => port))
  return ({ port }: Runner) => ports.filter((other) => other === port).length
})

interface Runner extends ChildProcess.ChildProcess {
  readonly instance: string
  readonly port: number
}

const program = Effect.gen(function* () {
  if (postgres.missing !== undefined) {
    console.log(postgres.missing)
    return true
  }
  const { url: database } = yield* PostgresServer.make
  const server = yield* TokenServer.start({ accessTokenLifetime: "1 hour" })
  const start = (instance: string) =>
    Effect.gen(function* () {
      const port = yield* freePort
      const child = yield* ChildProcess.start(runner, [instance, `${port}`, database, server.endpoint])
      yield* child.said("ready")
      return { ...child, instance, port } satisfies Runner
    })
  // One after the other: the cluster's own tables cannot be created by two runners at once.
  const first = yield* start("first")
  const second = yield* start("second")

  return yield* Effect.gen(function* () {
    const shares = yield* until(spread, (held) => held(first) > 0 && held(second) > 0)
    console.log(
      `${accounts.length} accounts: the first runner answers for ${shares(first)}, the second for ${shares(second)}`
    )
    const save = (account: string) =>
      Effect.flatMap(server.grant("124 seconds"), (grant) => Accounts.save(account, grant))
    yield* Effect.forEach(accounts, save, { concurrency: 5, discard: true })
    const before = yield* tokens

    const { refreshes } = yield* until(
      server.control.counts,
      (counts) => counts.refreshes >= accounts.length / 3
    )
    const [dead, alive] =
      server.askedBy("first") > server.askedBy("second") ? [first, second] : [second, first]
    const asked = server.askedBy(alive.instance)
    yield* dead.kill
    console.log(`the ${dead.instance} runner renews; killed with SIGKILL after ${refreshes}`)
    const killed = yield* Clock.currentTimeMillis
    const since = Effect.map(Clock.currentTimeMillis, (now) => `${((now - killed) / 1000).toFixed(1)} s`)
    yield* until(
      Effect.sync(() => server.askedBy(alive.instance)),
      (now) => now > asked
    )
    const tookOver = yield* since
    yield* until(Accounts.due("30 minutes"), (due) => due === 0)
    console.log(
      `the ${alive.instance} runner renews ${tookOver} later; all are renewed after ${yield* since}`
    )
    const after = yield* tokens
    const held = (yield* spread)(alive)
    console.log(`it answers for all ${held} after ${yield* since}`)

    const { refreshes: granted, replays, reuses } = yield* server.control.counts
    const renewed = after.filter((token, i) => token !== before[i]).length
    const loggedOut = yield* Accounts.loggedOut
    console.log(`renewed: ${renewed}, of which ${replays} were under way in the killed one`)
    console.log(`refresh tokens used twice: ${reuses}; accounts that need a login: ${loggedOut}`)
    return (
      renewed === accounts.length &&
      granted - replays === accounts.length &&
      held === accounts.length &&
      reuses === 0 &&
      loggedOut === 0
    )
  }).pipe(Effect.provide(Layer.merge(Accounts.storages(database), Cluster.layerClient(database))))
})

NodeRuntime.runMain(
  program.pipe(
    Effect.scoped,
    // Everything is closed. The cluster's client may still try to reach the killed runner, and must not keep
    // the process alive.
    Effect.tap((asPromised) => Effect.sync((): void => process.exit(asPromised ? 0 : 1))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
