/**
 * An upstream API that refuses a token early, for example because somebody revoked it, or the server changed
 * a key. The program below fetches a page, and does not handle tokens.
 *
 * Compared with the quickstart this changes one line: `BearerClient.layer`, an HTTP client that sends the
 * token.
 */
import { NodeRuntime } from "@effect/platform-node"
import { RefreshLease, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import { BearerClient, RefreshToken } from "@latchkey/oauth"
import { Fault, HostileServer } from "@latchkey/oauth/testing"
import { Effect, Layer, Logger, LogLevel, Option } from "effect"

const Session = TokenManager.layer().pipe(
  // In memory here, to keep it short. A program uses `File.layer` or another storage.
  Layer.provide([TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()]),
  Layer.provide(RefreshToken.layer({ server: HostileServer.server, client: { clientId: "example" } }))
)

/** The token goes only to this origin, whatever a page links to. */
const Api = BearerClient.layer({ origins: [new URL(HostileServer.resource).origin] })

/** Everything that the rest of the program needs. */
const page = Effect.gen(function* () {
  const client = yield* BearerClient.BearerClient
  const response = yield* client.get(`${HostileServer.resource}page`)
  return response.status
})

const program = Effect.gen(function* () {
  const server = yield* HostileServer.HostileServer
  const manager = yield* TokenManager.TokenManager
  const current = Effect.map(manager.credentials, Option.getOrThrow)
  const refreshes = Effect.map(server.counts, (counts) => counts.refreshes)
  const told: Array<boolean> = []
  const tell = (promise: string, kept: boolean) =>
    Effect.sync(() => {
      told.push(kept)
      console.log(`${kept ? "ok  " : "NOT "} ${promise}`)
    })

  yield* manager.save(yield* server.issueGrant())
  yield* tell("the page is served, without a refresh", (yield* page) === 200 && (yield* refreshes) === 0)

  yield* server.revokeAccessToken(yield* current)
  const statuses = yield* Effect.all(
    Array.from({ length: 50 }, () => page),
    { concurrency: "unbounded" }
  )
  yield* tell(
    "50 requests at once meet a 401: one refresh serves them all, and nobody sees it",
    statuses.every((status) => status === 200) && (yield* refreshes) === 1
  )

  // An API that refuses every token, because its audience is another one. A refresh does not help.
  yield* server.always(Fault.invalidToken, "resource")
  const before = yield* refreshes
  for (let i = 0; i < 20; i++) yield* Effect.ignore(page)
  const spent = (yield* refreshes) - before
  yield* tell(
    `an API that refuses every token costs ${spent} refreshes in 20 requests: then they cool down`,
    spent <= 2
  )
  yield* Effect.sync(() => void (process.exitCode = told.every(Boolean) ? 0 : 1))
})

NodeRuntime.runMain(
  program.pipe(
    Effect.provide(Api.pipe(Layer.provideMerge(Session), Layer.provideMerge(HostileServer.layer()))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
