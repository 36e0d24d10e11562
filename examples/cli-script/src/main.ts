/**
 * Runs the script as its users do: in eight processes at once, at the moment of expiry, and after the grant
 * was revoked. The authorization server is that of the quickstart: a real one, whose refresh tokens rotate.
 */
import { FetchHttpClient } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Credentials, TokenManager } from "@latchkey/core"
import { Session } from "@latchkey/providers"
import { Clock, ConfigProvider, Effect, Layer, Logger, LogLevel, Option } from "effect"
import { fork } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { startWith } from "../../quickstart/src/AuthorizationServer.js"
import { clientId } from "../../quickstart/src/Session.js"

const path = fileURLToPath(new URL("./script.ts", import.meta.url))

const run = (environment: Record<string, string>) =>
  Effect.async<{ readonly code: number | null; readonly said: string }>((resume) => {
    const child = fork(path, [], { env: { ...process.env, ...environment }, silent: true })
    let said = ""
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (chunk: Buffer) => (said += chunk.toString()))
    }
    child.on("close", (code) => resume(Effect.succeed({ code, said: said.trim() })))
  })

const program = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-script-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const server = yield* startWith(120)
  const environment = {
    OAUTH_ISSUER: server.issuer,
    OAUTH_CLIENT_ID: clientId,
    OAUTH_CREDENTIALS_FILE: join(folder, "credentials.json")
  }
  yield* Effect.gen(function* () {
    const manager = yield* TokenManager.TokenManager
    const login = yield* server.login
    const now = yield* Clock.currentTimeMillis
    yield* manager.save(new Credentials.Credentials({ ...login, expiresAt: Option.some(now) }))
  }).pipe(
    Effect.provide(
      Session.layerConfig().pipe(
        Layer.provide(FetchHttpClient.layer),
        Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment)))))
      )
    )
  )

  const before = yield* server.tokenRequests
  const runs = yield* Effect.all(
    Array.from({ length: 8 }, () => run(environment)),
    { concurrency: "unbounded" }
  )
  const good = runs.filter(({ code, said }) => code === 0 && said === '{"sub":"ada"}').length
  const requests = (yield* server.tokenRequests) - before
  console.log(
    `8 scripts at expiry: ${good} said who one is; ${requests} refresh${requests === 1 ? "" : "es"}`
  )

  // Its token would stay valid for two minutes, so the 401 is what shows the revocation.
  yield* server.revokeAll
  const refused = yield* run(environment)
  console.log(
    `after the grant was revoked: exit code ${refused.code}, "${refused.said.replaceAll(folder, "…")}"`
  )
  return good === 8 && requests === 1 && refused.code === 3
})

NodeRuntime.runMain(
  program.pipe(
    Effect.scoped,
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
