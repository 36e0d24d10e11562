/** The registry: built-in providers, the user's file, the environment; and the settings' schema. */
import { describe, expect, it } from "@effect/vitest"
import { BuiltIn, Providers, ProviderSettings } from "@latchkey/providers"
import { Effect, Either, Layer, Option, Redacted, Schema } from "effect"
import * as fs from "node:fs"
import { inspect } from "node:util"
import { leaves } from "../src/internal/variables.js"
import { variableName } from "../src/internal/variableName.js"
import { builtIn, home } from "./support/world.js"
import * as Edition from "../../core/test/support/Edition.js"

const env = (variables: Readonly<Record<string, string>>) => Edition.layerVariables(variables)

/** A registry over a file with these providers, in this environment. */
const registry = <A, E>(
  providers: object | undefined,
  variables: Readonly<Record<string, string>>,
  use: (registry: Providers.Registry) => Effect.Effect<A, E>
) =>
  Effect.gen(function* () {
    const { path } = yield* home(providers === undefined ? undefined : { providers })
    const layer = Providers.layerConfig({ file: path }).pipe(Layer.provideMerge(env(variables)))
    return yield* Effect.flatMap(Providers.Providers, use).pipe(Effect.provide(layer))
  }).pipe(Effect.scoped)

const get = (providers: object | undefined, id: string, variables: Readonly<Record<string, string>> = {}) =>
  registry(providers, variables, (r) => Effect.either(r.get(id)))

describe("the built-in providers", () => {
  it.each(Object.keys(BuiltIn.providers))("%s is sound", (id) => {
    const provider = builtIn(id)
    expect(provider.id).toBe(id)
    expect(provider.login.ways.length).toBeGreaterThan(0)
  })

  it("are what the facts say", () => {
    expect(builtIn("claude")).toMatchObject({
      name: "claude-api",
      token: { encoding: "json" },
      login: { sendState: true, authorizationParameters: { code: "true" } },
      rotation: { _tag: "Rotating" }
    })
    expect(builtIn("codex").refresh).toEqual({ by: "refreshToken", sendScopes: true })
    expect(builtIn("copilot")).toMatchObject({ refresh: { by: "exchange" }, rotation: { _tag: "Reusable" } })
    expect(builtIn("google").server).toEqual({ issuer: "https://accounts.google.com", discovery: "oidc" })
  })
})

describe("the user's file", () => {
  it.effect("adds providers, and changes built-in ones key by key", () =>
    registry(
      {
        acme: { server: { issuer: "https://id.acme.example" }, client: { id: "app" } },
        claude: { scopes: ["user:profile"], login: { authorizationParameters: { prompt: "login" } } },
        "claude-work": { extends: "claude", displayName: "Claude at work" }
      },
      {},
      (r) =>
        Effect.gen(function* () {
          expect(yield* r.ids).toEqual([...Object.keys(BuiltIn.providers), "acme", "claude-work"].sort())
          expect((yield* r.get("acme")).server).toEqual({ issuer: "https://id.acme.example" })
          const claude = yield* r.get("claude")
          expect(claude.scopes).toEqual(["user:profile"])
          expect(claude.login.authorizationParameters).toEqual({ code: "true", prompt: "login" })
          const work = yield* r.get("claude-work")
          expect(work).toMatchObject({ id: "claude-work", displayName: "Claude at work", name: "claude-api" })
          expect(work.scopes).toEqual(["user:profile"])
        })
    )
  )

  it.effect("a new issuer takes the place of the endpoints that were there", () =>
    Effect.gen(function* () {
      const issuer = "https://login.microsoftonline.com/tenant/v2.0"
      const microsoft = yield* get({ microsoft: { server: { issuer } } }, "microsoft")
      expect(microsoft).toMatchObject({ _tag: "Right", right: { server: { issuer } } })
      expect(Either.getOrThrow(microsoft).server).not.toHaveProperty("tokenEndpoint")
    })
  )

  it.effect("need not be there", () =>
    Effect.map(get(undefined, "codex"), (found) => expect(Either.isRight(found)).toBe(true))
  )

  it.effect("one provider that is wrong stands in nobody else's way, and is told by its place", () =>
    registry({ bad: { serve: {} }, "Not An Id": {} }, {}, (r) =>
      Effect.gen(function* () {
        expect((yield* r.get("claude")).id).toBe("claude")
        const wrong = (yield* r.all).flatMap((one) => (Either.isLeft(one) ? [one.left.message] : []))
        expect(wrong).toHaveLength(2)
        expect(wrong.join()).toMatch(/providers\.bad, serve is not a setting: see providers\.schema\.json/)
        expect(wrong.join()).toMatch(/Not An Id, the id is not valid/)
      })
    )
  )

  const issuer = { issuer: "https://id.example.com" }
  it.effect.each([
    [{}, "server names neither issuer nor tokenEndpoint"],
    [{ server: "canary" }, "server is not valid here"],
    [{ server: { issuer: "http://id.example.com" } }, "server.issuer must be https"],
    [{ server: { issuer: "https://canary:canary@id.example.com" } }, "server.issuer has user info"],
    [{ server: { tokenEndpoint: "https://id.example.com/#x" } }, "server.tokenEndpoint has a fragment"],
    [
      { server: { ...issuer, jwksUri: "https://id.example.com/jwks" } },
      "server.jwksUri needs a tokenEndpoint"
    ],
    [{ server: issuer, refresh: { keepAlive: "23 hours" } }, "refresh.keepAlive is shorter than a day"],
    [{ server: issuer, client: { secret: 5150 } }, "client.secret is not valid here"],
    [{ server: issuer, client: { id: "" } }, "client.id is not valid here"],
    [
      { server: issuer, client: { authentication: "magic" } },
      'client.authentication is not valid here: "none", "basic", "post", "secretJwt"'
    ],
    [{ server: issuer, login: { ways: [] } }, "login.ways.0 is missing"],
    [{ server: issuer, login: { ways: ["telepathy"] } }, '"clientCredentials"'],
    [{ server: issuer, rotation: { window: "-5 seconds" } }, "rotation.window is not a duration"],
    [{ server: issuer, rotation: { window: "Infinity" } }, "rotation.window is not a duration"],
    [{ server: issuer, refresh: { by: "exchange" } }, "refresh.endpoint is missing"],
    [{ server: issuer, profile: { from: "endpoint" } }, "profile.endpoint is missing"],
    [{ server: issuer, credentials: { format: "claude" } }, "credentials.file is missing"],
    [{ server: issuer, account: { path: [] } }, "account.path.0 is missing"],
    [{ extends: "nobody" }, 'extends "nobody", which does not exist'],
    [{ extends: 7 }, "extends is not a string"],
    [{ extends: "other" }, "extends refers back to itself"],
    ["canary", "the settings are not an object"],
    [[], "the settings are not an object"]
  ] as const)("%j is refused", ([settings, words]) =>
    Effect.gen(function* () {
      const found = yield* get({ mine: settings, other: { extends: "mine" } }, "mine")
      const error = Either.getOrThrow(Either.flip(found))
      expect(error).toMatchObject({ _tag: "ProviderError", provider: "mine" })
      expect(error.message).toContain(words)
      expect(inspect(error, { depth: 9 })).not.toMatch(/canary|5150/)
    })
  )

  it.effect.each([
    ["{", "is not JSON"],
    ["[]", "is not a JSON object"],
    ['{"provider":{}}', 'has "provider" at its top level'],
    ["{}", 'holds no object under "providers"'],
    [" ".repeat(1_048_577), "is larger than"]
  ] as const)("%s is refused as a whole, with its path", ([text, words]) =>
    Effect.gen(function* () {
      const { path } = yield* home(text)
      const { get: ask } = yield* Providers.make({ file: path })
      const error = yield* Effect.flip(ask("claude"))
      expect(error).toMatchObject({ _tag: "ProviderError", reason: "Malformed" })
      expect(error.message).toContain(path)
      expect(error.message).toContain(words)
    }).pipe(Effect.scoped)
  )

  it.effect("a folder in its place is an error; a secret that others may read too", () =>
    Effect.gen(function* () {
      const { folder, path } = yield* home({
        providers: { acme: { server: issuer, client: { id: "app", secret: "canary" } } }
      })
      const ask = (file: string) =>
        Effect.flatMap(Providers.make({ file }), (r) => Effect.either(r.get("acme")))
      const acme = Either.getOrThrow(yield* ask(path))
      expect(Option.map(Option.fromNullable(acme.client.secret), Redacted.value)).toEqual(
        Option.some("canary")
      )
      expect(acme.client.authentication).toBe("basic")
      expect(inspect(acme, { depth: 9 })).not.toContain("canary")
      fs.chmodSync(path, 0o644)
      expect(yield* ask(path)).toMatchObject({
        _tag: "Left",
        left: { message: expect.stringContaining("chmod 600") }
      })
      expect(yield* ask(folder)).toMatchObject({
        _tag: "Left",
        left: { message: expect.stringContaining("EISDIR") }
      })
    }).pipe(Effect.scoped)
  )

  it.effect("an unknown provider is told with those there are", () =>
    Effect.gen(function* () {
      const error = Either.getOrThrow(Either.flip(yield* get({}, "cluade")))
      expect(error).toMatchObject({ reason: "Unknown", provider: "cluade" })
      expect(error.message).toMatch(/there are claude, codex, copilot, gemini, github, google, microsoft/)
    })
  )

  it.effect.each([
    {},
    { scopes: ["openid"] },
    { client: { id: "app" } },
    { server: {} },
    { server: "https://x" }
  ])("an unknown provider stays unknown with changes that name no server: %j", (changes) =>
    Effect.gen(function* () {
      const { get: ask } = yield* Providers.make()
      expect(yield* Effect.flip(ask("acme", changes))).toMatchObject({ reason: "Unknown", provider: "acme" })
      const { server } = yield* ask("acme", { ...changes, server: issuer })
      expect(server).toMatchObject(issuer)
    })
  )
})

describe("the environment", () => {
  it.effect("has the last word, in every kind of setting", () =>
    Effect.gen(function* () {
      const found = yield* get({ claude: { scopes: ["from:file"] } }, "claude", {
        LATCHKEY_CLAUDE_CLIENT_ID: "mine",
        LATCHKEY_CLAUDE_CLIENT_SECRET: "canary",
        LATCHKEY_CLAUDE_SERVER_TOKEN_ENDPOINT: "http://127.0.0.1:9/token",
        LATCHKEY_CLAUDE_SCOPES: "a b,c",
        LATCHKEY_CLAUDE_LOGIN_SEND_STATE: "false",
        LATCHKEY_CLAUDE_TOKEN_HEADERS: '{"x-a":"b"}',
        LATCHKEY_CLAUDE_ROTATION_WINDOW: "30 seconds",
        LATCHKEY_CLAUDE_PROFILE_DISPLAY_NAME: '[["a","b"],["c"]]',
        LATCHKEY_CLAUDE_CREDENTIALS_KEYCHAIN: "true"
      })
      expect(found).toMatchObject({
        _tag: "Right",
        right: {
          client: { clientId: "mine", authentication: "basic" },
          server: {
            tokenEndpoint: "http://127.0.0.1:9/token",
            authorizationEndpoint: "https://claude.com/cai/oauth/authorize"
          },
          scopes: ["a", "b", "c"],
          login: { sendState: false },
          token: { headers: { "x-a": "b" }, encoding: "json" },
          profile: { displayName: [["a", "b"], ["c"]] },
          credentials: { keychain: true, file: "~/.claude/.credentials.json" }
        }
      })
      expect(inspect(found, { depth: 9 })).not.toContain("canary")
    })
  )

  it.effect.each([
    ["LATCHKEY_CLAUDE_LOGIN_SEND_STATE", "maybe", "must be true or false"],
    ["LATCHKEY_CLAUDE_TOKEN_HEADERS", "{", "must be JSON"],
    [
      "LATCHKEY_CLAUDE_SERVER_TOKEN_ENDPOINT",
      "http://platform.claude.com",
      "server.tokenEndpoint must be https"
    ],
    ["LATCHKEY_CLAUDE_CLIENT_ID", "", "client.id is not valid here"]
  ] as const)("%s=%s is refused, and names the variable", ([name, value, words]) =>
    Effect.gen(function* () {
      const error = Either.getOrThrow(Either.flip(yield* get(undefined, "claude", { [name]: value })))
      expect(error.message).toContain(name)
      expect(error.message).toContain(words)
    })
  )

  it.effect("names the file", () =>
    Effect.gen(function* () {
      const { path } = yield* home({ providers: { acme: { server: { issuer: "https://id.acme.example" } } } })
      const layer = Providers.layerConfig().pipe(Layer.provideMerge(env({ LATCHKEY_PROVIDERS_FILE: path })))
      const ids = yield* Effect.flatMap(Providers.Providers, (r) => r.ids).pipe(Effect.provide(layer))
      expect(ids).toContain("acme")
    }).pipe(Effect.scoped)
  )
})

describe("the schema of settings", () => {
  it("takes the built-in providers as a file, and names each setting's variable once", () => {
    const file = { $schema: "./providers.schema.json", providers: BuiltIn.providers }
    expect(Either.isRight(Schema.decodeUnknownEither(ProviderSettings.File)(file))).toBe(true)
    const names = leaves.map(({ path }) => variableName("claude-work", path))
    expect(new Set(names).size).toBe(names.length)
    expect(names).toContain("LATCHKEY_CLAUDE_WORK_SERVER_DEVICE_AUTHORIZATION_ENDPOINT")
    expect(names).toContain("LATCHKEY_CLAUDE_WORK_ACCOUNT_PATH")
  })
})
