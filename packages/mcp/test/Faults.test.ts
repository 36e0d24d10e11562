/** Servers that fail: a scripted MCP server and authorization server, one answer at a time. */
import { LoginError } from "@latchkey/oauth"
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Redacted } from "effect"
import type * as Http from "node:http"
import { listen } from "../../oauth/test/Provider.js"
import * as Login from "../src/Login.js"
import * as McpAuth from "../src/McpAuth.js"
import * as McpClient from "../src/McpClient.js"
import * as World from "./support/World.js"

interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

type Script = (request: {
  readonly path: string
  readonly body: string
  readonly token: string | undefined
}) => Answer | "hang up" | undefined

/** A server that is an MCP server and its authorization server; the script may answer in the place of each. */
const scripted = Effect.gen(function* () {
  const seen: Array<string> = []
  const state = {
    script: ((): undefined => undefined) as Script,
    serial: 0,
    valid: "",
    refreshToken: "",
    client: 0
  }
  const { url } = yield* listen((request, response) => {
    let body = ""
    request.on("data", (chunk) => (body += chunk))
    request.on("end", () => answer(request, response, body))
  })
  const tokens = (scope?: string): Answer => {
    const n = ++state.serial
    state.valid = `access-${n}`
    state.refreshToken = `refresh-${n}`
    return {
      body: {
        access_token: state.valid,
        refresh_token: state.refreshToken,
        token_type: "Bearer",
        expires_in: 3600,
        ...(scope !== undefined && { scope })
      }
    }
  }
  const standard: Script = ({ body, path, token }) => {
    const form = new URLSearchParams(body)
    switch (path) {
      case "/mcp":
        return token === state.valid
          ? { body: { ok: true } }
          : { status: 401, headers: { "www-authenticate": 'Bearer error="invalid_token", scope="a"' } }
      case "/.well-known/oauth-protected-resource/mcp":
        return { body: { resource: `${url}/mcp`, authorization_servers: [url] } }
      case "/.well-known/oauth-authorization-server":
        return {
          body: {
            issuer: url,
            authorization_endpoint: `${url}/authorize`,
            token_endpoint: `${url}/token`,
            registration_endpoint: `${url}/register`,
            code_challenge_methods_supported: ["S256"]
          }
        }
      case "/register":
        return { status: 201, body: { client_id: `client-${++state.client}` } }
      case "/token":
        if (form.get("client_id") !== `client-${state.client}`) {
          return { status: 401, body: { error: "invalid_client" } }
        }
        return form.get("grant_type") === "refresh_token" && form.get("refresh_token") !== state.refreshToken
          ? { status: 400, body: { error: "invalid_grant" } }
          : tokens()
      default:
        return { status: 404, body: {} }
    }
  }
  const answer = (request: Http.IncomingMessage, response: Http.ServerResponse, body: string) => {
    const path = request.url ?? ""
    const token = request.headers.authorization?.replace("Bearer ", "")
    seen.push(`${request.method} ${path}${body.includes("grant_type=refresh_token") ? " refresh" : ""}`)
    const given = { path, body, token }
    const said = state.script(given) ?? standard(given)
    if (said === "hang up" || said === undefined) return void request.socket.destroy()
    response.writeHead(said.status ?? 200, { "content-type": "application/json", ...said.headers })
    response.end(JSON.stringify(said.body ?? {}))
  }
  const asked: Array<Login.Reason> = []
  const login = Login.manual({
    ask: (page, _, { reason }) => {
      asked.push(reason)
      return Effect.succeed(`http://127.0.0.1/callback?code=c&state=${page.searchParams.get("state")}`)
    }
  })
  return {
    url: `${url}/mcp`,
    seen,
    asked,
    login,
    state,
    count: (line: string) => seen.filter((each) => each === line).length
  }
})

const setUp = Effect.gen(function* () {
  const server = yield* scripted
  const auth = yield* McpAuth.make({ serverUrl: server.url, login: server.login, onEvent: () => Effect.void })
  const client = yield* McpClient.make(auth)
  return { auth, client, server, get: Effect.map(client.get(server.url), ({ status }) => status) }
})

const refresh = "POST /token refresh"

it.scopedLive("a network that fails, and a server that cannot, end no login", () =>
  Effect.gen(function* () {
    const { get, server } = yield* setUp
    expect(yield* get).toBe(200)
    server.state.valid = "ended"
    const faults: ReadonlyArray<Answer | "hang up"> = [
      "hang up",
      { status: 500, body: "" },
      { status: 503 },
      { status: 502, body: "<html>" },
      { status: 400, body: { error: "temporarily_unavailable" } }
    ]
    for (const fault of faults) {
      server.state.script = ({ body }) => (body.includes("refresh_token") ? fault : undefined)
      const failed = yield* Effect.flip(get)
      expect(failed).toMatchObject({ _tag: "RefreshUnavailable" })
      yield* Effect.sleep("20 millis")
    }
    server.state.script = () => undefined
    yield* Effect.sleep("1100 millis")
    expect(yield* get).toBe(200)
    expect(server.asked).toEqual(["FirstLogin"])
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a grant that the server ended has the user asked, once for all", () =>
  Effect.gen(function* () {
    const { get, server } = yield* setUp
    expect(yield* get).toBe(200)
    server.state.valid = "ended"
    server.state.refreshToken = "ended"
    const all = yield* Effect.all(
      Array.from({ length: 10 }, () => get),
      { concurrency: "unbounded" }
    )
    expect(all).toEqual(Array.from({ length: 10 }, () => 200))
    expect(server.asked).toEqual(["FirstLogin", "GrantEnded"])
    expect(server.count("POST /register")).toBe(1)
    expect(server.count(refresh)).toBe(1)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive(
  "a registration that the server has forgotten is made again, and the old grant stays until then",
  () =>
    Effect.gen(function* () {
      const { auth, get, server } = yield* setUp
      expect(yield* get).toBe(200)
      const before = Option.getOrThrow(yield* auth.manager.credentials)
      server.state.client = 7
      server.state.valid = "ended"
      // The server is down when it is to be made again: nothing is lost.
      server.state.script = ({ path }) => (path === "/register" ? { status: 503 } : undefined)
      yield* Effect.flip(get)
      expect(Option.getOrThrow(yield* auth.manager.credentials)).toEqual(before)
      server.state.script = () => undefined
      expect(yield* get).toBe(200)
      expect(server.asked).toEqual(["FirstLogin", "ClientForgotten"])
      expect(yield* get).toBe(200)
    }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a registration that is forgotten between the login and the code is made again, once", () =>
  Effect.gen(function* () {
    const { get, server } = yield* setUp
    let refusals = 0
    server.state.script = ({ path }) =>
      path === "/token" && refusals++ < 1 ? { status: 401, body: { error: "invalid_client" } } : undefined
    expect(yield* get).toBe(200)
    expect(server.count("POST /register")).toBe(2)
    server.state.valid = "ended"
    server.state.refreshToken = "ended"
    server.state.script = ({ body, path }) =>
      path === "/token" && body.includes("authorization_code")
        ? { status: 401, body: { error: "invalid_client" } }
        : undefined
    expect(yield* Effect.flip(get)).toMatchObject({ _tag: "LoginError", oauthError: "invalid_client" })
    expect(server.count("POST /register")).toBe(3)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a server that refuses every token does not keep anybody busy", () =>
  Effect.gen(function* () {
    const { get, server } = yield* setUp
    expect(yield* get).toBe(200)
    server.state.script = ({ path }) => (path === "/mcp" ? { status: 401 } : undefined)
    for (let n = 0; n < 20; n++) yield* Effect.either(get)
    expect(server.asked).toEqual(["FirstLogin"])
    expect(server.count("GET /mcp")).toBeLessThanOrEqual(60)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive(
  "a storm of refusals brings one refresh for each expiry, also for responses that come late",
  () =>
    Effect.gen(function* () {
      const { get, server } = yield* setUp
      expect(yield* get).toBe(200)
      for (let expiry = 1; expiry <= 5; expiry++) {
        server.state.valid = "ended"
        const storm = yield* Effect.all(
          Array.from({ length: 100 }, (_, n) => Effect.delay(get, n % 20)),
          { concurrency: "unbounded" }
        )
        expect(storm.filter((status) => status === 200)).toHaveLength(100)
        expect(server.count(refresh)).toBe(expiry)
      }
      expect(server.asked).toEqual(["FirstLogin"])
      expect(server.count("POST /register")).toBe(1)
    }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a user who does not want to is left alone for a minute, unless the program asks", () =>
  Effect.gen(function* () {
    const server = yield* scripted
    let pages = 0
    const login = Login.custom({
      redirectUris: ["http://127.0.0.1/callback"],
      run: () => {
        pages++
        return new LoginError.LoginError({ reason: "Denied", message: "No." })
      }
    })
    const auth = yield* McpAuth.make({ serverUrl: server.url, login, onEvent: () => Effect.void })
    const client = yield* McpClient.make(auth)
    for (let n = 0; n < 3; n++) {
      expect(yield* Effect.flip(client.get(server.url))).toMatchObject({ reason: "Denied" })
    }
    expect(pages).toBe(1)
    yield* Effect.flip(auth.login())
    expect(pages).toBe(2)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("interrupting one who waits leaves the login to the others", () =>
  Effect.gen(function* () {
    const server = yield* scripted
    const there = yield* Deferred.make<void>()
    const login = Login.manual({
      ask: (page) =>
        Effect.as(
          Deferred.await(there),
          `http://127.0.0.1/callback?code=c&state=${page.searchParams.get("state")}`
        )
    })
    const auth = yield* McpAuth.make({ serverUrl: server.url, login, onEvent: () => Effect.void })
    const first = yield* Effect.fork(auth.unauthorized(Option.none(), undefined))
    const second = yield* Effect.fork(auth.unauthorized(Option.none(), undefined))
    yield* Effect.sleep("50 millis")
    yield* Fiber.interrupt(first)
    yield* Deferred.succeed(there, undefined)
    expect(Redacted.value(yield* Fiber.join(second))).toBe("access-1")
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a request to another origin has no token, and does not wait for one", () =>
  Effect.gen(function* () {
    const { client, get, server } = yield* setUp
    const other = yield* scripted
    const tokens: Array<string | undefined> = []
    other.state.script = ({ token }) => {
      tokens.push(token)
      return { status: 401, headers: { "www-authenticate": "Bearer" } }
    }
    expect((yield* client.get(other.url)).status).toBe(401)
    expect(yield* get).toBe(200)
    expect((yield* client.get(other.url)).status).toBe(401)
    expect(tokens).toEqual([undefined, undefined])
    expect(server.asked).toEqual(["FirstLogin"])
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive("a grant for another server is not used", () =>
  Effect.gen(function* () {
    const { auth, server } = yield* setUp
    yield* auth.login()
    const other = yield* McpAuth.make({ serverUrl: "https://other.example.com/mcp", login: server.login })
    expect(yield* Effect.flip(other.token)).toMatchObject({ _tag: "StorageError", reason: "WrongKey" })
    const client = yield* McpClient.make(other)
    const sent = server.seen.length
    expect(yield* Effect.flip(client.get("https://other.example.com/mcp"))).toMatchObject({
      reason: "WrongKey"
    })
    expect(server.seen.length).toBe(sent)
  }).pipe(Effect.provide(World.memory))
)

const metadata = (origin: string) => ({
  issuer: origin,
  authorization_endpoint: `${origin}/authorize`,
  token_endpoint: `${origin}/token`,
  registration_endpoint: `${origin}/register`,
  code_challenge_methods_supported: ["S256"]
})

const at =
  (start: string, answer: (origin: string) => Answer) =>
  (origin: string): Script =>
  ({ path }) =>
    path.startsWith(start) ? answer(origin) : undefined

const ofResource = "/.well-known/oauth-protected-resource"
const ofServer = "/.well-known/oauth-authorization-server"

it.scopedLive.each<[string, (origin: string) => Script, object]>([
  [
    "of another resource",
    at(ofResource, () => ({ body: { resource: "https://evil.example.com" } })),
    { _tag: "McpError", reason: "Discovery" }
  ],
  [
    "of another issuer",
    at(ofServer, (origin) => ({ body: { ...metadata(origin), issuer: "https://evil.example.com" } })),
    { _tag: "OAuthError", reason: "Misconfigured" }
  ],
  [
    "without PKCE",
    at(ofServer, (origin) => ({
      body: { ...metadata(origin), code_challenge_methods_supported: ["plain"] }
    })),
    { _tag: "McpError", reason: "Discovery" }
  ],
  [
    "without registration",
    at(ofServer, (origin) => ({ body: { ...metadata(origin), registration_endpoint: undefined } })),
    { _tag: "McpError", reason: "Registration" }
  ],
  ["that cannot be had now", at(ofResource, () => ({ status: 503 })), { _tag: "OAuthError" }],
  [
    "of a server that takes no clients",
    at("/register", () => ({ status: 400, body: { error: "invalid_client_metadata" } })),
    { _tag: "McpError", reason: "Registration" }
  ]
])("metadata %s ends the login in words", ([, script, expected]) =>
  Effect.gen(function* () {
    const { get, server } = yield* setUp
    server.state.script = script(new URL(server.url).origin)
    expect(yield* Effect.flip(get)).toMatchObject(expected)
    expect(server.count("POST /token")).toBe(0)
  }).pipe(Effect.provide(World.memory))
)

it.scopedLive(
  "a server without any metadata is its own authorization server, at the endpoints of 2025-03-26",
  () =>
    Effect.gen(function* () {
      const { get, server } = yield* setUp
      server.state.script = ({ path }) => (path.startsWith("/.well-known/") ? { status: 404 } : undefined)
      expect(yield* get).toBe(200)
      server.state.valid = "ended"
      expect(yield* get).toBe(200)
      expect(server.count(refresh)).toBe(1)
      expect(server.seen.filter((line) => line.includes("/.well-known/")).slice(0, 4)).toEqual([
        "GET /.well-known/oauth-protected-resource/mcp",
        "GET /.well-known/oauth-protected-resource",
        "GET /.well-known/oauth-authorization-server",
        "GET /.well-known/openid-configuration"
      ])
    }).pipe(Effect.provide(World.memory))
)
