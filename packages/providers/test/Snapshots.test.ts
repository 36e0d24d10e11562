/** The display of each provider's grant, and its account. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Profile } from "@latchkey/core"
import { Profiles, type Provider, SavedProfile, Snapshots } from "@latchkey/providers"
import { Effect, Option, Redacted } from "effect"
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
  managed,
  own
} from "./support/world.js"
import * as Edition from "../../core/test/support/Edition.js"

const snapshotOf = (provider: Provider.Provider, file: unknown) =>
  Effect.gen(function* () {
    yield* atNow
    const { path } = yield* home(file)
    return Option.getOrThrow(yield* managed(provider, path, answering({}).layer, (m) => m.snapshot))
  }).pipe(Effect.scoped)

const revealed = (token: Option.Option<Redacted.Redacted>) =>
  Option.getOrNull(Option.map(token, Redacted.value))

describe("snapshots", () => {
  it.effect("from Claude credentials", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf(claude, files.claude())
      expect(snapshot).toMatchObject({
        provider: "claude-api",
        scopes: ["user:inference", "user:profile"],
        extras: { subscription_type: "max" }
      })
      expect([revealed(snapshot.accessToken), revealed(snapshot.refreshToken)]).toEqual([
        "claude-at-1",
        "claude-rt-1"
      ])
      // (11) No look at it shows a token, and it cannot be changed unnoticed.
      expect(inspect(snapshot, { depth: 9 }) + JSON.stringify(snapshot) + String(snapshot)).not.toContain(
        "claude-at"
      )
    })
  )

  it.effect("from Codex credentials", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf(codex, files.codex())
      expect(snapshot).toMatchObject({
        provider: "codex",
        accountId: Option.some("acct-1"),
        extras: { id_token_present: true }
      })
      const bare = Credentials.make({ accessToken: "a" })
      expect(Snapshots.make(codex, bare).extras).toEqual({ id_token_present: false })
    })
  )

  it.effect("from Copilot credentials: scopes in one text become two", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf(copilot, files.copilot())
      expect(snapshot).toMatchObject({
        provider: "copilot",
        scopes: ["read:user", "gist"],
        extras: { account_type: "individual", has_copilot_token: true }
      })
      const { copilot_token: _, ...file } = files.copilot()
      expect((yield* snapshotOf(copilot, file)).extras).toEqual({
        account_type: "individual",
        has_copilot_token: false
      })
    })
  )

  it("from others: no extras", () => {
    const snapshot = Snapshots.make(builtIn("google"), Credentials.make({ accessToken: "a" }))
    expect(snapshot).toMatchObject({ provider: "google", extras: {} })
  })
})

const fetched = (
  provider: Provider.Provider,
  credentials: Credentials.Credentials,
  status: number,
  body: unknown
) => {
  const { asked, layer } = answering({ status, body })
  return Effect.gen(function* () {
    const source = yield* Profiles.make(provider)
    const profile = yield* Effect.either(source.fetch(credentials))
    return { asked, profile, quick: source.quick(credentials) }
  }).pipe(Effect.provide(layer))
}

describe("profiles, unified: accountId, email, displayName, provider, extras", () => {
  const grant = Credentials.make({ accessToken: "at-canary", refreshToken: "rt-canary" })
  const answer = {
    account: { uuid: "u-1", email: "me@example.com", full_name: "Me", has_claude_max: true },
    organization: { name: "Org" }
  }

  it.effect("Claude: from the API's answer, which stays whole in the extras", () =>
    Effect.gen(function* () {
      const { asked, profile, quick } = yield* fetched(claude, grant, 200, answer)
      expect(profile).toMatchObject({
        _tag: "Right",
        right: {
          provider: "claude-api",
          accountId: Option.some("u-1"),
          email: Option.some("me@example.com"),
          displayName: Option.some("Me"),
          extras: answer
        }
      })
      expect(asked[0]).toMatchObject({
        url: "https://api.anthropic.com/api/oauth/profile",
        headers: { authorization: "Bearer at-canary" }
      })
      expect(quick).toEqual(Profile.make({ provider: "claude-api" }))
    })
  )

  it.effect("Codex: from the id token, without a request; the plan among the claims", () =>
    Effect.gen(function* () {
      const credentials = Credentials.make({
        accessToken: "a",
        idToken: jwt({ sub: "user-1", email: "me@example.com", name: "Me", ...account }),
        accountId: "acct-1"
      })
      const { asked, profile, quick } = yield* fetched(codex, credentials, 500, "")
      expect(quick).toMatchObject({
        provider: "codex",
        accountId: Option.some("acct-1"),
        email: Option.some("me@example.com"),
        displayName: Option.some("Me"),
        extras: account
      })
      expect(profile).toMatchObject({ _tag: "Right", right: quick })
      expect(asked).toHaveLength(0)
    })
  )

  it.effect("Copilot: from GitHub, with GitHub's token; the quick one does no I/O (14)", () =>
    Effect.gen(function* () {
      const user = { id: 42, login: "me", name: null, email: null, plan: { name: "free" } }
      const { asked, profile, quick } = yield* fetched(copilot, grant, 200, user)
      expect(profile).toMatchObject({
        _tag: "Right",
        right: {
          accountId: Option.some("42"),
          email: Option.none(),
          displayName: Option.some("me"),
          extras: user
        }
      })
      expect(asked).toHaveLength(1)
      expect(asked[0]!.headers["authorization"]).toBe("Bearer rt-canary")
      expect(quick).toEqual(Profile.make({ provider: "copilot" }))
    })
  )

  it.effect.each([
    [401, {}, "Rejected"],
    [403, {}, "Rejected"],
    [500, {}, "Unavailable"],
    [404, {}, "Malformed"],
    [200, "<html>", "Malformed"]
  ] as const)("an answer of %j is told as such, without a token", ([status, body, reason]) =>
    Effect.gen(function* () {
      const { profile } = yield* fetched(claude, grant, status, body)
      expect(profile).toMatchObject({ _tag: "Left", left: { _tag: "ProfileError", reason } })
      expect(inspect(profile, { depth: 9 })).not.toContain("canary")
    })
  )

  it.effect("Claude's profile is kept in its program's file, whole, and read back", () =>
    Effect.gen(function* () {
      const { folder } = yield* home()
      const inFolder = Edition.withVariables({ CLAUDE_CONFIG_DIR: folder })
      const path = Path.join(folder, ".account.json")
      expect(yield* inFolder(SavedProfile.load(claude))).toEqual(Option.none())
      const profile = Profiles.fromDocument(claude, answer)
      yield* inFolder(SavedProfile.save(claude, profile))
      expect(JSON.parse(fs.readFileSync(path, "utf8"))).toEqual(answer)
      expect(fs.statSync(path).mode & 0o777).toBe(0o600)
      expect(fs.readdirSync(folder)).toEqual([".account.json"])
      expect(yield* inFolder(SavedProfile.load(claude))).toEqual(Option.some(profile))
      fs.writeFileSync(path, "[]")
      expect(yield* Effect.flip(inFolder(SavedProfile.load(claude)))).toMatchObject({ reason: "Malformed" })
      expect(yield* SavedProfile.load(codex)).toEqual(Option.none())
      fs.rmSync(path)
      fs.mkdirSync(path)
      expect(yield* Effect.flip(inFolder(SavedProfile.load(claude)))).toMatchObject({ reason: "Unavailable" })
      expect(yield* Effect.flip(inFolder(SavedProfile.save(claude, profile)))).toMatchObject({
        reason: "Unavailable"
      })
    }).pipe(Effect.scoped)
  )

  it.effect("a stand-in for a service token is not shown to anybody", () =>
    Effect.gen(function* () {
      yield* atNow
      const { copilot_token: _, ...file } = files.copilot()
      const { path } = yield* home(file)
      const { storage } = yield* own(copilot, path)
      const { credentials } = Option.getOrThrow(yield* storage.load).entry
      const withAccessToken = { ...copilot, profile: { ...copilot.profile, token: "accessToken" as const } }
      const { asked, profile } = yield* fetched(withAccessToken, credentials, 200, {})
      expect(profile).toMatchObject({ _tag: "Left", left: { reason: "Rejected" } })
      expect(asked).toHaveLength(0)
    }).pipe(Effect.scoped)
  )
})
