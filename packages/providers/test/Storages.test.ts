/** The files of Claude Code, Codex and Copilot: read, written, refused, without loss of their other data. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry } from "@latchkey/core"
import { OwnStorage, Provider } from "@latchkey/providers"
import { Effect, Either, Option, Redacted, TestClock } from "effect"
import * as fs from "node:fs"
import { homedir } from "node:os"
import * as Path from "node:path"
import { inspect } from "node:util"
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

const plain = (c: Credentials.Credentials) => ({
  access: Redacted.value(c.accessToken),
  refresh: Option.getOrNull(Option.map(c.refreshToken, Redacted.value)),
  expiresAt: Option.getOrNull(c.expiresAt),
  refreshAt: Option.getOrNull(c.refreshAt),
  scopes: c.scopes,
  accountId: Option.getOrNull(c.accountId)
})

const loaded = (provider: Provider.Provider, path: string) =>
  Effect.flatMap(own(provider, path), ({ storage }) => Effect.map(storage.load, Option.getOrThrow))

/** Writes what a refresh would, in place of what is there. */
const rotate = (provider: Provider.Provider, path: string, next: Partial<Credentials.Credentials>) =>
  Effect.gen(function* () {
    const { storage } = yield* own(provider, path)
    const before = Option.getOrThrow(yield* storage.load)
    const credentials = new Credentials.Credentials({ ...before.entry.credentials, ...next })
    yield* storage.commit(Entry.refreshed(before.entry, credentials), Option.some(before.version))
    return yield* Effect.map(storage.load, Option.getOrThrow)
  })

const redacted = (token: string) => Option.some(Redacted.make(token))

describe("Claude storage", () => {
  it.effect("the token wrapper: milliseconds, scopes, the subscription", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.claude())
      const { entry } = yield* loaded(claude, path)
      expect(plain(entry.credentials)).toEqual({
        access: "claude-at-1",
        refresh: "claude-rt-1",
        expiresAt: now + 3_600_000,
        refreshAt: null,
        scopes: ["user:inference", "user:profile"],
        accountId: null
      })
      expect(Redacted.value(entry.credentials.extras)["subscription_type"]).toBe("max")
      expect(inspect(entry, { depth: 9 })).not.toContain("claude-")
    }).pipe(Effect.scoped)
  )

  it.effect("a save keeps every key that is not ours, of the file and of the object (8)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.claude())
      yield* rotate(claude, path, {
        accessToken: Redacted.make("claude-at-2"),
        refreshToken: redacted("claude-rt-2"),
        expiresAt: Option.some(now + 7_200_000)
      })
      const expected = files.claude(now + 7_200_000)
      Object.assign(expected.claudeAiOauth, { accessToken: "claude-at-2", refreshToken: "claude-rt-2" })
      expect(theirs()).toEqual(expected)
    }).pipe(Effect.scoped)
  )

  it.effect("a grant that is moved to a new file brings the rest of its object along", () =>
    Effect.gen(function* () {
      yield* atNow
      const from = yield* home(files.claude())
      const to = yield* home()
      const { entry } = yield* loaded(claude, from.path)
      const { storage } = yield* own(claude, to.path)
      yield* storage.commit(entry, Option.none())
      expect(to.theirs()).toEqual({ claudeAiOauth: files.claude().claudeAiOauth })
    }).pipe(Effect.scoped)
  )

  it.effect("a logout removes the grant, and nothing else", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, json } = yield* home(files.claude())
      const { storage } = yield* own(claude, path)
      expect(yield* storage.remove).toBe(true)
      expect(json()).toEqual({ mcpOAuth: files.claude().mcpOAuth })
      expect(yield* storage.remove).toBe(false)
    }).pipe(Effect.scoped)
  )

  it.effect("a blank refresh token, as a careless writer leaves it, is none (4)", () =>
    Effect.gen(function* () {
      yield* atNow
      const file = files.claude()
      file.claudeAiOauth.refreshToken = ""
      const { path } = yield* home(file)
      expect(plain((yield* loaded(claude, path)).entry.credentials).refresh).toBeNull()
    }).pipe(Effect.scoped)
  )
})

describe("Codex storage", () => {
  it.effect("the expiry is that of the access token, the account that of the id token", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.codex())
      const { entry } = yield* loaded(codex, path)
      expect(plain(entry.credentials)).toMatchObject({
        refresh: "codex-rt-1",
        expiresAt: now + 3_600_000,
        accountId: "acct-1"
      })
      expect(Option.isSome(entry.credentials.idToken)).toBe(true)
    }).pipe(Effect.scoped)
  )

  it.effect("the account is never the subject, even where another writer has put that there (6)", () =>
    Effect.gen(function* () {
      yield* atNow
      const file = files.codex()
      file.tokens.account_id = "user-1"
      const { path, json } = yield* home(file)
      const { entry } = yield* rotate(codex, path, { obtainedAt: Option.some(now) })
      expect(plain(entry.credentials).accountId).toBe("acct-1")
      expect(json().tokens.account_id).toBe("acct-1")
    }).pipe(Effect.scoped)
  )

  it.effect("without a claim the account is the one in the file, and without both there is none (6)", () =>
    Effect.gen(function* () {
      yield* atNow
      const file = files.codex()
      file.tokens.id_token = jwt({ sub: "user-1" })
      const { path } = yield* home(file)
      expect(plain((yield* loaded(codex, path)).entry.credentials).accountId).toBe("acct-1")
      const {
        tokens: { account_id: _, ...tokens }
      } = file
      const other = yield* home({ tokens })
      expect(plain((yield* loaded(codex, other.path)).entry.credentials).accountId).toBeNull()
    }).pipe(Effect.scoped)
  )

  it.effect("a token that cannot be decoded has an unknown expiry, not today's midnight (6)", () =>
    Effect.gen(function* () {
      yield* atNow
      const file = files.codex()
      file.tokens.access_token = "opaque"
      const { path } = yield* home(file)
      expect(plain((yield* loaded(codex, path)).entry.credentials).expiresAt).toBeNull()
    }).pipe(Effect.scoped)
  )

  it.effect("a save keeps the API key, the mode and what it does not know, and says when (8)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.codex())
      const next = jwt({ exp: nowSeconds + 7200, jti: "2" })
      yield* rotate(codex, path, {
        accessToken: Redacted.make(next),
        refreshToken: redacted("codex-rt-2"),
        obtainedAt: Option.some(now)
      })
      const expected = files.codex()
      Object.assign(expected.tokens, { access_token: next, refresh_token: "codex-rt-2" })
      expect(theirs()).toEqual({ ...expected, last_refresh: new Date(now).toISOString() })
    }).pipe(Effect.scoped)
  )

  it.effect("a file with an API key alone is told as such (8), keeps it, and takes a grant beside it", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home({ OPENAI_API_KEY: "sk-canary" })
      const { storage } = yield* own(codex, path)
      const error = yield* Effect.flip(storage.load)
      expect(error).toMatchObject({ _tag: "StorageError", reason: "NoGrant" })
      expect(error.message).toContain(`In ${path}, tokens are missing: the file holds an API key`)
      expect(error.message).not.toContain("canary")
      expect(yield* storage.remove).toBe(false)
      const grant = Credentials.make({
        accessToken: jwt({ exp: nowSeconds + 60 }),
        refreshToken: "rt",
        idToken: jwt(account),
        accountId: "acct-1"
      })
      yield* storage.commit(Entry.first(grant), Option.none())
      expect(theirs()).toMatchObject({ OPENAI_API_KEY: "sk-canary", tokens: { refresh_token: "rt" } })
      expect(yield* storage.remove).toBe(true)
      expect(theirs()).toEqual({ OPENAI_API_KEY: "sk-canary" })
    }).pipe(Effect.scoped)
  )
})

describe("Copilot storage", () => {
  const refreshed = {
    accessToken: Redacted.make("service-2"),
    obtainedAt: Option.some(now + 1000),
    expiresAt: Option.some(now + 1_501_000)
  }

  it.effect("two levels: the service token is for callers, GitHub's is what it is renewed with", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.copilot())
      const { entry } = yield* loaded(copilot, path)
      expect(plain(entry.credentials)).toEqual({
        access: "service-1",
        refresh: "gho-1",
        expiresAt: now + 1_500_000,
        refreshAt: now + 1_200_000,
        scopes: ["read:user", "gist"],
        accountId: null
      })
    }).pipe(Effect.scoped)
  )

  it.effect("creates its folder; instants are epoch seconds; a round trip brings all back", () =>
    Effect.gen(function* () {
      yield* atNow
      const { folder } = yield* home()
      const path = Path.join(folder, "deep", "er", "credentials.json")
      const { storage } = yield* own(copilot, path)
      const grant = Credentials.make({
        accessToken: "service-1",
        refreshToken: "gho-1",
        obtainedAt: now,
        expiresAt: now + 1_500_000,
        scopes: ["read:user"],
        extras: { account_type: "business", copilot_token: { refresh_in: 1200 } }
      })
      yield* storage.commit(Entry.first(grant), Option.none())
      const { latchkey: _, ...written } = JSON.parse(fs.readFileSync(path, "utf8"))
      expect(written).toEqual({
        oauth_token: {
          access_token: "gho-1",
          token_type: "bearer",
          scope: "read:user",
          created_at: nowSeconds
        },
        copilot_token: { token: "service-1", expires_at: nowSeconds + 1500, refresh_in: 1200 },
        account_type: "business",
        created_at: nowSeconds,
        updated_at: nowSeconds
      })
      const back = Option.getOrThrow(yield* storage.load).entry.credentials
      expect(plain(back)).toEqual({ ...plain(grant), refreshAt: now + 1_200_000 })
      expect(Redacted.value(back.extras)).toEqual(Redacted.value(grant.extras))
    }).pipe(Effect.scoped)
  )

  it.effect("a save touches updated_at, and keeps what it does not know (8)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path, theirs } = yield* home(files.copilot())
      yield* rotate(copilot, path, refreshed)
      const expected = files.copilot(nowSeconds + 1501)
      Object.assign(expected, { updated_at: nowSeconds + 1 })
      Object.assign(expected.copilot_token, { token: "service-2" })
      expect(theirs()).toEqual(expected)
    }).pipe(Effect.scoped)
  )

  it.effect("without a service token GitHub's stands in, expired, and is never written as one", () =>
    Effect.gen(function* () {
      yield* atNow
      const { copilot_token: _, ...file } = files.copilot()
      const { path, json } = yield* home(file)
      const { entry } = yield* rotate(copilot, path, { obtainedAt: Option.some(now) })
      expect(plain(entry.credentials)).toMatchObject({ access: "gho-1", refresh: "gho-1" })
      expect(plain(entry.credentials).expiresAt).toBeLessThanOrEqual(now)
      expect(json()).not.toHaveProperty("copilot_token")
    }).pipe(Effect.scoped)
  )

  it.effect("another login leaves nothing of the former GitHub token behind", () =>
    Effect.gen(function* () {
      yield* atNow
      const file = files.copilot()
      Object.assign(file.oauth_token, { refresh_token: "ghr-1", expires_in: 100 })
      const { path, json } = yield* home(file)
      yield* rotate(copilot, path, { ...refreshed, refreshToken: redacted("gho-2") })
      expect(json().oauth_token).toEqual({
        access_token: "gho-2",
        token_type: "bearer",
        scope: "read:user gist",
        created_at: nowSeconds + 1
      })
    }).pipe(Effect.scoped)
  )

  it.effect("delete: present, absent, and denied where a folder is in its place", () =>
    Effect.gen(function* () {
      yield* atNow
      const { folder, path, json } = yield* home(files.copilot())
      const { storage } = yield* own(copilot, path)
      expect(yield* storage.remove).toBe(true)
      expect(json()).toEqual({ note: "theirs" })
      expect(yield* storage.remove).toBe(false)
      const denied = yield* own(copilot, folder)
      expect(yield* Effect.flip(denied.storage.remove)).toMatchObject({ _tag: "StorageError" })
      expect(yield* Effect.flip(denied.storage.load)).toMatchObject({ _tag: "StorageError" })
    }).pipe(Effect.scoped)
  )

  it.effect("a write that fails is an error that names the path, and leaves the file as it was", () =>
    Effect.gen(function* () {
      yield* atNow
      const { folder } = yield* home(files.copilot())
      const path = Path.join(folder, "credentials.json", "below-a-file.json")
      const { storage } = yield* own(copilot, path)
      const grant = Entry.first(Credentials.make({ accessToken: "s", refreshToken: "g" }))
      const error = yield* Effect.flip(storage.commit(grant, Option.none()))
      expect(error).toMatchObject({ _tag: "StorageError", location: path })
    }).pipe(Effect.scoped)
  )

  it.effect("of two saves at once one goes through, the other is told; two loads see the same", () =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(files.copilot())
      const [first, second] = [yield* own(copilot, path), yield* own(copilot, path)]
      const before = Option.getOrThrow(yield* first.storage.load)
      const entry = (token: string) =>
        Entry.refreshed(
          before.entry,
          new Credentials.Credentials({ ...before.entry.credentials, accessToken: Redacted.make(token) })
        )
      const saves = yield* Effect.all(
        [
          Effect.either(first.storage.commit(entry("a"), Option.some(before.version))),
          Effect.either(second.storage.commit(entry("b"), Option.some(before.version)))
        ],
        { concurrency: 2 }
      )
      expect(saves.filter(Either.isRight)).toHaveLength(1)
      expect(saves.filter(Either.isLeft)[0]?.left).toMatchObject({
        _tag: "CommitRefused",
        reason: "Conflict"
      })
      const loads = yield* Effect.all([first.storage.load, second.storage.load], { concurrency: 2 })
      expect(loads[0]).toEqual(loads[1])
    }).pipe(Effect.scoped)
  )
})

describe("what is refused, by its place, and nothing quoted", () => {
  const codexWith = (tokens: object) => ({ tokens: { ...files.codex().tokens, ...tokens } })
  const copilotWith = (part: "oauth_token" | "copilot_token", changes: object) => {
    const file = files.copilot()
    return { ...file, [part]: { ...file[part], ...changes } }
  }

  it.effect.each([
    ["claude", "{", "Malformed", ""],
    ["claude", "[]", "Malformed", ""],
    ["claude", { claudeAiOauth: "canary" }, "Malformed", "claudeAiOauth is not an object"],
    [
      "claude",
      { claudeAiOauth: { refreshToken: "canary" } },
      "Malformed",
      "claudeAiOauth.accessToken is missing"
    ],
    [
      "claude",
      { claudeAiOauth: { accessToken: 1 } },
      "Malformed",
      "claudeAiOauth.accessToken is not a string"
    ],
    ["claude", files.claude("canary"), "Malformed", "claudeAiOauth.expiresAt is not a number"],
    ["claude", files.claude(nowSeconds), "WrongUnit", "it may be in seconds, not milliseconds"],
    ["claude", files.claude(now * 1000), "WrongUnit", "it may be in microseconds, not milliseconds"],
    ["codex", "", "Malformed", ""],
    ["codex", { tokens: ["canary"] }, "Malformed", "tokens is not an object"],
    ["codex", codexWith({ access_token: null }), "Malformed", "tokens.access_token is missing"],
    ["codex", codexWith({ refresh_token: ["canary"] }), "Malformed", "tokens.refresh_token is not a string"],
    [
      "codex",
      files.codex(now),
      "WrongUnit",
      "tokens.access_token has an exp that is not a time in epoch seconds"
    ],
    ["copilot", "nonsense", "Malformed", ""],
    ["copilot", { oauth_token: "canary" }, "Malformed", "oauth_token is not an object"],
    [
      "copilot",
      copilotWith("oauth_token", { access_token: 5 }),
      "Malformed",
      "oauth_token.access_token is not a string"
    ],
    ["copilot", files.copilot("canary"), "Malformed", "copilot_token.expires_at is not a number"],
    ["copilot", files.copilot(now), "WrongUnit", "it may be in milliseconds, not seconds"],
    ["copilot", copilotWith("oauth_token", { scope: 7 }), "Malformed", "oauth_token.scope"]
  ] as const)("%s: %j", ([id, content, reason, words]) =>
    Effect.gen(function* () {
      yield* atNow
      const { path } = yield* home(content)
      const { storage } = yield* own(builtIn(id), path)
      const error = yield* Effect.flip(storage.load)
      expect(error).toMatchObject({ _tag: "StorageError", reason, location: path })
      expect(error.message).toContain(words)
      expect(inspect(error, { depth: 9 })).not.toContain("canary")
      const after = fs.readFileSync(path, "utf8")
      expect(after).toBe(typeof content === "string" ? content : JSON.stringify(content, null, 2))
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["claude", undefined],
    ["claude", { mcpOAuth: {} }],
    ["claude", { claudeAiOauth: null }],
    ["codex", {}],
    ["codex", { tokens: null, OPENAI_API_KEY: null }],
    ["copilot", { copilot_token: { token: "without its GitHub token" } }]
  ] as const)("%s: %j holds no grant, and that is no error", ([id, content]) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      const { path } = yield* home(content)
      const { storage } = yield* own(builtIn(id), path)
      expect(yield* storage.load).toEqual(Option.none())
    }).pipe(Effect.scoped)
  )
})

describe("where the file is", () => {
  const locate = (provider: Provider.Provider, variables: Record<string, string> = {}) =>
    Effect.runSync(OwnStorage.locate(provider).pipe(Edition.withVariables(variables)))
  const fileOf = (provider: Provider.Provider, variables: Record<string, string> = {}) =>
    Option.getOrThrow(locate(provider, variables)).file

  it("by default and custom path", () => {
    expect(fileOf(claude)).toBe(Path.join(homedir(), ".claude", ".credentials.json"))
    expect(fileOf(codex)).toBe(Path.join(homedir(), ".codex", "auth.json"))
    expect(fileOf(copilot)).toBe(Path.join(homedir(), ".config", "copilot", "credentials.json"))
    expect(fileOf(claude, { CLAUDE_CONFIG_DIR: "/elsewhere" })).toBe("/elsewhere/.credentials.json")
    expect(fileOf(codex, { CODEX_HOME: "~/elsewhere" })).toBe(Path.join(homedir(), "elsewhere", "auth.json"))
  })

  it("is nowhere for a provider without one, which is told", () => {
    expect(locate(builtIn("google"))).toEqual(Option.none())
    const error = Effect.runSync(Effect.flip(OwnStorage.make(builtIn("google"))))
    expect(error).toMatchObject({ _tag: "ProviderError", reason: "NotOffered" })
  })

  it("the keychain item is Claude Code's, with a suffix for its directory", () => {
    const settings = { ...claude, credentials: { ...claude.credentials!, keychain: true } }
    const mac = new Provider.Provider(settings)
    const item = (variables: Record<string, string>) =>
      Option.getOrThrow(Option.getOrThrow(locate(mac, variables)).keychain)
    expect(item({}).service).toBe("Claude Code-credentials")
    expect(item({}).account).not.toBe("")
    // echo -n /elsewhere | sha256sum
    expect(item({ CLAUDE_CONFIG_DIR: "/elsewhere" }).service).toBe("Claude Code-credentials-b660bf8d")
    expect(Option.isNone(Option.getOrThrow(locate(codex, {})).keychain)).toBe(true)
  })
})
