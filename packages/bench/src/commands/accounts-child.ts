/** A process of `accounts`: holds all accounts and renews those that are due. Its job is the first argument, as JSON. */
import * as Renewal from "@latchkey/core/Renewal"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManagers from "@latchkey/core/TokenManagers"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { Agent, request } from "node:http"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { job as given, say, told } from "../campaigns/Child.js"
import type { AccountsJob, AccountsReport } from "../campaigns/Accounts.js"
import * as AccountStore from "../campaigns/AccountStore.js"

const { backend, due, n, places, port } = given as AccountsJob

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

/** What is in use after a full collection, in bytes. */
const inUse = Effect.sync(() => {
  for (let i = 0; i < 3; i++) collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
})

const agent = new Agent({ keepAlive: true })
const post = (refreshToken: string) =>
  new Promise<number>((resolve, reject) => {
    const outgoing = request({ port, host: "127.0.0.1", method: "POST", agent }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0))
    })
    outgoing.once("error", reject)
    outgoing.end(refreshToken)
  })

/** Asks the campaign's server, which lets the predecessor be replayed for a minute. */
const refresher = TokenRefresher.make({
  rotation: TokenRefresher.rotating("1 minute"),
  refresh: (_, refreshToken) =>
    Effect.tryPromise({
      try: () => post(Redacted.value(refreshToken)),
      catch: () => new TokenRefresher.RefreshError({ reason: "MaybeSent", message: "The connection broke." })
    }).pipe(
      Effect.filterOrFail(
        (status) => status === 200,
        () => new TokenRefresher.RefreshError({ reason: "GrantDead", message: "It was refused." })
      ),
      Effect.map(() => AccountStore.successorOf(Redacted.value(refreshToken)))
    )
})

const accounts = AccountStore.accountsOf(backend, n)

const program = Effect.gen(function* () {
  const pool = yield* TokenManagers.makeShared()
  const failures: Array<string> = []
  let refreshed = 0
  yield* pool.events.pipe(
    Stream.runForEach(({ event }) =>
      Effect.sync(() => {
        if (event._tag === "Refreshed") refreshed++
        if (event._tag === "RefreshFailed" || event._tag === "GrantDead") failures.push(event._tag)
      })
    ),
    Effect.forkScoped
  )
  const before = yield* inUse
  say("ready")
  yield* told
  yield* pool.keep(accounts)
  // Callers ask meanwhile, and wait for as long as they do.
  const waits: Array<number> = []
  let isOver = false
  const over = Effect.sync(() => void (isOver = true))
  yield* Effect.forkScoped(Effect.zipRight(told, over))
  for (let i = 0; !isOver; i++) {
    const began = performance.now()
    const got = yield* Effect.either(pool.getAccessToken(accounts[(i * 7919) % n]!))
    if (Either.isLeft(got)) failures.push(got.left.message)
    waits.push(performance.now() - began)
    yield* Effect.sleep(20)
  }
  yield* pool.renewals.pipe(
    Effect.delay(20),
    Effect.repeat({ until: (r) => r.scheduled === n && r.waiting === 0 && r.running === 0 })
  )
  const cpu = process.cpuUsage()
  const idle = performance.now()
  yield* Effect.sleep(n < 1000 ? 200 : 5000)
  const { system, user } = process.cpuUsage(cpu)
  const idlePercent = (user + system) / 10 / (performance.now() - idle)
  const held = (yield* inUse) - before
  const status = yield* pool.status(accounts)
  const unsound = [...status.values()].filter((s) => Either.isLeft(s) || s.right.warnings.length > 0).length
  waits.sort((a, b) => a - b)
  say({
    refreshed,
    failures: [...new Set(failures)].slice(0, 5),
    unsound,
    bytesAnAccount: Math.round(held / n),
    idlePercent: Math.round(idlePercent * 10) / 10,
    waitMillis: [0.5, 0.99].map(
      (share) => Math.round((waits[Math.floor(waits.length * share)] ?? 0) * 10) / 10
    )
  } satisfies AccountsReport)
  yield* Effect.never
})

const services = Layer.mergeAll(
  AccountStore.layer(backend, n, due),
  Layer.succeed(TokenRefresher.TokenRefresher, refresher),
  TokenConfig.layer({ credentialsTtl: "10 minutes" }),
  Renewal.layer({ perServer: places })
)
await Effect.runPromise(
  Effect.scoped(Effect.provide(program, services)).pipe(Logger.withMinimumLogLevel(LogLevel.None))
)
