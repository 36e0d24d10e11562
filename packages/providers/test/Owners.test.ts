/**
 * How the programs that own the files use them: their logged-out states, their selectors, their requirements.
 */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry } from "@latchkey/core"
import { BuiltIn, CopilotFile, OwnStorage, Provider, Refresher } from "@latchkey/providers"
import { File } from "@latchkey/storage"
import { Effect, Either, Option, Redacted } from "effect"
import * as fs from "node:fs"
import * as Path from "node:path"
import { inspect } from "node:util"
import { answering } from "../../oauth/test/Memory.js"
import {
  account,
  atNow,
  builtIn,
  claude,
  codex,
  copilot,
  files,
  home,
  jwt,
  now,
  nowSeconds,
  own
} from "./support/world.js"
import * as Edition from "../../core/test/support/Edition.js"

const gemini = builtIn("gemini")

/** A new grant, as a login brings it, for each of the formats. */
const newGrant = (id: string) =>
  ({
    claude: Credentials.make({
      accessToken: "claude-new",
      refreshToken: "claude-rt-new",
      expiresAt: now + 3_600_000,
      scopes: ["user:inference"]
    }),
    codex: Credentials.make({
      accessToken: jwt({ exp: nowSeconds + 3600 }),
      refreshToken: "codex-rt-new",
      idToken: jwt(account),
      accountId: "acct-1",
      obtainedAt: now
    }),
    copilot: Credentials.make({
      accessToken: "service-new",
      refreshToken: "gho-new",
      expiresAt: now + 60_000
    }),
    gemini: Credentials.make({
      accessToken: "gemini-new",
      refreshToken: "gemini-rt-new",
      expiresAt: now + 60_000
    })
  })[id]!

/** Saves a grant as a login, an import or an export does. */
const put = (provider: Provider.Provider, path: string, credentials: Credentials.Credentials) =>
  Effect.gen(function* () {
    const { storage } = yield* own(provider, path)
    const held = yield* Effect.catchIf(
      storage.load,
      ({ reason }) => reason === "NoGrant",
      () => Effect.succeedNone
    )
    const before = Option.map(held, ({ entry }) => entry)
    yield* storage.commit(
      Entry.saved(before, credentials),
      Option.map(held, ({ version }) => version)
    )
  })

describe("a program that is logged out", () => {
  const mcp = { mcpOAuth: { server: { token: "theirs" } } }
  const blank = { accessToken: "", refreshToken: "", expiresAt: 0 }

  it.effect.each([
    ["claude", { claudeAiOauth: blank, ...mcp }, mcp],
    ["claude", { claudeAiOauth: { ...blank, scopes: [], subscriptionType: "max" }, ...mcp }, mcp],
    ["claude", { claudeAiOauth: { accessToken: null, refreshToken: null }, ...mcp }, mcp],
    ["claude", { claudeAiOauth: { accessToken: "  " }, ...mcp }, mcp],
    ["claude", { claudeAiOauth: {}, ...mcp }, mcp],
    ["claude", { claudeAiOauth: null, ...mcp }, mcp],
    ["codex", { tokens: null, note: 1 }, { note: 1 }],
    ["codex", { tokens: {}, note: 1 }, { note: 1 }],
    ["codex", { tokens: { access_token: "", refresh_token: "", id_token: "" }, note: 1 }, { note: 1 }],
    [
      "codex",
      { OPENAI_API_KEY: "", auth_mode: "chatgpt", tokens: { access_token: null }, note: 1 },
      { note: 1 }
    ],
    ["copilot", { oauth_token: null, note: 1 }, { note: 1 }],
    ["copilot", { oauth_token: {}, copilot_token: null, note: 1 }, { note: 1 }],
    ["copilot", { oauth_token: { access_token: "" }, copilot_token: { token: "" }, note: 1 }, { note: 1 }],
    ["gemini", { access_token: "", refresh_token: null }, {}],
    ["gemini", {}, {}]
  ] as const)(
    "%s: %j holds no grant; a login works and keeps the other keys (F11)",
    ([id, content, theirs]) =>
      Effect.gen(function* () {
        yield* atNow
        const { path, json } = yield* home(content)
        const { storage } = yield* own(builtIn(id), path)
        expect(yield* storage.load).toEqual(Option.none())
        expect(yield* storage.remove).toBe(false)
        expect(json()).toEqual(content)
        yield* put(builtIn(id), path, newGrant(id))
        const held = Option.getOrThrow(yield* storage.load).entry.credentials
        expect(Credentials.sameRefreshToken(held, newGrant(id))).toBe(true)
        expect(json()).toMatchObject(theirs)
        expect(JSON.stringify(json())).not.toContain('"max"')
      }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["claude", { claudeAiOauth: { accessToken: "", refreshToken: "canary" } }, "accessToken is missing"],
    ["claude", { claudeAiOauth: { accessToken: 0, refreshToken: "" } }, "accessToken is not a string"],
    ["claude", { claudeAiOauth: "" }, "claudeAiOauth is not an object"],
    ["codex", { tokens: { refresh_token: "canary" } }, "tokens.access_token is missing"],
    ["codex", { tokens: "" }, "tokens is not an object"],
    ["copilot", { oauth_token: false }, "oauth_token is not an object"],
    ["gemini", { refresh_token: "canary" }, "access_token is missing"],
    ["gemini", { access_token: 7 }, "access_token is not a string"]
  ] as const)("%s: %j is damage, and is told as such", ([id, content, words]) =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(content)
      const { storage } = yield* own(builtIn(id), path)
      const error = yield* Effect.flip(storage.load)
      expect(error).toMatchObject({ _tag: "StorageError", reason: "Malformed" })
      expect(error.message).toContain(words)
      expect(inspect(error, { depth: 9 })).not.toContain("canary")
    }).pipe(Effect.scoped)
  )
})

describe("another grant in the place of the old one", () => {
  it.effect("Codex: nothing of the old account stays, what is the file's does (F12)", () =>
    Effect.gen(function* () {
      yield* atNow
      const bob = {
        ...files.codex(),
        agent_identity: { account_id: "bob", agent_private_key: "bob's" },
        note: "the file's"
      }
      const { path, theirs } = yield* home(bob)
      yield* put(codex, path, newGrant("codex"))
      expect(theirs()).toEqual({
        OPENAI_API_KEY: "sk-theirs",
        auth_mode: "chatgpt",
        note: "the file's",
        tokens: {
          id_token: jwt(account),
          access_token: jwt({ exp: nowSeconds + 3600 }),
          refresh_token: "codex-rt-new",
          account_id: "acct-1"
        },
        last_refresh: new Date(now).toISOString()
      })
    }).pipe(Effect.scoped)
  )

  it.effect("Codex: the account of a grant that does not name it is that of its own id token (F12)", () =>
    Effect.gen(function* () {
      yield* atNow
      const file = files.codex()
      file.tokens.account_id = "bob"
      const { path, json } = yield* home(file)
      const ada = new Credentials.Credentials({ ...newGrant("codex"), accountId: Option.none() })
      yield* put(codex, path, ada)
      expect(json().tokens.account_id).toBe("acct-1")
    }).pipe(Effect.scoped)
  )

  it.effect("Claude: plan, limits, client and account go with the grant that they came with (F12)", () =>
    Effect.gen(function* () {
      yield* atNow
      const bobs = {
        refreshTokenExpiresAt: now + 1,
        rateLimitTier: "bob's",
        clientId: "bob's",
        accountUuid: "bob's",
        organizationUuid: "bob's",
        subscriptionTypeSource: "bob's",
        unheardOf: "bob's"
      }
      const file = files.claude()
      const { path, json } = yield* home({ ...file, claudeAiOauth: { ...file.claudeAiOauth, ...bobs } })
      yield* put(claude, path, newGrant("claude"))
      expect(json()).toMatchObject({ mcpOAuth: file.mcpOAuth })
      expect(json().claudeAiOauth).toEqual({
        accessToken: "claude-new",
        refreshToken: "claude-rt-new",
        expiresAt: now + 3_600_000,
        scopes: ["user:inference"]
      })
    }).pipe(Effect.scoped)
  )

  it.effect("Claude: a grant that is moved brings all of its own, and a refresh keeps it (F12)", () =>
    Effect.gen(function* () {
      yield* atNow
      const adas = {
        ...files.claude().claudeAiOauth,
        clientId: "ada's",
        accountUuid: "ada's",
        unheardOf: [1]
      }
      const from = yield* home({ claudeAiOauth: adas })
      const { storage } = yield* own(claude, from.path)
      const { credentials } = Option.getOrThrow(yield* storage.load).entry
      const bob = files.claude()
      Object.assign(bob.claudeAiOauth, {
        accessToken: "bob",
        refreshToken: "bob",
        accountUuid: "bob's",
        x: 1
      })
      const to = yield* home(bob)
      yield* put(claude, to.path, credentials)
      expect(to.theirs()).toEqual({ mcpOAuth: bob.mcpOAuth, claudeAiOauth: adas })
    }).pipe(Effect.scoped)
  )

  it.effect("Copilot: the service token and the kind of account go with GitHub's token (F12)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.copilot())
      const grant = new Credentials.Credentials({ ...newGrant("copilot"), obtainedAt: Option.some(now) })
      yield* put(copilot, path, grant)
      expect(theirs()).toEqual({
        oauth_token: { access_token: "gho-new", token_type: "bearer", scope: "", created_at: nowSeconds },
        copilot_token: { token: "service-new", expires_at: nowSeconds + 60 },
        created_at: nowSeconds,
        updated_at: nowSeconds,
        note: "theirs"
      })
    }).pipe(Effect.scoped)
  )

  it.effect("Gemini: the whole file is the grant's (F12)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home({
        access_token: "bob",
        refresh_token: "bob",
        id_token: "bob",
        scope: "openid email",
        expiry_date: now + 1,
        unheardOf: "bob's"
      })
      const { storage } = yield* own(gemini, path)
      const bob = Option.getOrThrow(yield* storage.load).entry.credentials
      expect(bob.scopes).toEqual(["openid", "email"])
      expect(bob.expiresAt).toEqual(Option.some(now + 1))
      yield* put(gemini, path, newGrant("gemini"))
      expect(theirs()).toEqual({
        access_token: "gemini-new",
        refresh_token: "gemini-rt-new",
        token_type: "Bearer",
        scope: "",
        expiry_date: now + 60_000
      })
    }).pipe(Effect.scoped)
  )
})

describe("what says which credentials Codex uses", () => {
  it.effect.each([
    [{ OPENAI_API_KEY: "sk-1", auth_mode: "apikey" }, { OPENAI_API_KEY: "sk-1" }],
    [{ OPENAI_API_KEY: "sk-1" }, { OPENAI_API_KEY: "sk-1" }],
    [{ ...files.codex(), auth_mode: "apikey" }, { OPENAI_API_KEY: "sk-theirs" }],
    [
      { OPENAI_API_KEY: null, auth_mode: "personalAccessToken", personal_access_token: "pat" },
      { personal_access_token: "pat" }
    ],
    [{ OPENAI_API_KEY: null, tokens: null }, undefined],
    [undefined, undefined]
  ] as const)(
    "%j: a login sets it to the new grant; a logout leaves what works without it, or no file (F13)",
    ([content, left]) =>
      Effect.gen(function* () {
        yield* atNow
        const { path, json } = yield* home(content)
        yield* put(codex, path, newGrant("codex"))
        expect(json()).toMatchObject({ auth_mode: "chatgpt", tokens: { refresh_token: "codex-rt-new" } })
        if (content?.OPENAI_API_KEY !== undefined) {
          expect(json().OPENAI_API_KEY).toBe(content.OPENAI_API_KEY)
        }
        const { storage } = yield* own(codex, path)
        expect(yield* storage.remove).toBe(true)
        if (left === undefined) expect(fs.existsSync(path)).toBe(false)
        else expect(json()).toEqual(left)
      }).pipe(Effect.scoped)
  )

  it.effect("a refresh is no reason to change what the user has chosen in Codex", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home({ ...files.codex(), auth_mode: "apikey" })
      const { storage } = yield* own(codex, path)
      const { entry, version } = Option.getOrThrow(yield* storage.load)
      const next = new Credentials.Credentials({
        ...entry.credentials,
        refreshToken: Option.some(Redacted.make("codex-rt-2"))
      })
      yield* storage.commit(Entry.refreshed(entry, next), Option.some(version))
      expect(json()).toMatchObject({ auth_mode: "apikey", tokens: { refresh_token: "codex-rt-2" } })
    }).pipe(Effect.scoped)
  )
})

describe("what the owner of a file needs", () => {
  const without = (id: string, changes: Partial<Credentials.Credentials>) =>
    new Credentials.Credentials({ ...newGrant(id), ...changes })
  const token = (text: string) => Option.some(Redacted.make(text))

  it.effect.each([
    ["codex", { idToken: Option.none() }, "tokens.id_token is missing"],
    ["codex", { idToken: token("opaque") }, "tokens.id_token is not a JWT"],
    ["codex", { idToken: token("a.b") }, "tokens.id_token is not a JWT"],
    [
      "codex",
      { idToken: token(`..${Buffer.from("{}").toString("base64url")}`) },
      "tokens.id_token is not a JWT"
    ],
    ["codex", { idToken: token(jwt([])) }, "tokens.id_token is not a JWT"],
    ["codex", { idToken: token(jwt({ email: 7 })) }, "tokens.id_token is not a JWT"],
    [
      "codex",
      { idToken: token(jwt({ "https://api.openai.com/auth": "x" })) },
      "tokens.id_token is not a JWT"
    ],
    ["codex", { refreshToken: Option.none() }, "tokens.refresh_token is missing"],
    [
      "codex",
      { accountId: Option.none(), idToken: token(jwt({ sub: "u" })) },
      "tokens.account_id is missing"
    ],
    ["claude", { scopes: [] }, "claudeAiOauth.scopes are not known"],
    ["copilot", { refreshToken: Option.none() }, "oauth_token.access_token is missing"]
  ] as const)(
    "%s: a grant with %o is refused by name, and nothing is written (F14)",
    ([id, changes, words]) =>
      Effect.gen(function* () {
        yield* atNow
        const provider = builtIn(id)
        const before = { note: "theirs" }
        const { path, json } = yield* home(before)
        const error = yield* Effect.flip(put(provider, path, without(id, changes)))
        expect(error).toMatchObject({ _tag: "StorageError", reason: "Incomplete", location: path })
        expect(error.message).toContain(words)
        expect(inspect(error, { depth: 9 })).not.toContain("-new")
        expect(json()).toEqual(before)
        yield* put(provider, path, newGrant(id))
        expect(json()).toMatchObject(before)
      }).pipe(Effect.scoped)
  )

  it.effect(
    "what is missing already is no reason to lose the rotation of the grant that is there (F14)",
    () =>
      Effect.gen(function* () {
        yield* atNow
        const file: { tokens: Record<string, unknown> } = files.codex()
        delete file.tokens["id_token"]
        const { path, json } = yield* home(file)
        const { storage } = yield* own(codex, path)
        const { entry, version } = Option.getOrThrow(yield* storage.load)
        const next = new Credentials.Credentials({ ...entry.credentials, refreshToken: token("codex-rt-2") })
        yield* storage.commit(Entry.refreshed(entry, next), Option.some(version))
        expect(json().tokens.refresh_token).toBe("codex-rt-2")
      }).pipe(Effect.scoped)
  )
})

describe("the files of Copilot's editors and of Copilot CLI", () => {
  const loaded = (provider: Provider.Provider, content: unknown) =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home(content)
      const { storage } = yield* own(provider, path)
      const found = yield* Effect.either(storage.load)
      expect(json()).toEqual(content)
      return found
    }).pipe(Effect.scoped)
  const app = "github.com:Iv1.b507a08c87ecfe98"
  const ada = { user: "ada", oauth_token: "gho_ada" }
  const enterprise = Either.getOrThrow(
    Provider.fromSettings("copilot-work", {
      ...BuiltIn.copilot,
      server: { tokenEndpoint: "https://octo.ghe.com/login/oauth/access_token" }
    })
  )

  it.effect.each([
    ["apps.json", copilot, { [app]: { ...ada, githubAppId: "Iv1.b507a08c87ecfe98" } }, "gho_ada"],
    ["hosts.json", copilot, { "github.com": ada }, "gho_ada"],
    ["an app of another editor alone", copilot, { "github.com:Iv23ctfURkiMfJ4xr5mv": ada }, "gho_ada"],
    [
      "of several apps the one that is ours",
      copilot,
      { "github.com:Iv23ctfURkiMfJ4xr5mv": { user: "bob", oauth_token: "gho_bob" }, [app]: ada },
      "gho_ada"
    ],
    [
      "beside an enterprise",
      copilot,
      { "octo.ghe.com": { oauth_token: "gho_octo" }, "github.com": ada },
      "gho_ada"
    ],
    [
      "an enterprise",
      enterprise,
      { "octo.ghe.com:Iv1.x": { oauth_token: "gho_octo" }, [app]: ada },
      "gho_octo"
    ],
    [
      "a token that is blank is none",
      copilot,
      { "github.com:x": { oauth_token: "" }, "github.com": ada },
      "gho_ada"
    ],
    ["Copilot CLI", copilot, { copilot_tokens: { "https://github.com:ada": "gho_ada" } }, "gho_ada"],
    [
      "Copilot CLI, as it writes now",
      copilot,
      { copilotTokens: { "https://github.com:ada": "gho_ada" } },
      "gho_ada"
    ]
  ] as const)(
    "%s: GitHub's token is read, and is never served itself (F20)",
    ([_, provider, content, token]) =>
      Effect.gen(function* () {
        const { entry } = Option.getOrThrow(Either.getOrThrow(yield* loaded(provider, content)))
        expect(Redacted.value(Option.getOrThrow(entry.credentials.refreshToken))).toBe(token)
        expect(Option.getOrThrow(entry.credentials.expiresAt)).toBeLessThanOrEqual(now)
      })
  )

  it.effect.each([
    ["another server", { "octo.ghe.com:Iv1.x": { oauth_token: "canary" } }, "NoGrant", "one of octo.ghe.com"],
    [
      "two servers",
      { "octo.ghe.com": { oauth_token: "canary" }, "ghe.acme.example:8443:Iv1.x": { oauth_token: "canary" } },
      "NoGrant",
      "one of octo.ghe.com, ghe.acme.example:8443"
    ],
    [
      "two users, of neither our app",
      { "github.com:a": ada, "github.com:b": { user: "bob", oauth_token: "canary" } },
      "NoGrant",
      "several users of github.com (github.com:a, github.com:b)"
    ],
    ["no text", { "github.com": { user: "ada", oauth_token: 7 } }, "Malformed", "github.com holds no string"],
    [
      "Copilot CLI with the keychain",
      { logged_in_users: [{ host: "https://github.com", login: "ada" }] },
      "NoGrant",
      "Copilot CLI keeps it in the keychain"
    ]
  ] as const)("%s: is told by name (F20)", ([_, content, reason, words]) =>
    Effect.gen(function* () {
      const found = yield* loaded(copilot, content)
      expect(found).toMatchObject({ _tag: "Left", left: { _tag: "StorageError", reason } })
      expect(inspect(found, { depth: 9 })).not.toContain("canary")
      expect(Either.isLeft(found) ? found.left.message : "").toContain(words)
    })
  )

  it.effect("they are never written: an export or a refresh over them is refused, a logout leaves them", () =>
    Effect.gen(function* () {
      yield* atNow
      const content = { [app]: ada }
      const { path, json } = yield* home(content)
      const error = yield* Effect.flip(put(copilot, path, newGrant("copilot")))
      expect(error).toMatchObject({ _tag: "StorageError", reason: "Denied" })
      expect(error.message).toContain("only read")
      const { storage } = yield* File.make({ path, format: CopilotFile.format })
      yield* storage.remove
      expect(json()).toEqual(content)
    }).pipe(Effect.scoped)
  )
})

describe("as the programs find and use their credentials", () => {
  const locate = (provider: Provider.Provider, variables: Record<string, string>) =>
    OwnStorage.locate(provider).pipe(Effect.map(Option.getOrThrow), Edition.withVariables(variables))
  const onMac = new Provider.Provider({ ...claude, credentials: { ...claude.credentials!, keychain: true } })
  const [nfc, nfd] = ["/h/caf\u00e9", "/h/cafe\u0301"]

  it.effect("Claude Code's directory is the same however its name is composed (F19)", () =>
    Effect.gen(function* () {
      const [composed, decomposed] = [
        yield* locate(onMac, { CLAUDE_CONFIG_DIR: nfc }),
        yield* locate(onMac, { CLAUDE_CONFIG_DIR: nfd })
      ]
      expect(decomposed).toEqual(composed)
      expect(composed.file).toBe(Path.join(nfc, ".credentials.json"))
      // Codex has no such rule.
      expect((yield* locate(codex, { CODEX_HOME: nfd })).file).toBe(Path.join(nfd, "auth.json"))
    })
  )

  it.effect.each([
    ["ada", "ada"],
    ["ada.b-c_1", "ada.b-c_1"],
    ["ada@example.com", "claude-code-user"],
    ["ada b", "claude-code-user"]
  ] as const)("the account of Claude Code's keychain item for USER=%s is %s", ([USER, name]) =>
    Effect.map(locate(onMac, { USER }), ({ keychain }) =>
      expect(Option.getOrThrow(keychain).account).toBe(name)
    )
  )

  it.effect("a grant is refreshed as the client that it says it was issued to", () =>
    Effect.gen(function* () {
      yield* atNow
      const { asked, layer } = answering({ body: { access_token: "a", expires_in: 60 } })
      const refresh = (clientId: string | undefined, provider = claude) =>
        Effect.gen(function* () {
          const { refresh: ask } = yield* Refresher.make(provider)
          const extras = clientId === undefined ? {} : { claudeAiOauth: { clientId } }
          yield* ask(Option.some(Credentials.make({ accessToken: "a", refreshToken: "r", extras })))
          return JSON.parse(asked.at(-1)!.body) as Record<string, unknown>
        }).pipe(Effect.provide(layer))
      const usual = claude.client.clientId
      expect((yield* refresh(undefined))["client_id"]).toBe(usual)
      expect((yield* refresh("another"))["client_id"]).toBe("another")
      expect((yield* refresh(" "))["client_id"]).toBe(usual)
      const narrowed = new Provider.Provider({ ...claude, scopes: ["user:profile"] })
      expect((yield* refresh(undefined, narrowed))["scope"]).toBe("user:profile")
    })
  )

  it.effect(
    "what Claude's token endpoint says of the account and the refresh token is written as Claude Code does",
    () =>
      Effect.gen(function* () {
        yield* atNow
        const { path, json } = yield* home()
        const extras = {
          account: { uuid: "u-1" },
          organization: { uuid: "o-1" },
          refresh_token_expires_in: 60
        }
        const grant = newGrant("claude")
        yield* put(
          claude,
          path,
          new Credentials.Credentials({
            ...grant,
            obtainedAt: Option.some(now),
            extras: Redacted.make(extras)
          })
        )
        expect(json().claudeAiOauth).toMatchObject({
          accountUuid: "u-1",
          organizationUuid: "o-1",
          refreshTokenExpiresAt: now + 60_000
        })
      }).pipe(Effect.scoped)
  )
})
