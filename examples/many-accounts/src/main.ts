/**
 * Four hundred accounts on one PostgreSQL, whose tokens expire soon, and two processes that renew them. Each
 * account is renewed once, by the process that comes first. One of them is killed in the middle. The other
 * one finishes.
 *
 * Compared with the quickstart: a pool replaces the manager, storages of all accounts replace the file's, and
 * a `Renewer` queries storage from time to time for due accounts. An unused account is only a row in storage.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Clock, Effect, Fiber, Logger, LogLevel } from "effect"
import { fileURLToPath } from "node:url"
// The example's own database. A program passes the URL of its own.
import { postgres } from "../../../.ci/programs.js"
import * as PostgresServer from "../../../packages/storage/test/support/PostgresServer.js"
import * as Accounts from "./Accounts.js"
import * as ChildProcess from "./ChildProcess.js"
import * as TokenServer from "./TokenServer.js"
import { until } from "./until.js"

const accounts = Array.from({ length: 400 }, (_, i) => `user-${String(i).padStart(4, "0")}`)

const renewer = fileURLToPath(new URL("./renewer-process.ts", import.meta.url))

const program = Effect.gen(function* () {
  if (postgres.missing !== undefined) {
    console.log(postgres.missing)
    return true
  }
  const { url: database } = yield* PostgresServer.make
  const server = yield* TokenServer.start({ accessTokenLifetime: "1 hour" })
  const start = (instance: string) =>
    ChildProcess.start(renewer, [instance, database, server.endpoint]).pipe(
      Effect.tap(({ said }) => said("ready"))
    )
  const [first] = yield* Effect.all([start("first"), start("second")], { concurrency: 2 })

  return yield* Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    const seconds = Effect.map(Clock.currentTimeMillis, (now) => `${((now - began) / 1000).toFixed(1)} s`)
    const login = (account: string) =>
      Effect.flatMap(server.grant("122 seconds"), (grant) => Accounts.save(account, grant))
    const logins = yield* Effect.fork(
      Effect.forEach(accounts, login, { concurrency: 16, discard: true }).pipe(Effect.andThen(seconds))
    )
    yield* until(server.control.counts, ({ refreshes }) => refreshes >= accounts.length / 4)
    yield* first.kill
    const killed = yield* seconds
    const saved = yield* Fiber.join(logins)
    yield* until(Accounts.due("30 minutes"), (due) => due === 0)

    const { refreshes, replays, reuses } = yield* server.control.counts
    const [byFirst, bySecond] = [server.askedBy("first") - replays, server.askedBy("second")]
    const loggedOut = yield* Accounts.loggedOut
    console.log(`${accounts.length} accounts saved by ${saved}, all renewed by ${yield* seconds}`)
    console.log(
      `renewed by the first process, until SIGKILL at ${killed}: ${byFirst}; by the second: ${bySecond}`
    )
    console.log(`under way when the first was killed, and asked for again by the second: ${replays}`)
    console.log(`refresh tokens used twice: ${reuses}; accounts that need a login: ${loggedOut}`)
    return refreshes - replays === accounts.length && reuses === 0 && loggedOut === 0
  }).pipe(Effect.provide(Accounts.storages(database)))
})

NodeRuntime.runMain(
  program.pipe(
    Effect.scoped,
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
