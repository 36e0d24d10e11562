/** The bearer client over each HTTP client, at a real server: its userinfo endpoint is the resource. */
import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, RefreshLease, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import { AuthorizationCode, BearerClient, DPoP, RefreshToken } from "@latchkey/oauth"
import { Effect, Layer, Option, Redacted, Stream } from "effect"
import { createHash } from "node:crypto"
import { clients } from "./Clients.js"
import * as Provider from "./Provider.js"

const managing = (server: Provider.Harness, first: Credentials.Credentials) =>
  Effect.flatMap(
    Layer.build(
      TokenManager.layer().pipe(
        Layer.provide([
          Layer.effect(TokenStorage.TokenStorage, TokenStorage.makeMemory(Option.some(Entry.first(first)))),
          RefreshLease.layerProcess,
          TokenConfig.layer(),
          RefreshToken.layer({
            server: { issuer: server.issuer },
            client: { clientId: Provider.publicClient.client_id }
          })
        ])
      )
    ),
    (services) => Effect.provide(TokenManager.TokenManager, services)
  )

/** Ends an access token at the server, as an administrator would. */
const revoke = (server: Provider.Harness, token: Redacted.Redacted) =>
  Effect.promise(async () => (await server.provider.AccessToken.find(Redacted.value(token)))!.destroy())

const features = {
  userinfo: { enabled: true },
  dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true }
}

describe.each(clients)("over %s", (_, layer) => {
  it.scopedLive("a token that was revoked is replaced, and the request answered", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start({ features })
      const manager = yield* managing(server, yield* server.grant())
      const wrap = yield* BearerClient.transform({ manager, origins: [server.issuer] })
      const client = wrap(yield* HttpClient.HttpClient)
      const me = client.get(`${server.issuer}/me`)
      expect(yield* (yield* me).json).toEqual({ sub: "alice" })
      yield* revoke(server, yield* manager.getAccessToken)
      const all = yield* Effect.all([me, me, me], { concurrency: "unbounded" })
      for (const response of all) expect(yield* response.json).toEqual({ sub: "alice" })
      expect(server.tokenRequests()).toBe(1)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("a token bound to a key is shown with proofs, with the server's nonce, and replaced", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start({ features })
      const key = yield* DPoP.generate()
      const { crv, kty, x, y } = Redacted.value(key.jwk)
      const jkt = createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url")
      const manager = yield* managing(server, DPoP.attach(yield* server.grant({ jkt }), key))
      // The bound refresh token brings the bound access token: the grant's own is not.
      yield* manager.refresh
      const wrap = yield* BearerClient.transform({ manager, origins: [server.issuer] })
      const client = wrap(yield* HttpClient.HttpClient)
      const me = client.post(`${server.issuer}/me?a=b`)
      expect(yield* (yield* me).json).toEqual({ sub: "alice" })
      yield* revoke(server, yield* manager.getAccessToken)
      expect(yield* (yield* me).json).toEqual({ sub: "alice" })
      // One for the nonce, one that is answered, one refused, one with the new token.
      expect(server.requests.filter(({ line }) => line.startsWith("POST /me"))).toHaveLength(4)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("a refusal told in a body is seen, and the program still reads all of the body", () =>
    Effect.gen(function* () {
      const filler = "x".repeat(300_000)
      const api = yield* Provider.listen((request, response) => {
        if (request.url === "/long") return void response.writeHead(400).end(filler)
        if (request.headers.authorization !== "Bearer at-0") return void response.end("fine")
        response.writeHead(400, { "content-type": "application/json" })
        response.write('{"code":')
        setTimeout(() => response.end('"ExpiredToken"}'), 20)
      })
      const server = yield* Provider.start()
      const { refreshToken } = yield* server.grant()
      const refused = Credentials.make({ accessToken: "at-0", refreshToken: Option.getOrThrow(refreshToken) })
      const manager = yield* managing(server, refused)
      const client = yield* BearerClient.make({
        manager,
        origins: [api.url],
        isRejected: ({ status, text }) =>
          status === 400 && Effect.map(text, (body) => body.includes("ExpiredToken"))
      })
      expect(yield* (yield* client.get(`${api.url}/short`)).text).toBe("fine")
      expect(server.tokenRequests()).toBe(1)
      expect((yield* (yield* client.get(`${api.url}/long`)).text).length).toBe(filler.length)
      const streamed = yield* Stream.mkString(
        Stream.decodeText((yield* client.get(`${api.url}/long`)).stream)
      )
      expect(streamed).toBe(filler)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("a redirect to another origin takes no token along", () =>
    Effect.gen(function* () {
      const seen: Array<string | undefined> = []
      const evil = yield* Provider.listen((request, response) => {
        seen.push(request.headers.authorization, request.headers["dpop"] as string | undefined)
        response.end("evil")
      })
      const api = yield* Provider.listen((request, response) => {
        if (request.headers.authorization === "Bearer at-0") {
          response.writeHead(302, { location: `${evil.url}/x` }).end()
        } else response.writeHead(500).end()
      })
      const server = yield* Provider.start()
      const manager = yield* managing(server, Credentials.make({ accessToken: "at-0" }))
      const wrap = yield* BearerClient.transform({ manager, origins: [api.url] })
      const client = wrap(yield* HttpClient.HttpClient)
      expect((yield* client.get(api.url)).status).toBe(302)
      expect(seen).toEqual([])
      const followed = yield* HttpClient.followRedirects(client).get(api.url)
      expect(yield* followed.text).toBe("evil")
      expect(seen).toEqual([undefined, undefined])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("a long refusal is not read to its end, and holds nobody up", () =>
    Effect.gen(function* () {
      const chunk = Buffer.alloc(65_536)
      let sent = 0
      const api = yield* Provider.listen((request, response) => {
        if (request.headers.authorization !== "Bearer at-0") return void response.end("fine")
        response.writeHead(401, { "www-authenticate": 'Bearer error="invalid_token"' })
        if (request.url !== "/long") return void response.end("no")
        const more = () => {
          for (let room = true; room && sent < 50_000_000; sent += 65_536) room = response.write(chunk)
        }
        response.on("drain", more)
        more()
      })
      const server = yield* Provider.start()
      const { refreshToken } = yield* server.grant()
      const refused = Credentials.make({ accessToken: "at-0", refreshToken: Option.getOrThrow(refreshToken) })
      const manager = yield* managing(server, refused)
      const wrap = yield* BearerClient.transform({ manager, origins: [api.url] })
      const client = wrap(yield* HttpClient.HttpClient)
      const response = yield* client.execute(HttpClientRequest.get(`${api.url}/long`))
      expect(yield* response.text).toBe("fine")
      expect(sent).toBeLessThan(10_000_000)
    }).pipe(Effect.provide(layer))
  )
})

const memory = [TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()] as const

/** A program with a login and an API client; the API and the issuer have one origin. */
const program = (server: Provider.Harness) => {
  const common = { server: { issuer: server.issuer }, client: { clientId: "public-client" } }
  const session = TokenManager.layer().pipe(
    Layer.provide([...memory, RefreshToken.layer({ ...common, timeout: "5 seconds" })])
  )
  const api = BearerClient.layer({ origins: [server.issuer] }).pipe(Layer.provideMerge(session))
  const begin = AuthorizationCode.begin(common, "http://127.0.0.1/callback")
  return { api, begin }
}

describe("a login beside a bearer client, API and issuer on one origin (F38)", () => {
  it.scopedLive("needs no token, and the API client says that there is none", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start({ features })
      const { api, begin } = program(server)
      yield* Effect.gen(function* () {
        const client = yield* BearerClient.BearerClient
        const missing = yield* Effect.flip(client.get(`${server.issuer}/me`))
        expect(missing).toMatchObject({ _tag: "ReauthorizationRequired", reason: "NoCredentials" })
        expect((yield* begin).url.href).toContain(server.issuer)
        const manager = yield* TokenManager.TokenManager
        yield* manager.save(yield* server.grant())
        expect(yield* (yield* client.get(`${server.issuer}/me`)).json).toEqual({ sub: "alice" })
        yield* manager.refresh
        expect(yield* (yield* client.get(`${server.issuer}/me`)).json).toEqual({ sub: "alice" })
      }).pipe(Effect.provide(api))
      for (const { headers, line } of server.requests) {
        expect(headers.authorization !== undefined).toBe(line.includes("/me"))
      }
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive("given the bearer client all the same, says so instead of blaming the network", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start()
      const { api, begin } = program(server)
      yield* Effect.gen(function* () {
        const client = BearerClient.toHttpClient(yield* BearerClient.BearerClient)
        const error = yield* Effect.flip(Effect.provideService(begin, HttpClient.HttpClient, client))
        expect(error).toMatchObject({ _tag: "LoginError", reason: "Misconfigured" })
        expect(error.message).toContain("Give the plain HttpClient to logins")
        expect(error.message).not.toContain("network")
        expect(server.requests).toEqual([])
      }).pipe(Effect.provide(api))
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})
