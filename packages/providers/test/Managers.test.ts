/** Refreshes of Claude, Codex and Copilot: over their own files and over memory, as their servers require. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Snapshot } from "@latchkey/core"
import { BuiltIn, Provider, type ProviderSettings, Refresher } from "@latchkey/providers"
import { Effect, Either, Option, Redacted, TestClock } from "effect"
import { inspect } from "node:util"
import { answering, type Reply } from "../../oauth/test/Memory.js"
import {
  account,
  atNow,
  builtIn,
  claude,
  codex,
  copilot,
  files,
  home,
  inMemory,
  jwt,
  managed,
  now,
  nowSeconds
} from "./support/world.js"

const token = <E>(effect: Effect.Effect<Redacted.Redacted, E>) => Effect.map(effect, Redacted.value)

const claudeAnswer = {
  access_token: "claude-at-2",
  refresh_token: "claude-rt-2",
  expires_in: 3600,
  scope: "user:inference user:profile"
}
const codexToken = jwt({ exp: nowSeconds + 4000, jti: "2" })
const codexAnswer = {
  access_token: codexToken,
  refresh_token: "codex-rt-2",
  id_token: jwt({ sub: "user-1", ...account }),
  expires_in: 10
}
const serviceAnswer = {
  token: "service-2",
  expires_at: nowSeconds + 1800,
  refresh_in: 1200,
  endpoints: { api: "https://api.business.example.com" },
  sku: "business"
}

describe("Claude manager", () => {
  it.effect("45 s left: one refresh in JSON, and the new token is stored", () =>
    Effect.gen(function* () {
      yield* atNow
      const { json, path, theirs } = yield* home(files.claude(now + 45_000))
      const { asked, layer } = answering({ body: claudeAnswer })
      const got = yield* managed(claude, path, layer, (m) => token(m.getAccessToken))
      expect(got).toBe("claude-at-2")
      expect(asked).toHaveLength(1)
      expect(asked[0]).toMatchObject({
        method: "POST",
        url: "https://platform.claude.com/v1/oauth/token",
        headers: { "content-type": "application/json" }
      })
      expect(JSON.parse(asked[0]!.body)).toEqual({
        grant_type: "refresh_token",
        refresh_token: "claude-rt-1",
        client_id: "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        scope: "user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload"
      })
      const expected = files.claude(now + 3_600_000)
      Object.assign(expected.claudeAiOauth, { accessToken: "claude-at-2", refreshToken: "claude-rt-2" })
      expect(theirs()).toEqual(expected)
      expect(json().latchkey).toMatchObject({ generation: 1 })
    }).pipe(Effect.scoped)
  )

  it.effect("a refresh that fails for good is an error, and the stored token is unchanged (3)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.claude(now - 1))
      const { asked, layer } = answering({ status: 400, body: { error: "invalid_grant" } })
      const ask = managed(claude, path, layer, (m) =>
        Effect.all([Effect.flip(m.getAccessToken), Effect.flip(m.getAccessToken)])
      )
      const errors = yield* ask
      expect(errors.map((e) => e._tag)).toEqual(["ReauthorizationRequired", "ReauthorizationRequired"])
      expect(theirs()).toEqual(files.claude(now - 1))
      // The mark is in the file: another process does not post the dead grant either.
      yield* ask
      expect(asked).toHaveLength(1)
    }).pipe(Effect.scoped)
  )

  it.effect("a refresh that fails in the grace serves the token that is still valid (3)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.claude(now + 45_000))
      const { layer } = answering({ status: 503 })
      expect(yield* managed(claude, path, layer, (m) => token(m.getAccessToken))).toBe("claude-at-1")
    }).pipe(Effect.scoped)
  )

  it.effect("ten callers at once make one request (1), with the refresh token in the file (2)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.claude(now + 130_000))
      const { asked, layer } = answering({ body: claudeAnswer })
      const tokens = yield* managed(claude, path, layer, (m) =>
        Effect.gen(function* () {
          yield* m.getAccessToken
          // Claude Code itself rotates behind our back, within the credentials TTL.
          const { writeFileSync, readFileSync } = yield* Effect.promise(() => import("node:fs"))
          const file = JSON.parse(readFileSync(path, "utf8"))
          file.claudeAiOauth.refreshToken = "claude-rt-rotated"
          writeFileSync(path, JSON.stringify(file))
          yield* TestClock.adjust("15 seconds")
          return yield* Effect.all(
            Array.from({ length: 10 }, () => token(m.getAccessToken)),
            {
              concurrency: "unbounded"
            }
          )
        })
      )
      expect(new Set(tokens)).toEqual(new Set(["claude-at-2"]))
      expect(asked).toHaveLength(1)
      expect(JSON.parse(asked[0]!.body).refresh_token).toBe("claude-rt-rotated")
    }).pipe(Effect.scoped)
  )

  it.effect("what an answer leaves out stays: refresh token, scopes, subscription (4)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.claude(now - 1))
      const { layer } = answering({
        body: { access_token: "claude-at-2", expires_in: 60, refresh_token: "" }
      })
      yield* managed(claude, path, layer, (m) => m.getAccessToken)
      const expected = files.claude(now + 60_000)
      Object.assign(expected.claudeAiOauth, { accessToken: "claude-at-2" })
      expect(theirs()).toEqual(expected)
    }).pipe(Effect.scoped)
  )

  it.effect("another subscription is stored as the answer tells it", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home(files.claude(now - 1))
      const { layer } = answering({ body: { ...claudeAnswer, subscription_type: "pro" } })
      yield* managed(claude, path, layer, (m) => m.getAccessToken)
      expect(json().claudeAiOauth.subscriptionType).toBe("pro")
    }).pipe(Effect.scoped)
  )

  it.effect("a grant in a custom file is refreshed there, and the default file is not touched (7)", () =>
    Effect.gen(function* () {
      yield* atNow
      const byDefault = yield* home(files.claude())
      const custom = yield* home(files.claude(now - 1))
      const { layer } = answering({ body: claudeAnswer })
      const provider = { ...claude, credentials: { ...claude.credentials!, file: byDefault.path } }
      yield* managed(provider, custom.path, layer, (m) => m.getAccessToken)
      expect(byDefault.json()).toEqual(files.claude())
      expect(custom.json().claudeAiOauth.accessToken).toBe("claude-at-2")
    }).pipe(Effect.scoped)
  )

  it.effect("generic storage: round trip, none there, and a refresh over it", () =>
    Effect.gen(function* () {
      yield* atNow
      const { asked, layer } = answering({ body: claudeAnswer })
      yield* inMemory(claude, layer, (m) =>
        Effect.gen(function* () {
          expect(yield* m.credentials).toEqual(Option.none())
          expect((yield* Effect.flip(m.getAccessToken))._tag).toBe("ReauthorizationRequired")
          yield* m.save(Credentials.make({ accessToken: "a", refreshToken: "r", expiresAt: now + 45_000 }))
          expect(yield* token(m.getAccessToken)).toBe("claude-at-2")
          expect(Redacted.value(Option.getOrThrow(yield* m.credentials).accessToken)).toBe("claude-at-2")
        })
      )
      expect(asked).toHaveLength(1)
    })
  )
})

describe("Codex manager", () => {
  it.effect("45 s left: one refresh as a form with the scopes; then more than 3,000 s are left", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home(files.codex(nowSeconds + 45))
      const { asked, layer } = answering({ body: codexAnswer })
      const left = yield* managed(codex, path, layer, (m) =>
        Effect.andThen(
          m.getAccessToken,
          Effect.map(m.snapshot, (s) => Option.flatMap(s, (found) => Snapshot.expiresInSeconds(found, now)))
        )
      )
      expect(Option.getOrThrow(left)).toBe(4000)
      expect(asked).toHaveLength(1)
      expect(asked[0]!.url).toBe("https://auth.openai.com/oauth/token")
      expect(Object.fromEntries(new URLSearchParams(asked[0]!.body))).toEqual({
        grant_type: "refresh_token",
        refresh_token: "codex-rt-1",
        client_id: "app_EMoamEEZ73f0CkXaXp7hrann",
        scope: "openid profile email offline_access api.connectors.read api.connectors.invoke"
      })
      expect(json()).toMatchObject({
        OPENAI_API_KEY: "sk-theirs",
        tokens: { access_token: codexToken, refresh_token: "codex-rt-2", account_id: "acct-1", other: 1 },
        last_refresh: new Date(now).toISOString()
      })
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["is not there", undefined],
    ["is nonsense", "soon"],
    ["is far off", 1e308]
  ] as const)("an expires_in that %s is not relied on", ([_, expires_in]) =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.codex(nowSeconds - 1))
      const { layer } = answering({ body: { ...codexAnswer, expires_in } })
      const credentials = yield* managed(codex, path, layer, (m) =>
        Effect.andThen(m.getAccessToken, m.credentials)
      )
      expect(Option.getOrThrow(credentials).expiresAt).toEqual(Option.some(now + 4_000_000))
    }).pipe(Effect.scoped)
  )

  it.effect("an answer without id token keeps the old one and the account (4, 6)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home(files.codex(nowSeconds - 1))
      const { id_token: _, ...answer } = codexAnswer
      const { layer } = answering({ body: answer })
      yield* managed(codex, path, layer, (m) => m.getAccessToken)
      expect(json().tokens.id_token).toBe(files.codex().tokens.id_token)
      expect(json().tokens.account_id).toBe("acct-1")
    }).pipe(Effect.scoped)
  )

  it.effect("a refresh failing: an error, the stored token unchanged; a spent refresh token is its end", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.codex(nowSeconds - 1))
      const body = { error: { code: "refresh_token_reused", message: "canary" } }
      const { asked, layer } = answering({ status: 401, body })
      const error = yield* managed(codex, path, layer, (m) => Effect.flip(m.getAccessToken))
      expect(error._tag).toBe("ReauthorizationRequired")
      expect(theirs()).toEqual(files.codex(nowSeconds - 1))
      expect(asked).toHaveLength(1)
    }).pipe(Effect.scoped)
  )

  it.effect("another account's answer is refused, its refresh token kept", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home(files.codex(nowSeconds - 1))
      const other = jwt({ "https://api.openai.com/auth": { chatgpt_account_id: "acct-2" } })
      const { layer } = answering({ body: { ...codexAnswer, id_token: other } })
      yield* Effect.flip(managed(codex, path, layer, (m) => m.getAccessToken))
      expect(json().tokens).toMatchObject({ account_id: "acct-1", refresh_token: "codex-rt-2" })
    }).pipe(Effect.scoped)
  )

  it.effect("a login is saved into a file that holds an API key alone (8)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home({ OPENAI_API_KEY: "sk-theirs" })
      const { layer } = answering({})
      yield* managed(codex, path, layer, (m) =>
        Effect.gen(function* () {
          expect(yield* Effect.flip(m.getAccessToken)).toMatchObject({
            _tag: "StorageError",
            reason: "NoGrant"
          })
          yield* m.save(
            Credentials.make({
              accessToken: codexToken,
              refreshToken: "rt",
              idToken: jwt(account),
              expiresAt: now + 4_000_000
            })
          )
          expect(yield* token(m.getAccessToken)).toBe(codexToken)
          expect(yield* m.clear).toBe(true)
        })
      )
      expect(json()).toEqual({ OPENAI_API_KEY: "sk-theirs" })
    }).pipe(Effect.scoped)
  )
})

describe("Copilot manager", () => {
  it.effect("shows GitHub's token by GET for a service token; GitHub's stays", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.copilot(nowSeconds + 45))
      const { asked, layer } = answering({ body: serviceAnswer })
      expect(yield* managed(copilot, path, layer, (m) => token(m.getAccessToken))).toBe("service-2")
      expect(asked).toHaveLength(1)
      expect(asked[0]).toMatchObject({
        method: "GET",
        url: "https://api.github.com/copilot_internal/v2/token",
        headers: { authorization: "Bearer gho-1", accept: "application/json" },
        body: ""
      })
      expect(theirs()).toEqual({ ...files.copilot(), copilot_token: serviceAnswer })
    }).pipe(Effect.scoped)
  )

  it.effect("refresh_in says when: earlier than the grace, and not before", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.copilot(nowSeconds - 1))
      const { asked, layer } = answering(
        { body: serviceAnswer },
        { body: { ...serviceAnswer, token: "service-3", expires_at: nowSeconds + 3100 } }
      )
      yield* managed(copilot, path, layer, (m) =>
        Effect.gen(function* () {
          yield* m.getAccessToken
          yield* TestClock.adjust("1199 seconds")
          expect(yield* token(m.getAccessToken)).toBe("service-2")
          yield* TestClock.adjust("1 seconds")
          expect(yield* token(m.getAccessToken)).toBe("service-3")
        })
      )
      expect(asked).toHaveLength(2)
    }).pipe(Effect.scoped)
  )

  it.effect("without a service token one is had first; GitHub's own is never given out", () =>
    Effect.gen(function* () {
      yield* atNow
      const { copilot_token: _, ...file } = files.copilot()
      const { path } = yield* home(file)
      const { layer } = answering({ status: 503 }, { body: serviceAnswer })
      yield* managed(copilot, path, layer, (m) =>
        Effect.gen(function* () {
          expect((yield* Effect.flip(m.getAccessToken))._tag).toBe("RefreshUnavailable")
          expect(yield* m.peekAccessToken).toEqual(Option.none())
          yield* TestClock.adjust("1 minute")
          expect(yield* token(m.getAccessToken)).toBe("service-2")
        })
      )
    }).pipe(Effect.scoped)
  )

  const shown = Credentials.make({ accessToken: "service-1", refreshToken: "gho-canary", expiresAt: now })

  it.effect.each([
    [401, { message: "Bad credentials" }, "GrantDead", "the token that was sent is no longer valid"],
    [401, { message: "Bad credentials" }, "GrantDead", "(Bad credentials)"],
    [403, { message: "no seat" }, "Misconfigured", "(no seat)"],
    [404, "No access to Copilot", "Misconfigured", "(No access to Copilot)"],
    [404, { message: "No access", documentation_url: "https://x.example" }, "Misconfigured", "(No access)"],
    [404, { message: "gho-canary is no token" }, "Misconfigured", "(<redacted> is no token)"],
    [404, "<html>canary", "Misconfigured", "check that this is the right endpoint"],
    [404, "", "Misconfigured", "404"],
    [429, {}, "Transient", "429"],
    [503, {}, "MaybeSent", "503"],
    [200, {}, "Malformed", "its token is missing"],
    [200, { token: "a\nb" }, "Malformed", "its token has a control character"],
    [200, "<html>", "Malformed", "is not JSON"]
  ] as const)("an answer of %j is an error that says so (F21)", ([status, body, reason, words]) =>
    Effect.gen(function* () {
      yield* atNow
      const refresher = yield* Refresher.make(copilot)
      const error = yield* Effect.flip(refresher.refresh(Option.some(shown)))
      expect(error).toMatchObject({ _tag: "RefreshError", reason })
      expect(error.message).toContain(words)
      expect(inspect(error, { depth: 9 })).not.toContain("canary")
    }).pipe(Effect.provide(answering({ status, body }).layer))
  )
})

describe("a clock that is not the server's (F10)", () => {
  const hours = 3_600_000
  const date = { date: new Date(now).toUTCString() }
  const wrong = (off: number) => TestClock.setTime(now + off * hours)

  it.effect.each([-48, -2, 2, 48])(
    "the `exp` of a token is by the server's clock: ours is %d h ahead, and all processes share one or two posts",
    (off) =>
      Effect.gen(function* () {
        yield* wrong(off)
        const { path } = yield* home(files.codex(nowSeconds - 100 * 3600))
        let serverTime = now
        const { asked, layer } = answering(() => ({
          body: codexAnswer,
          headers: { date: new Date(serverTime).toUTCString() }
        }))
        const process = managed(codex, path, layer, (m) =>
          Effect.gen(function* () {
            const tokens = yield* Effect.all([token(m.getAccessToken), token(m.getAccessToken)])
            const { expiresInSeconds } = yield* m.status
            return { tokens, left: Option.getOrThrow(expiresInSeconds) }
          })
        )
        const first = yield* process
        expect(first).toEqual({ tokens: [codexToken, codexToken], left: 4000 })
        expect(asked).toHaveLength(1)
        for (let more = 0; more < 5; more++) expect((yield* process).left).toBe(4000)
        expect(asked.length).toBeLessThanOrEqual(2)
        // It ends when the server says so.
        serverTime += 4_000_000
        yield* TestClock.adjust("4000 seconds")
        yield* managed(codex, path, layer, (m) => Effect.flip(m.getAccessToken))
      }).pipe(Effect.scoped)
  )

  it.effect.each([-2, 2])("so is the expiry of an exchanged token: ours is %d h ahead", (off) => {
    const { asked, layer } = answering({ body: serviceAnswer, headers: date })
    return Effect.gen(function* () {
      yield* wrong(off)
      const { refresh } = yield* Refresher.make(copilot)
      const brought = yield* refresh(
        Option.some(Credentials.make({ accessToken: "gho", refreshToken: "gho" }))
      )
      expect(brought.expiresAt).toEqual(Option.some(now + off * hours + 1_800_000))
      expect(brought.serverTime).toEqual(Option.some(now))
      expect(asked).toHaveLength(1)
    }).pipe(Effect.provide(layer))
  })

  it.effect.each([[now], ["soon"], [null], [-1], [1e308], [{}]])(
    "an expiry of %j is unknown, and the exchanged token is used (F9)",
    ([expires_at]) =>
      Effect.gen(function* () {
        yield* atNow
        const { refresh } = yield* Refresher.make(copilot)
        const brought = yield* refresh(
          Option.some(Credentials.make({ accessToken: "gho", refreshToken: "gho" }))
        )
        expect(brought.expiresAt).toEqual(Option.none())
        expect(Credentials.warnings(brought).map(({ field }) => field)).toEqual(["expires_at"])
      }).pipe(Effect.provide(answering({ body: { ...serviceAnswer, expires_at } }).layer))
  )

  it.effect("without a `Date`, the error names the clock, and no call posts before the retry time", () =>
    Effect.gen(function* () {
      yield* wrong(2)
      const { path } = yield* home(files.codex(nowSeconds - 1))
      const { asked, layer } = answering({ body: codexAnswer })
      const error = yield* managed(codex, path, layer, (m) =>
        Effect.andThen(Effect.flip(m.getAccessToken), Effect.flip(m.getAccessToken))
      )
      expect(error.message).toMatch(
        /had expired when it arrived, by 53m 20s by the clock of this machine, .*: check that clock/
      )
      expect(asked).toHaveLength(1)
    }).pipe(Effect.scoped)
  )
})

describe("errors in a server's own words", () => {
  const grant = Credentials.make({ accessToken: "a", refreshToken: "r", expiresAt: now })
  const refusal = (settings: ProviderSettings.Encoded, reply: Reply, id = "acme") =>
    Effect.gen(function* () {
      const refresher = yield* Refresher.make(Either.getOrThrow(Provider.fromSettings(id, settings)))
      return yield* Effect.flip(refresher.refresh(Option.some(grant)))
    }).pipe(Effect.provide(answering(reply).layer))

  const microsoft = { ...BuiltIn.microsoft, client: { id: "app" } }
  const entra = (error: string, more: object = {}): Reply => ({ status: 400, body: { error, ...more } })
  it.effect.each<readonly [string, Reply, string]>([
    ["interaction_required", entra("interaction_required", { error_codes: [50076] }), "GrantDead"],
    ["interaction_required alone", entra("interaction_required"), "GrantDead"],
    ["consent_required", entra("consent_required"), "GrantDead"],
    ["login_required", entra("login_required"), "GrantDead"],
    ["invalid_grant", entra("invalid_grant", { error_codes: [70000] }), "GrantDead"],
    ["a suberror", entra("invalid_request", { suberror: "bad_token" }), "GrantDead"],
    ["a revoked grant", entra("invalid_request", { error_codes: [9002313, 50173] }), "GrantDead"],
    ["an expired grant", entra("invalid_client", { error_codes: [700082] }), "GrantDead"],
    [
      "a wrong secret",
      { ...entra("invalid_client", { error_codes: [7000215] }), status: 401 },
      "Misconfigured"
    ],
    ["a busy server", entra("temporarily_unavailable", { error_codes: [90033] }), "Transient"],
    ["a failing server", { ...entra("server_error", { error_codes: [50173] }), status: 503 }, "Transient"]
  ])("microsoft: %s (F27)", ([, reply, reason]) =>
    Effect.gen(function* () {
      expect(yield* refusal(microsoft, reply, "microsoft")).toMatchObject({ _tag: "RefreshError", reason })
    })
  )

  const acme: ProviderSettings.Encoded = {
    server: { tokenEndpoint: "https://acme.example/token" },
    client: { id: "app" },
    token: {
      errors: [
        { means: "dead", status: [400], path: ["status"], values: ["BAD_REFRESH_TOKEN"] },
        { means: "dead", path: ["error", "code"], values: ["token_expired"] },
        { means: "dead", path: ["error"], values: ["invalid_refresh_token"] },
        { means: "transient", status: [404] }
      ]
    }
  }
  const cases: ReadonlyArray<readonly [Reply, string]> = [
    [{ status: 400, body: { status: "BAD_REFRESH_TOKEN" } }, "GrantDead"],
    [{ status: 401, body: { error: { code: "token_expired" } } }, "GrantDead"],
    [{ body: { ok: false, error: "invalid_refresh_token" } }, "GrantDead"],
    [{ status: 404, body: "" }, "Transient"],
    [{ status: 400, body: { status: "BAD_CLIENT" } }, "Misconfigured"]
  ]
  it.effect.each(cases)("a provider says as data what they mean: %j (F22)", ([reply, reason]) =>
    Effect.gen(function* () {
      expect(yield* refusal(acme, reply)).toMatchObject({ _tag: "RefreshError", reason })
      const refresh = { by: "exchange", endpoint: "https://acme.example/exchange" } as const
      expect(yield* refusal({ ...acme, refresh }, reply)).toMatchObject({ _tag: "RefreshError", reason })
    })
  )
})

describe("a server with ways of its own", () => {
  const server = { tokenEndpoint: "https://acme.example/token" }
  const grant = Credentials.make({ accessToken: "a", refreshToken: "refresh-1" })
  const answer = { access_token: "b", expires_in: 60 }

  it.effect("sends no token_type: an error names the setting, and the setting helps (F34)", () =>
    Effect.gen(function* () {
      const settings = { server, client: { id: "app" } }
      const { layer } = answering({ body: answer })
      const refresh = (more: object) =>
        Effect.flatMap(
          Refresher.make(Either.getOrThrow(Provider.fromSettings("acme", { ...settings, ...more }))),
          (refresher) => refresher.refresh(Option.some(grant))
        ).pipe(Effect.provide(layer))
      expect((yield* Effect.flip(refresh({}))).message).toContain("token.defaultType")
      expect((yield* refresh({ token: { defaultType: "Bearer" } })).tokenType).toBe("Bearer")
    })
  )

  it.effect("compares a Basic header without decoding it (F28)", () =>
    Effect.gen(function* () {
      const client = { id: "app", secret: "s-1/+%", authentication: "basicRaw" }
      const { asked, layer } = answering({ body: { ...answer, token_type: "Bearer" } })
      const provider = Either.getOrThrow(Provider.fromSettings("acme", { server, client }))
      const refresher = yield* Effect.provide(Refresher.make(provider), layer)
      yield* refresher.refresh(Option.some(grant))
      expect(asked[0]!.headers["authorization"]).toBe(`Basic ${btoa("app:s-1/+%")}`)
    })
  )
})

describe("others", () => {
  it.effect("a provider without a client id says which variable to set", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Refresher.make(builtIn("google")))
      expect(error).toMatchObject({ _tag: "ProviderError", reason: "NoClient", provider: "google" })
      expect(error.message).toContain("LATCHKEY_GOOGLE_CLIENT_ID")
    }).pipe(Effect.provide(answering({}).layer))
  )

  it.effect("scopes between commas become a list, and a token type left out is Bearer", () =>
    Effect.gen(function* () {
      yield* atNow
      const github = {
        ...builtIn("github"),
        client: { clientId: "app", authentication: "none" as const, secret: undefined }
      }
      const refresher = yield* Refresher.make(github)
      const previous = Credentials.make({ accessToken: "a", refreshToken: "r" })
      const credentials = yield* refresher.refresh(Option.some(previous))
      expect(credentials.scopes).toEqual(["repo", "gist"])
      const dead = yield* Effect.either(refresher.refresh(Option.some(previous)))
      expect(Either.getLeft(dead)).toMatchObject({ value: { reason: "GrantDead" } })
    }).pipe(
      Effect.provide(
        answering(
          { body: { access_token: "b", token_type: "bearer", scope: "repo,gist" } },
          { body: { error: "bad_refresh_token" } }
        ).layer
      )
    )
  )
})
