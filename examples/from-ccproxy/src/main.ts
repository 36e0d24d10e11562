/**
 * From ccproxy's token managers: the file stays in its place and its form, and the program that wrote it can
 * keep reading it. The table of the README has the names of all methods.
 *
 * | there | here |
 * |---|---|
 * | `ClaudeApiTokenManager.create(storage)` | `ProviderManager.layer(claude)` |
 * | `await manager.get_access_token_with_refresh()` | `yield* manager.getAccessToken` |
 * | `await manager.get_auth_status()` | `yield* manager.status` |
 * | `AUTH__CREDENTIALS_TTL_SECONDS`, `AUTH__REFRESH_GRACE_SECONDS` | the same, read by `TokenConfig.layerConfig` |
 */
import { NodeRuntime } from "@effect/platform-node"
import { Fingerprint, TokenConfig, TokenManager } from "@latchkey/core"
import { HostileServer } from "@latchkey/oauth/testing"
import { ProviderManager, Providers } from "@latchkey/providers"
import { Clock, Effect, Logger, LogLevel, Option, Redacted } from "effect"
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** The built-in provider with another server: this example's server is in memory. */
const registry = Providers.layer({
  providers: {
    claude: {
      server: { tokenEndpoint: HostileServer.server.tokenEndpoint },
      token: { encoding: "form" },
      profile: { from: "none" }
    }
  }
})

/** The file as Claude Code and ccproxy write it, with the data of other programs in it. */
const writtenThere = (path: string, scopes: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const server = yield* HostileServer.HostileServer
    const grant = yield* server.issueGrant({ scopes })
    const now = yield* Clock.currentTimeMillis
    const document = {
      claudeAiOauth: {
        accessToken: Redacted.value(grant.accessToken),
        refreshToken: Redacted.value(Option.getOrThrow(grant.refreshToken)),
        expiresAt: now + 30_000, // within the grace of two minutes: due
        scopes: ["user:inference"],
        subscriptionType: "max"
      },
      mcpOAuth: { another: { accessToken: "of another program" } }
    }
    yield* Effect.promise(() => writeFile(path, JSON.stringify(document), { mode: 0o600 }))
    yield* Effect.promise(() => chmod(path, 0o600))
    return document
  })

const program = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-from-ccproxy-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const path = join(folder, ".credentials.json")
  const claude = yield* Effect.flatMap(Providers.Providers, (providers) => providers.get("claude"))
  const before = yield* writtenThere(path, claude.scopes)

  // Without `path` it is the file that Claude Code uses.
  const Session = ProviderManager.layer(claude, { path })
  const token = yield* Effect.gen(function* () {
    const manager = yield* TokenManager.TokenManager
    console.log(yield* Effect.map(manager.explain, (e) => `it would: ${e.text}`))
    return yield* manager.getAccessToken
  }).pipe(Effect.provide(Session))

  const after = JSON.parse(yield* Effect.promise(() => readFile(path, "utf8"))) as typeof before
  const isSaved = after.claudeAiOauth.accessToken === Redacted.value(token)
  const isRenewed = after.claudeAiOauth.accessToken !== before.claudeAiOauth.accessToken
  const isKept =
    after.claudeAiOauth.subscriptionType === "max" &&
    after.mcpOAuth.another.accessToken === "of another program"
  console.log(
    `token ${Fingerprint.of(token)}: renewed ${isRenewed}, in the file ${isSaved}, the rest kept ${isKept}`
  )
  return isSaved && isRenewed && isKept
})

NodeRuntime.runMain(
  program.pipe(
    Effect.scoped,
    Effect.provide([TokenConfig.layerConfig(), registry, HostileServer.layer()]),
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
