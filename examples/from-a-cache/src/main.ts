/**
 * Ten callers at the moment of expiry, before and after. The server rotates, and ends a grant whose refresh
 * token it sees twice.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Credentials, TokenManager } from "@latchkey/core"
import { HostileServer } from "@latchkey/oauth/testing"
import { Clock, Effect, Either, Logger, LogLevel, Option, Redacted } from "effect"
import { getAccessToken, Session } from "./after.js"
import * as Before from "./before.js"

const { tokenEndpoint } = HostileServer.server

/** A grant whose access token has just expired. */
const expired = Effect.gen(function* () {
  const server = yield* HostileServer.HostileServer
  const grant = yield* server.issueGrant()
  const now = yield* Clock.currentTimeMillis
  return new Credentials.Credentials({ ...grant, expiresAt: Option.some(now) })
})

const tenAtOnce = <E, R>(ask: Effect.Effect<unknown, E, R>, grant: Credentials.Credentials) =>
  Effect.gen(function* () {
    const server = yield* HostileServer.HostileServer
    const before = (yield* server.counts).byEndpoint.token
    const answers = yield* Effect.forEach(Array.from({ length: 10 }), () => Effect.either(ask), {
      concurrency: "unbounded"
    })
    return {
      requests: (yield* server.counts).byEndpoint.token - before,
      failed: answers.filter(Either.isLeft).length,
      alive: yield* server.isAlive(grant)
    }
  })

const program = Effect.gen(function* () {
  const first = yield* expired
  const cached = {
    accessToken: Redacted.value(first.accessToken),
    refreshToken: Redacted.value(Option.getOrThrow(first.refreshToken)),
    expiresAt: Option.getOrThrow(first.expiresAt)
  }
  const before = yield* tenAtOnce(Before.make(tokenEndpoint, cached), first)
  console.log("before", before)

  const second = yield* expired
  const after = yield* Effect.gen(function* () {
    // The migration: the state of the old cache, as credentials. Instants are milliseconds.
    yield* (yield* TokenManager.TokenManager).save(second)
    return yield* tenAtOnce(getAccessToken, second)
  }).pipe(Effect.provide(Session(tokenEndpoint)))
  console.log("after ", after)
  return !before.alive && after.alive && after.requests === 1 && after.failed === 0
})

NodeRuntime.runMain(
  program.pipe(
    Effect.provide(HostileServer.layer({ latency: "5 millis" })),
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
