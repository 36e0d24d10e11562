/**
 * Notifications of a PostgreSQL server, over a separate connection that is replaced whenever it is lost. The
 * client of `@effect/sql-pg` does not report that its listening connection is gone.
 */
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { Streams } from "@latchkey/core/internal-api"
import Pg from "pg"
import { bounded } from "./Bounded.js"
import { pause } from "./KernelLock.js"

/** How long the server may take to answer, and how often it is pinged. */
const answerMillis = 5_000
const quietMillis = 15_000

/**
 * Emits the payloads of a channel, and none each time that some may have been missed: after each new
 * connection. Never ends and never fails: while the server is down, it reconnects at growing intervals.
 */
export const listen = (config: PgClientConfig, channel: string): Stream.Stream<Option.Option<string>> =>
  Streams.fromCallbacks<Option.Option<string>>("all", (emit) =>
    Effect.forkScoped(keep(config, channel, (payload) => emit.single(payload), 0))
  )

type Told = (payload: Option.Option<string>) => void

const keep = (config: PgClientConfig, channel: string, told: Told, failures: number): Effect.Effect<never> =>
  Effect.flatMap(Effect.scoped(session(config, channel, told)), (listened) =>
    Effect.andThen(
      pause(listened ? 50 : Math.min(100 * 2 ** failures, 10_000)),
      Effect.suspend(() => keep(config, channel, told, listened ? 0 : Math.min(failures + 1, 10)))
    )
  )

/** Runs one connection from beginning to end. Returns whether it listened. */
const session = (
  config: PgClientConfig,
  channel: string,
  told: Told
): Effect.Effect<boolean, never, Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Pg.Client(settings(config))),
      // It may wait for a server that does not answer.
      (c) => Effect.sync(() => void c.end().catch(() => {}))
    )
    const ended = new Promise<void>((resolve) => {
      client.once("error", () => resolve())
      client.once("end", () => resolve())
      client.on("error", () => {})
    })
    const begun = yield* Effect.either(
      call(async () => {
        await client.connect()
        await client.query(`LISTEN ${client.escapeIdentifier(channel)}`)
      })
    )
    if (begun._tag === "Left") return false
    client.on("notification", ({ payload }) => told(Option.some(payload ?? "")))
    told(Option.none())
    const gone = Effect.promise(() => ended)
    const silent = Effect.ignore(
      Effect.forever(
        Effect.andThen(
          pause(quietMillis),
          call(() => client.query("SELECT 1"))
        )
      )
    )
    yield* Effect.raceFirst(gone, silent)
    return true
  })

const call = <A>(run: () => Promise<A>): Effect.Effect<A, undefined> =>
  bounded(Effect.tryPromise({ try: run, catch: () => undefined }), answerMillis, () => undefined)

const settings = (config: PgClientConfig): Pg.ClientConfig => ({
  connectionString: config.url === undefined ? undefined : Redacted.value(config.url),
  user: config.username,
  host: config.host,
  database: config.database,
  password: config.password === undefined ? undefined : Redacted.value(config.password),
  ssl: config.ssl,
  port: config.port,
  ...(config.stream === undefined ? {} : { stream: config.stream }),
  connectionTimeoutMillis: answerMillis,
  keepAlive: true,
  application_name: config.applicationName ?? "@latchkey/storage"
})
