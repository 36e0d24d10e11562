/** What one process of a product does with its accounts: holds them all, and renews them when they are due. */
import * as Renewal from "@latchkey/core/Renewal"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManagers from "@latchkey/core/TokenManagers"
import { TokenRefresher } from "@latchkey/core/TokenRefresher"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { loadavg } from "node:os"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Backend } from "./Backend.js"
import * as Tenants from "./Tenants.js"

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

/** What is in use after a full collection, in bytes. */
const inUse = Effect.promise(async () => {
  for (let i = 0; i < 4; i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
})

const seconds = (from: number): number => Math.round(performance.now() - from) / 1000

/** A clock that can be put forward. */
const settable = Effect.sync(() => {
  const wall = Clock.make()
  let shift = 0
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => wall.unsafeCurrentTimeMillis() + shift,
    unsafeCurrentTimeNanos: () => wall.unsafeCurrentTimeNanos() + BigInt(shift) * 1_000_000n,
    currentTimeMillis: Effect.sync(() => wall.unsafeCurrentTimeMillis() + shift),
    currentTimeNanos: Effect.sync(() => wall.unsafeCurrentTimeNanos() + BigInt(shift) * 1_000_000n),
    sleep: (duration) => wall.sleep(duration)
  }
  return { clock, forward: (millis: number) => void (shift += millis) }
})

const poolOf = (
  backend: Backend,
  refresher: Context.Tag.Service<TokenRefresher>,
  renewal: Renewal.Options,
  inMemory: Parameters<typeof Tenants.layer>[2] = []
) =>
  Effect.flatMap(
    Layer.build(
      Layer.mergeAll(
        Tenants.layer(backend, 20, inMemory),
        Layer.succeed(TokenRefresher, refresher),
        TokenConfig.layer({ credentialsTtl: "10 minutes" }),
        Renewal.layer({ lookEvery: 200, ...renewal })
      )
    ),
    (services) => Effect.provide(TokenManagers.makeShared(), services)
  )

/** Until so many of the pool's accounts are scheduled, and none waits. */
const untilSettled = (pool: TokenManagers.Managers, n: number) =>
  pool.renewals.pipe(
    Effect.delay(20),
    Effect.repeat({ until: (r) => r.scheduled === n && r.waiting === 0 && r.running === 0 })
  )

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  Math.round((sorted[Math.floor(sorted.length * share)] ?? Number.NaN) * 10) / 10

/**
 * The figures of one process with n accounts that are in the store, of which the first `due` are renewed. The time
 * for all is reckoned from theirs.
 */
export const measure = (backend: Backend, n: number, due: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { clock, forward } = yield* settable
      const posts = new Map<string, number>()
      const refresher = Tenants.inMemory((account) => posts.set(account, (posts.get(account) ?? 0) + 1))
      const accounts = Tenants.accountsOf(backend, n)
      return yield* Effect.withClock(
        Effect.gen(function* () {
          const inMemory = Tenants.inMemoryOf(backend, n, clock.unsafeCurrentTimeMillis(), due)
          const pool = yield* poolOf(backend, refresher, { concurrency: 64, perServer: 32 }, inMemory)
          yield* pool.getAccessToken(accounts[0]!)
          const empty = yield* inUse
          const loading = performance.now()
          yield* pool.keep(accounts)
          yield* untilSettled(pool, n)
          const loadSeconds = seconds(loading)
          const held = yield* inUse
          const asking = performance.now()
          for (const account of accounts) yield* pool.getAccessToken(account)
          const askMicros = Math.round(((performance.now() - asking) * 1000) / n)
          const asked = yield* inUse
          const again = performance.now()
          for (const account of accounts) yield* pool.getAccessToken(account)
          const freshNanos = Math.round(((performance.now() - again) * 1e6) / n)
          const peeking = performance.now()
          for (const account of accounts) pool.unsafePeek(account)
          const peekNanos = Math.round(((performance.now() - peeking) * 1e6) / n)
          const before = process.cpuUsage()
          const idle = performance.now()
          yield* Effect.sleep(n < 1000 ? 200 : 5000)
          const { system, user } = process.cpuUsage(before)
          const idlePercent = Math.round((user + system) / (performance.now() - idle)) / 10

          forward(Tenants.lifetime - 125_000)
          const renewing = performance.now()
          const cpu = process.cpuUsage()
          const waits: Array<number> = []
          const failed: Array<string> = []
          let i = 0
          while (posts.size < due) {
            const from = performance.now()
            const got = yield* Effect.either(pool.getAccessToken(accounts[(i += 7919) % n]!))
            if (Either.isLeft(got)) failed.push(got.left.message)
            waits.push(performance.now() - from)
            yield* Effect.sleep(5)
          }
          yield* untilSettled(pool, n)
          const renewSeconds = seconds(renewing)
          const renewCpu = process.cpuUsage(cpu)
          const after = yield* inUse
          waits.sort((a, b) => a - b)
          const resident = process.memoryUsage().rss
          const telling = performance.now()
          const status = yield* pool.status(accounts)
          const statusSeconds = seconds(telling)
          const sound = [...status.values()].filter(
            (s) => Either.isRight(s) && s.right.authenticated && s.right.warnings.length === 0
          ).length
          const twice = [...posts.values()].filter((count) => count !== 1).length
          return {
            bytesAnAccount: {
              held: Math.round((held - empty) / n),
              asked: Math.round((asked - empty) / n),
              renewed: Math.round((after - empty) / n)
            },
            megabytesInAll: Math.round(after / 1e5) / 10,
            residentMegabytes: Math.round(resident / 1e5) / 10,
            loadSeconds,
            loadsPerSecond: Math.round(n / loadSeconds),
            firstAskMicros: askMicros,
            freshTokenNanos: freshNanos,
            unsafePeekNanos: peekNanos,
            idleCpuPercent: idlePercent,
            due,
            renewSeconds,
            renewAllSeconds: Math.round((renewSeconds * n) / due),
            refreshesPerSecond: Math.round(due / renewSeconds),
            renewCpuMillisEach: Math.round((renewCpu.user + renewCpu.system) / due / 10) / 100,
            statusOfAllSeconds: statusSeconds,
            loadAverage: Math.round((loadavg()[0] ?? Number.NaN) * 10) / 10,
            callersMeanwhile: {
              asked: waits.length,
              millis: {
                median: percentile(waits, 0.5),
                p99: percentile(waits, 0.99),
                most: percentile(waits, 1 - 1e-9)
              }
            },
            broken: [
              ...(sound === n ? [] : [`${n - sound} accounts are not sound afterwards`]),
              ...(twice === 0 ? [] : [`${twice} accounts were not posted exactly once`]),
              ...[...new Set(failed)].slice(0, 5)
            ]
          }
        }),
        clock
      )
    })
  )

/** One of a fleet: says when it holds them all, renews them when it is told to, and says what it did. */
export const serve = (
  backend: Backend,
  n: number,
  port: number,
  told: Effect.Effect<unknown>,
  say: (value: unknown) => void
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { clock, forward } = yield* settable
      yield* Effect.withClock(
        Effect.gen(function* () {
          const pool = yield* poolOf(backend, Tenants.atServer(port), {
            concurrency: 32,
            perServer: Tenants.placesAtServer
          })
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
          yield* pool.keep(Tenants.accountsOf(backend, n))
          yield* untilSettled(pool, n)
          say("ready")
          yield* told
          forward(Tenants.lifetime - 125_000)
          yield* told
          yield* untilSettled(pool, n)
          const status = yield* pool.status()
          const warned = [...status.values()].filter((s) => Either.isLeft(s) || s.right.warnings.length > 0)
          say({ refreshed, failures: failures.slice(0, 20), warned: warned.length })
          yield* Effect.never
        }),
        clock
      )
    })
  )
