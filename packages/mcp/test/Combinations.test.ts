/** The login with parts that the other tests do not use: another device, a database, tokens that are bound to a key. */
import * as DPoP from "@latchkey/oauth/DPoP"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { FetchHttpClient } from "@effect/platform"
import { expect, it } from "@effect/vitest"
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { Effect, Layer, Option, Redacted } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { confirmCode } from "../../oauth/test/support/interaction.js"
import * as Login from "../src/Login.js"
import * as McpAuth from "../src/McpAuth.js"
import * as McpClient from "../src/McpClient.js"
import * as McpPromise from "../src/McpPromise.js"
import * as World from "./support/World.js"

const quiet = () => Effect.void

/** Calls the server's tool with a client of the SDK. */
const connect = (auth: McpAuth.Service) =>
  Effect.gen(function* () {
    const { fetch } = yield* McpPromise.make(auth)
    const client = new Client({ name: "test", version: "1.0.0" })
    yield* Effect.addFinalizer(() => Effect.promise(() => client.close()))
    yield* Effect.promise(() => client.connect(new StreamableHTTPClientTransport(auth.serverUrl, { fetch })))
    return Effect.promise(async () => (await client.callTool({ name: "ping", arguments: {} })).content)
  })

const pong = [{ type: "text", text: "pong" }]

const linesOf = (world: World.World, start: string) =>
  world.auth.requests.filter(({ line }) => line.startsWith(start))

it.scopedLive("on another device: a client without redirects is registered, and its grant is refreshed", () =>
  Effect.gen(function* () {
    const world = yield* World.make({ features: { deviceFlow: { enabled: true } } })
    const login = Login.device({
      prompt: ({ verificationUriComplete }) => confirmCode(Option.getOrThrow(verificationUriComplete))
    })
    const auth = yield* McpAuth.make({ serverUrl: world.url, login, onEvent: quiet })
    const ping = yield* connect(auth)
    expect(yield* ping).toEqual(pong)
    expect(linesOf(world, "POST /device/auth")).toHaveLength(1)
    expect(JSON.parse(linesOf(world, "POST /reg")[0]!.body)).toMatchObject({
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
      response_types: []
    })
    yield* world.endAccessTokens
    expect(yield* ping).toEqual(pong)
    expect([world.logins(), world.registrations(), world.refreshes()]).toEqual([0, 1, 1])
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("on another device, at a server without that: an error names what is missing", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const login = Login.device({ prompt: () => Effect.void })
    const auth = yield* McpAuth.make({ serverUrl: world.url, login, onEvent: quiet })
    const error = yield* Effect.flip(auth.login())
    expect(error).toMatchObject({ _tag: "McpError", reason: "Discovery" })
    expect(error.message).toContain(`${world.auth.issuer} does not support logins on another device`)
    expect(world.registrations()).toBe(0)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("in a database: two clients of one table share a login and each refresh", () =>
  Effect.gen(function* () {
    const world = yield* World.make()
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-mcp-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    const open = Effect.gen(function* () {
      const storage = Sqlite.layer({ filename: join(folder, "logins.db"), account: `mcp:${world.url}` })
      const layer = McpAuth.layer({ serverUrl: world.url, login: world.browser, onEvent: quiet }).pipe(
        Layer.provide([storage, World.config, FetchHttpClient.layer])
      )
      const services = yield* Layer.build(Layer.fresh(layer))
      return yield* connect(yield* Effect.provide(McpAuth.McpAuth, services))
    })
    const pings = yield* Effect.all([open, open], { concurrency: "unbounded" })
    const both = Effect.all(pings, { concurrency: "unbounded" })
    expect(yield* both).toEqual([pong, pong])
    expect([world.logins(), world.registrations()]).toEqual([1, 1])
    for (let expiry = 1; expiry <= 10; expiry++) {
      yield* world.endAccessTokens
      expect(yield* both).toEqual([pong, pong])
      expect(world.refreshes()).toBe(expiry)
    }
    expect([world.logins(), world.registrations()]).toEqual([1, 1])
  })
)

const bound = {
  features: { dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true } }
}

it.scopedLive("bound to a key: each request has a proof, with the nonce of each server", () =>
  Effect.gen(function* () {
    const world = yield* World.make(bound)
    const auth = yield* McpAuth.make({
      serverUrl: world.url,
      login: world.browser,
      dpop: true,
      onEvent: quiet
    })
    const ping = yield* connect(auth)
    expect(yield* ping).toEqual(pong)
    const before = Option.getOrThrow(yield* auth.manager.credentials)
    expect(DPoP.isBound(before)).toBe(true)
    yield* world.endAccessTokens
    expect(yield* ping).toEqual(pong)
    const after = Option.getOrThrow(yield* auth.manager.credentials)
    const key = (credentials: typeof after) => Effect.map(DPoP.keyOf(credentials), Option.getOrThrow)
    expect(Redacted.value((yield* key(after)).jwk)).toEqual(Redacted.value((yield* key(before)).jwk))
    // The first refresh is sent again with the nonce. The next one has it.
    expect([world.logins(), world.refreshes()]).toEqual([1, 2])
    yield* world.endAccessTokens
    expect(yield* ping).toEqual(pong)
    expect([world.logins(), world.refreshes()]).toEqual([1, 3])
    const client = yield* McpClient.make(auth)
    expect((yield* client.get(world.url)).status).not.toBe(401)
    expect([world.logins(), world.refreshes()]).toEqual([1, 3])
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("bound to a key: a provider of the SDK says that it cannot be used", () =>
  Effect.gen(function* () {
    const world = yield* World.make(bound)
    const auth = yield* McpAuth.make({
      serverUrl: world.url,
      login: world.browser,
      dpop: true,
      onEvent: quiet
    })
    const token = yield* auth.login()
    const { oauthProvider, provider } = yield* McpPromise.make(auth)
    for (const tokens of [() => provider.token(), () => oauthProvider.tokens()]) {
      const error = yield* Effect.flip(Effect.tryPromise({ try: async () => tokens(), catch: String }))
      expect(error).toContain("bound to a key (DPoP)")
      expect(error).not.toContain(Redacted.value(token))
    }
  }).pipe(Effect.provide(World.memory))
)
