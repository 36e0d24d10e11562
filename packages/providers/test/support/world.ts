/** A folder with a provider's own file, a server in memory, and a clock that stands at `now`. */
import { type HttpClient } from "@effect/platform"
import { RefreshLease, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import { BuiltIn, OwnStorage, Provider, ProviderManager } from "@latchkey/providers"
import { Effect, Either, Layer, TestClock } from "effect"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"

/** 2027; epoch milliseconds. */
export const now = 1_800_000_000_000
export const nowSeconds = now / 1000

export const atNow = TestClock.setTime(now)

export const builtIn = (id: string): Provider.Provider =>
  Either.getOrThrow(Provider.fromSettings(id, BuiltIn.providers[id]))

export const claude = builtIn("claude")
export const codex = builtIn("codex")
export const copilot = builtIn("copilot")

/** A JWT with these claims, signed by nobody. */
export const jwt = (claims: object): string =>
  ["{}", JSON.stringify(claims), "signature"].map((part) => Buffer.from(part).toString("base64url")).join(".")

export const account = {
  "https://api.openai.com/auth": { chatgpt_account_id: "acct-1", chatgpt_plan_type: "pro" }
}

/** What each program keeps in its file, with something that is not ours at every level. */
export const files = {
  claude: (expiresAt: unknown = now + 3_600_000) => ({
    mcpOAuth: { server: { token: "theirs" } },
    claudeAiOauth: {
      accessToken: "claude-at-1",
      refreshToken: "claude-rt-1",
      expiresAt,
      scopes: ["user:inference", "user:profile"],
      subscriptionType: "max",
      rateLimitTier: "default_max"
    }
  }),
  codex: (exp: unknown = nowSeconds + 3600) => ({
    OPENAI_API_KEY: "sk-theirs",
    auth_mode: "chatgpt",
    tokens: {
      id_token: jwt({ sub: "user-1", email: "me@example.com", name: "Me", ...account }),
      access_token: jwt({ exp, jti: "1" }),
      refresh_token: "codex-rt-1",
      account_id: "acct-1",
      other: 1
    },
    last_refresh: "2027-01-15T07:00:00.000Z"
  }),
  copilot: (expiresAt: unknown = nowSeconds + 1500) => ({
    oauth_token: {
      access_token: "gho-1",
      token_type: "bearer",
      scope: "read:user gist",
      created_at: nowSeconds - 1_000_000,
      other: 1
    },
    copilot_token: {
      token: "service-1",
      expires_at: expiresAt,
      refresh_in: 1200,
      endpoints: { api: "https://api.individual.example.com" }
    },
    account_type: "individual",
    created_at: nowSeconds - 1_000_000,
    updated_at: nowSeconds,
    note: "theirs"
  })
}

/** A new folder with this in `credentials.json`: a text as it is, anything else as JSON. */
export const home = (content?: unknown) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(Path.join(tmpdir(), "latchkey-providers-"))),
      (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
    ),
    (folder) => {
      const path = Path.join(folder, "credentials.json")
      if (content !== undefined) {
        const text = typeof content === "string" ? content : JSON.stringify(content, null, 2)
        fs.writeFileSync(path, text, { mode: 0o600 })
      }
      return {
        folder,
        path,
        json: () => JSON.parse(fs.readFileSync(path, "utf8")),
        /** The document without what we keep of our own. */
        theirs: () => {
          const { latchkey: _, ...rest } = JSON.parse(fs.readFileSync(path, "utf8"))
          return rest
        }
      }
    }
  )

/** Runs `use` with the manager of a provider's file. */
export const managed = <A, E>(
  provider: Provider.Provider,
  path: string,
  server: Layer.Layer<HttpClient.HttpClient>,
  use: (manager: TokenManager.Manager) => Effect.Effect<A, E>
) =>
  Effect.flatMap(TokenManager.TokenManager, use).pipe(
    Effect.provide(
      ProviderManager.layer(provider, { path }).pipe(Layer.provide([TokenConfig.layer(), server]))
    )
  )

/** The same over a storage in memory. */
export const inMemory = <A, E>(
  provider: Provider.Provider,
  server: Layer.Layer<HttpClient.HttpClient>,
  use: (manager: TokenManager.Manager) => Effect.Effect<A, E>
) =>
  Effect.flatMap(TokenManager.TokenManager, use).pipe(
    Effect.provide(
      ProviderManager.layerStored(provider).pipe(
        Layer.provide([TokenConfig.layer(), server, TokenStorage.layerMemory, RefreshLease.layerProcess])
      )
    )
  )

export const own = (provider: Provider.Provider, path: string) => OwnStorage.make(provider, { path })
