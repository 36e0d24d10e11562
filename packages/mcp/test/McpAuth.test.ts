/** The login at a real MCP server, by a real authorization server. */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { Effect, Layer, Option, Redacted } from "effect"
import { describe, expect, it } from "@effect/vitest"
import { AuthorizationCode } from "@latchkey/oauth"
import { consent } from "../../oauth/test/support/interaction.js"
import * as Binding from "../src/Binding.js"
import * as Login from "../src/Login.js"
import * as McpAuth from "../src/McpAuth.js"
import * as McpPromise from "../src/McpPromise.js"
import { settling } from "../src/internal/refusals.js"
import * as World from "./support/World.js"

const quiet = () => Effect.void

/** A client of the SDK over the login, connected. */
const connect = (auth: McpAuth.Service, by: "fetch" | "provider") =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const login = yield* McpPromise.make(auth)
      const transport = new StreamableHTTPClientTransport(
        auth.serverUrl,
        by === "fetch" ? { fetch: login.fetch } : { authProvider: login.provider }
      )
      const client = new Client({ name: "test", version: "1.0.0" })
      yield* Effect.promise(() => client.connect(transport))
      return client
    }),
    (client) => Effect.promise(() => client.close())
  )

const ping = (client: Client) =>
  Effect.promise(async () => {
    const { content } = await client.callTool({ name: "ping", arguments: {} })
    return content
  })

const pong = [{ type: "text", text: "pong" }]

describe.each([
  ["fetch", 50],
  ["provider", 10]
] as const)("the SDK's client, by %s", (by, expiries) => {
  it.scopedLive(`logs in once, and stays logged in through ${expiries} expiries, one refresh for each`, () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
      const client = yield* connect(auth, by)
      expect(yield* ping(client)).toEqual(pong)
      expect([world.logins(), world.registrations(), world.refreshes()]).toEqual([1, 1, 0])
      expect(world.asked()).toEqual(["mcp:read offline_access"])
      for (let expiry = 1; expiry <= expiries; expiry++) {
        yield* world.endAccessTokens
        if (by === "provider") yield* Effect.sleep(settling)
        expect(yield* ping(client)).toEqual(pong)
        expect(world.refreshes()).toBe(expiry)
      }
      expect([world.logins(), world.registrations()]).toEqual([1, 1])
    }).pipe(Effect.provide(World.memory))
  )
})

it.scopedLive("a token that expires is replaced before: no request meets an expired one", () =>
  Effect.gen(function* () {
    const world = yield* World.make({ accessTokenTtl: 2 })
    const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
    const client = yield* connect(auth, "provider")
    yield* ping(client)
    const before = world.statuses.filter((status) => status === 401).length
    while (world.refreshes() < 4) {
      expect(yield* ping(client)).toEqual(pong)
      yield* Effect.sleep("100 millis")
    }
    expect(world.statuses.filter((status) => status === 401).length).toBe(before)
    expect(world.logins()).toBe(1)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("an OAuthClientProvider keeps the login, and the SDK neither refreshes nor registers", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
    const { oauthProvider } = yield* McpPromise.make(auth)
    const open = Effect.gen(function* () {
      const client = new Client({ name: "test", version: "1.0.0" })
      yield* Effect.addFinalizer(() => Effect.promise(() => client.close()))
      const transport = new StreamableHTTPClientTransport(auth.serverUrl, { authProvider: oauthProvider })
      yield* Effect.tryPromise({ try: () => client.connect(transport), catch: (error) => error })
      return client
    })
    const failsOnce = <A, R>(call: Effect.Effect<A, unknown, R>) =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(call)).toMatchObject({ name: "UnauthorizedError" })
        return yield* Effect.orDie(call)
      })
    const client = yield* failsOnce(open)
    const call = Effect.tryPromise({
      try: async () => (await client.callTool({ name: "ping", arguments: {} })).content,
      catch: (error) => error
    })
    expect(yield* call).toEqual(pong)
    expect([world.logins(), world.registrations(), world.refreshes()]).toEqual([1, 1, 0])
    expect(world.asked()).toEqual(["mcp:read offline_access"])
    for (let refusal = 1; refusal <= 5; refusal++) {
      yield* Effect.sleep(settling)
      yield* world.endAccessTokens
      expect(yield* failsOnce(call)).toEqual(pong)
      expect(world.refreshes()).toBe(refusal)
    }
    expect([world.logins(), world.registrations()]).toEqual([1, 1])

    yield* Effect.sleep(settling)
    world.require("mcp:write")
    expect(yield* failsOnce(call)).toEqual(pong)
    expect(world.asked().at(-1)).toBe("mcp:read offline_access mcp:write")
    expect([world.logins(), world.registrations()]).toEqual([2, 1])

    const tokens = yield* Effect.promise(async () => oauthProvider.tokens())
    expect(tokens).not.toHaveProperty("refresh_token")
    expect(
      yield* Effect.promise(async () => oauthProvider.tokens({ issuer: world.auth.issuer }))
    ).toBeUndefined()
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("an OAuthClientProvider renews a token before it expires: no call fails", () =>
  Effect.gen(function* () {
    const world = yield* World.make({ accessTokenTtl: 2 })
    const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
    yield* auth.login()
    const { oauthProvider } = yield* McpPromise.make(auth)
    const client = new Client({ name: "test", version: "1.0.0" })
    yield* Effect.addFinalizer(() => Effect.promise(() => client.close()))
    const transport = new StreamableHTTPClientTransport(auth.serverUrl, { authProvider: oauthProvider })
    yield* Effect.promise(() => client.connect(transport))
    while (world.refreshes() < 3) {
      expect(yield* ping(client)).toEqual(pong)
      yield* Effect.sleep("100 millis")
    }
    expect(world.statuses).not.toContain(401)
    expect(world.logins()).toBe(1)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a grant says what it is for", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
    const token = yield* auth.login()
    expect(Option.map(yield* auth.token, Redacted.value)).toEqual(Option.some(Redacted.value(token)))
    const credentials = Option.getOrThrow(yield* auth.manager.credentials)
    expect(Option.getOrThrow(Binding.of(credentials))).toMatchObject({
      serverUrl: world.url,
      resource: world.url,
      issuer: world.auth.issuer,
      requested: ["mcp:read", "offline_access"]
    })
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("many who are refused at once share one refresh, and one login", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
    const all = Effect.all(
      Array.from({ length: 20 }, () => Effect.flatMap(connect(auth, "fetch"), ping)),
      { concurrency: "unbounded" }
    )
    expect((yield* all).length).toBe(20)
    expect(world.logins()).toBe(1)
    yield* world.endAccessTokens
    expect((yield* all).length).toBe(20)
    expect([world.logins(), world.refreshes()]).toEqual([1, 1])
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a step-up asks for the union of scopes once, for all who wait, and not in vain again", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const reasons: Array<string> = []
    const auth = yield* McpAuth.make({
      serverUrl: world.url,
      login: world.browser,
      onEvent: (event) => Effect.sync(() => event._tag === "LoginNeeded" && reasons.push(event.reason))
    })
    const client = yield* connect(auth, "fetch")
    expect(yield* ping(client)).toEqual(pong)
    world.require("mcp:write")
    const answers = yield* Effect.all(
      Array.from({ length: 10 }, () => ping(client)),
      { concurrency: "unbounded" }
    )
    expect(answers).toEqual(Array.from({ length: 10 }, () => pong))
    expect(world.asked().at(-1)).toBe("mcp:read offline_access mcp:write")
    expect(world.logins()).toBe(2)
    expect(reasons).toEqual(["FirstLogin", "StepUp"])
    // A scope that the authorization server does not have.
    world.require("mcp:admin")
    yield* Effect.flip(Effect.tryPromise(() => client.callTool({ name: "ping" })))
    yield* Effect.flip(Effect.tryPromise(() => client.callTool({ name: "ping" })))
    expect(world.logins()).toBe(3)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive(
  "a server that moves to another authorization server has a new login, and the old grant goes nowhere",
  () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const other = yield* World.authorizationServer()
      const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
      const client = yield* connect(auth, "fetch")
      expect(yield* ping(client)).toEqual(pong)
      const before = Option.getOrThrow(yield* auth.manager.credentials)
      world.move(other.issuer)
      yield* world.endAccessTokens
      // The other server's tokens are not known here: what counts is where the login and the grant went.
      yield* Effect.either(Effect.tryPromise(() => client.callTool({ name: "ping" })))
      const sent = other.requests.map(({ body, line }) => `${line} ${body}`).join("\n")
      expect(sent).toContain("POST /reg")
      expect(sent).toContain("grant_type=authorization_code")
      expect(sent).not.toContain(Redacted.value(Option.getOrThrow(before.refreshToken)))
      const client1 = Option.getOrThrow(Option.flatMap(Binding.of(before), Binding.client)).clientId
      expect(sent).not.toContain(client1)
      const after = Option.getOrThrow(Option.flatMap(yield* auth.manager.credentials, Binding.of))
      expect(after.issuer).toBe(other.issuer)
      expect(Object.keys(after.registrations)).toEqual([world.auth.issuer, other.issuer])
      expect(world.refreshes()).toBe(0)
    }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a logout ends the grant at its server, and removes it", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const auth = yield* McpAuth.make({ serverUrl: world.url, login: world.browser, onEvent: quiet })
    expect(yield* auth.logout).toBe(false)
    yield* auth.login()
    const { refreshToken } = Option.getOrThrow(yield* auth.manager.credentials)
    expect(yield* auth.logout).toBe(true)
    expect(yield* auth.token).toEqual(Option.none())
    const known = yield* Effect.promise(() =>
      world.auth.provider.RefreshToken.find(Redacted.value(Option.getOrThrow(refreshToken)))
    )
    expect(known).toBeUndefined()
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("without a way to log in, an error says what is needed", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const auth = yield* McpAuth.make({ serverUrl: world.url })
    const login = yield* McpPromise.make(auth)
    const error = yield* Effect.flip(
      Effect.tryPromise({ try: () => login.fetch(world.url), catch: (e) => e })
    )
    expect(error).toMatchObject({ _tag: "McpError", reason: "LoginRequired", scopes: ["mcp:read"] })
  }).pipe(Effect.provide(Layer.fresh(World.memory)))
)

it.scopedLive("a login by the program's own page keeps the client logged in like the others", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const redirectUri = "https://app.example/mcp/callback"
    const seen: Array<Login.Request> = []
    const login = Login.custom({
      redirectUris: [redirectUri],
      run: (request) => {
        seen.push(request)
        return Effect.gen(function* () {
          const attempt = yield* AuthorizationCode.begin(request.options, redirectUri)
          const end = yield* consent(attempt.url)
          expect(end.href.startsWith(`${redirectUri}?`)).toBe(true)
          return yield* attempt.redeem(end.searchParams)
        })
      }
    })
    const auth = yield* McpAuth.make({ serverUrl: world.url, login, onEvent: quiet })
    const client = yield* connect(auth, "fetch")
    expect(yield* ping(client)).toEqual(pong)
    for (let expiry = 1; expiry <= 3; expiry++) {
      yield* world.endAccessTokens
      expect(yield* ping(client)).toEqual(pong)
      expect(world.refreshes()).toBe(expiry)
    }
    expect([world.logins(), world.registrations()]).toEqual([1, 1])
    expect(seen.map(({ issuer, reason }) => [issuer, reason])).toEqual([[world.auth.issuer, "FirstLogin"]])
    expect(seen[0]?.registered.redirectUris).toEqual([redirectUri])
    yield* Effect.sleep(settling)
    world.require("mcp:write")
    expect(yield* ping(client)).toEqual(pong)
    expect(seen.map(({ reason }) => reason)).toEqual(["FirstLogin", "StepUp"])
  }).pipe(Effect.provide(World.memory))
)
