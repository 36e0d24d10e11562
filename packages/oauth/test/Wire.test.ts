import { FetchHttpClient, HttpClient } from "@effect/platform"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import { NodeHttpClient } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Credentials } from "@latchkey/core"
import { RefreshToken, Wire } from "@latchkey/oauth"
import {
  Cause,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Stream,
  TestClock
} from "effect"
import { readFileSync } from "node:fs"
import * as Https from "node:https"
import * as Net from "node:net"
import { inspect } from "node:util"
import * as oauth from "oauth4webapi"
import { type MockInstance, vi } from "vitest"
import { clients } from "./Clients.js"
import { answering } from "./Memory.js"
import * as Provider from "./Provider.js"
import * as Edition from "../../core/test/support/Edition.js"

const canary = "canary-refresh-token-4711"
const clientSecret = "canary:client secret/+%"
const grant = Credentials.make({ accessToken: "canary-access-token-0815", refreshToken: canary })

const refresh = (tokenEndpoint: string, options: Partial<RefreshToken.Options> = {}) =>
  Effect.flatMap(
    RefreshToken.make({ server: { tokenEndpoint }, client: { clientId: "client" }, ...options }),
    (refresher) => refresher.refresh(Option.some(grant))
  )

const failure = (tokenEndpoint: string, options: Partial<RefreshToken.Options> = {}) =>
  Effect.map(Effect.flip(refresh(tokenEndpoint, options)), (error) => {
    if (error._tag !== "RefreshError") throw new Error(`not sent at all: ${error.message}`)
    return error
  })

const good = JSON.stringify({
  access_token: "new",
  token_type: "Bearer",
  refresh_token: "next",
  expires_in: 60
})

/** What a program may show of an error, in every way that it may show it. */
const shown = (error: unknown): string =>
  [
    String(error),
    JSON.stringify(error),
    inspect(error, { depth: 20, showHidden: true }),
    Cause.pretty(Cause.fail(error), { renderErrorCause: true }),
    error instanceof Error ? error.stack : ""
  ].join("\n")

/** A client whose responses are changed on their way. */
const mapped = (
  client: Layer.Layer<HttpClient.HttpClient>,
  change: <E, R>(response: Effect.Effect<HttpClientResponse, E, R>) => Effect.Effect<HttpClientResponse, E, R>
): Layer.Layer<HttpClient.HttpClient> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (given) => HttpClient.transformResponse(given, change))
  ).pipe(Layer.provide(client))

describe.each(clients)("over %s", (_, client) => {
  it.scopedLive.each([301, 302, 303, 307, 308])("a redirect (%d) is an error, and never followed", (status) =>
    Effect.gen(function* () {
      let asked = 0
      const target = yield* Provider.listen((_, response) => {
        asked++
        response.end(good)
      })
      const server = yield* Provider.listen((_, response) =>
        response.writeHead(status, { location: `${target.url}/token` }).end(good)
      )
      const error = yield* failure(server.url)
      expect(error).toMatchObject({ reason: "Misconfigured", status })
      expect(error.message).toContain("redirect")
      expect(asked).toBe(0)
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("reads 1 MiB at most, and hangs up", () =>
    Effect.gen(function* () {
      let sent = 0
      const closed = yield* Deferred.make<void>()
      const server = yield* Provider.listen((_, response) => {
        response.writeHead(200, { "content-type": "application/json" })
        const chunk = Buffer.alloc(64 * 1024, "x")
        const pump = () => {
          while (sent < 1024 * 1024 * 1024) {
            sent += chunk.length
            if (!response.write(chunk)) return
          }
          response.end()
        }
        response.on("drain", pump)
        response.on("close", () => Deferred.unsafeDone(closed, Exit.void))
        response.write('{"access_token":"')
        pump()
      })
      const error = yield* failure(server.url)
      expect(error).toMatchObject({ reason: "Malformed", status: 200 })
      expect(error.message).toContain("1 MiB")
      yield* Deferred.await(closed)
      expect(sent).toBeLessThan(64 * 1024 * 1024)
    }).pipe(Effect.provide(client))
  )

  it.scopedLive.each([true, false])("saves the refresh token of an answer over 1 MiB (sized: %s)", (sized) =>
    Effect.gen(function* () {
      const body = JSON.stringify({
        refresh_token: "rescued",
        filler: "x".repeat(2 * 1024 * 1024),
        ...JSON.parse(good)
      })
      const server = yield* Provider.listen((_, response) => {
        response.writeHead(200, sized ? { "content-length": body.length } : {})
        response.end(body)
      })
      const error = yield* failure(server.url)
      expect(error.reason).toBe("Malformed")
      expect(Option.getOrThrow(error.salvaged!.refreshToken)).toEqual(
        Option.getOrThrow(Credentials.make({ accessToken: "x", refreshToken: "rescued" }).refreshToken)
      )
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("reads an answer without its stream, which takes longer than the request", () =>
    Effect.gen(function* () {
      const server = yield* Provider.listen((_, response) => {
        response.write(good.slice(0, 20))
        setTimeout(() => response.end(good.slice(20)), 5)
      })
      const spies: Array<MockInstance> = []
      const watched = mapped(
        client,
        Effect.map((response) => {
          spies.push(vi.spyOn(Object.getPrototypeOf(response) as HttpClientResponse, "stream", "get"))
          return response
        })
      )
      const credentials = yield* refresh(`${server.url}/token`).pipe(Effect.provide(watched))
      expect(Redacted.value(credentials.accessToken)).toBe("new")
      expect(spies).toHaveLength(1)
      for (const spy of spies) {
        expect(spy).not.toHaveBeenCalled()
        spy.mockRestore()
      }
    })
  )

  it.scopedLive("streams an answer that was wrapped", () =>
    Effect.gen(function* () {
      const server = yield* Provider.listen((_, response) => response.end("encrypted"))
      const decrypted = (response: HttpClientResponse) => ({
        value: Stream.map(response.stream, () => new TextEncoder().encode(good))
      })
      for (const wrap of [
        (response: HttpClientResponse) => Object.defineProperty(response, "stream", decrypted(response)),
        (response: HttpClientResponse) =>
          Object.create(response, { stream: decrypted(response) }) as HttpClientResponse
      ]) {
        const wrapping = mapped(client, Effect.map(wrap))
        const credentials = yield* refresh(`${server.url}/token`).pipe(Effect.provide(wrapping))
        expect(Redacted.value(credentials.accessToken)).toBe("new")
      }
    })
  )

  it.scopedLive("a server that does not answer is given up, and may have acted", () =>
    Effect.gen(function* () {
      const hungUp = yield* Deferred.make<void>()
      const server = yield* Provider.listen((request) => {
        request.on("close", () => Deferred.unsafeDone(hungUp, Exit.void))
      })
      const error = yield* failure(server.url, { timeout: "300 millis" })
      expect(error.reason).toBe("MaybeSent")
      expect(error.message).toContain("300ms")
      yield* Deferred.await(hungUp)
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("so is one that stops in the middle; what came is saved", () =>
    Effect.gen(function* () {
      const server = yield* Provider.listen((_, response) => {
        response.writeHead(200, { "content-type": "application/json" })
        response.write('{"refresh_token":"rescued","access_tok')
      })
      const error = yield* failure(server.url, { timeout: "1 second" })
      expect(error.reason).toBe("Malformed")
      expect(Option.isSome(error.salvaged!.refreshToken)).toBe(true)
      const nothing = yield* Provider.listen((_, response) => {
        response.writeHead(200, { "content-type": "application/json" })
        response.write('{"refresh_token":"resc')
      })
      const lost = yield* failure(nothing.url, { timeout: "1 second" })
      expect(lost.reason).toBe("MaybeSent")
      expect(lost.salvaged).toBeUndefined()
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("a reset before the answer, and one in it, may have been acted on", () =>
    Effect.gen(function* () {
      const before = yield* Provider.listen((request) => request.socket.resetAndDestroy())
      expect((yield* failure(before.url)).reason).toBe("MaybeSent")

      const within = yield* Provider.listen((_, response) => {
        response.writeHead(200, { "content-length": 1000 })
        response.write('{"access_token":"a', () => response.socket!.resetAndDestroy())
      })
      expect((yield* failure(within.url)).reason).toBe("MaybeSent")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("nobody listening, no such host, nobody who is trusted: not sent", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(Provider.listen(() => undefined))
      const refused = yield* failure(`http://127.0.0.1:${port}/token`)
      expect(refused.reason).toBe("NotSent")
      expect(refused.message).toContain("ECONNREFUSED")

      const unknown = yield* failure("https://no-such-host.invalid/token")
      expect(unknown.reason).toBe("NotSent")

      const selfSigned = yield* listenTls
      expect((yield* failure(`https://localhost:${selfSigned.port}/token`)).reason).toBe("NotSent")
      expect(selfSigned.requests()).toBe(0)
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("no answer at all to a request that was sent whole: it may have been acted on", () =>
    Effect.gen(function* () {
      const garbage = yield* Effect.acquireRelease(
        Effect.async<Net.Server>((resume) => {
          const server = Net.createServer((socket) => {
            socket.on("error", () => undefined)
            socket.on("data", () => socket.end("this is not HTTP\r\n\r\n"))
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = garbage.address() as Net.AddressInfo
      expect((yield* failure(`http://127.0.0.1:${port}/token`)).reason).toBe("MaybeSent")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("interruption hangs up", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      const hungUp = yield* Deferred.make<void>()
      const server = yield* Provider.listen((request) => {
        request.on("close", () => Deferred.unsafeDone(hungUp, Exit.void))
        Deferred.unsafeDone(arrived, Exit.void)
      })
      const fiber = yield* Effect.fork(refresh(server.url))
      yield* Deferred.await(arrived)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(hungUp)
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("the time-out holds in an uninterruptible region", () =>
    Effect.gen(function* () {
      const server = yield* Provider.listen(() => undefined)
      const error = yield* Effect.uninterruptible(failure(server.url, { timeout: "300 millis" }))
      expect(error.reason).toBe("MaybeSent")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("no secret in spans and errors, and the request is traced", () =>
    Effect.gen(function* () {
      const spans: Array<Edition.RecordedSpan> = []
      const echo = yield* Provider.listen((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => {
          const form = Buffer.concat(chunks).toString()
          const basic = request.headers.authorization ?? ""
          const said = `bad ${form} ${basic} ${Buffer.from(basic.slice(6), "base64").toString()} ${clientSecret} ${canary}`
          if (request.url === "/hang-up") {
            request.socket.resetAndDestroy()
            return
          }
          response.writeHead(400, {
            "content-type": "application/json",
            location: `https://x.invalid/?c=${canary}`
          })
          response.end(JSON.stringify({ error: `invalid_client ${canary}`, error_description: said }))
        })
      })
      const auths = [
        { _tag: "ClientSecretBasic", secret: Redacted.make(clientSecret) },
        { _tag: "ClientSecretPost", secret: Redacted.make(clientSecret) }
      ] as const
      for (const auth of auths) {
        for (const path of ["/token", "/hang-up"]) {
          for (const encoding of ["form", "json"] as const) {
            const exit = yield* refresh(`${echo.url}${path}`, {
              client: { clientId: "client", auth },
              encoding
            }).pipe(Effect.exit, Effect.withTracer(Edition.recording(spans)))
            const text =
              shown(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined) +
              inspect(exit, { depth: 30 })
            for (const secret of [canary, clientSecret, "canary-access", encodeURIComponent(clientSecret)]) {
              expect(text).not.toContain(secret)
            }
          }
        }
      }
      expect(spans.length).toBe(8)
      const seen = spans.map((span) =>
        [inspect(span, { depth: 30 }), JSON.stringify([...span.attributes]), JSON.stringify(span.exit)].join()
      )
      const base64 = Buffer.from("client:").toString("base64").slice(0, 8)
      for (const text of seen) {
        expect(text).not.toContain(canary)
        expect(text).not.toContain("canary")
        expect(text).not.toContain(base64)
      }
      expect(spans[0]!.name).toBe("http.client POST")
      expect(spans[0]!.attributes.get("url.full")).toBe(`${echo.url}/token`)
      expect(spans[0]!.attributes.get("http.response.status_code")).toBe(400)
    }).pipe(Effect.provide(client))
  )
})

describe("where it may not go", () => {
  const sent: Array<string> = []
  const spy = Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      sent.push(request.url)
      return Effect.die(new Error("sent"))
    })
  )
  const config = (tokenEndpoint: string) =>
    Effect.flip(RefreshToken.make({ server: { tokenEndpoint }, client: { clientId: "client" } })).pipe(
      Effect.provide(spy)
    )

  it.effect.each([
    ["http://auth.example.com/token", "must be https"],
    ["http://127.0.0.1.example.com/token", "must be https"],
    ["http://localhost.example.com/token", "must be https"],
    ["http://[::2]/token", "must be https"],
    ["http://10.0.0.1/token", "must be https"],
    ["ftp://127.0.0.1/token", "must be https"],
    ["https://user:canary@auth.example.com/token", "user info"],
    ["https://user@auth.example.com/token", "user info"],
    ["https://auth.example.com/token#part", "fragment"],
    ["https://auth.example.com/token#", "fragment"],
    ["/token", "absolute URL"],
    ["", "absolute URL"]
  ] as const)("%s", ([url, problem]) =>
    Effect.gen(function* () {
      const error = yield* config(url)
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "server.tokenEndpoint" })
      expect(error.message).toContain(problem)
      expect(shown(error)).not.toContain("canary")
      expect(sent).toEqual([])
    })
  )

  it.effect.each([
    "http://127.0.0.1:1/t",
    "http://127.8.8.8/t",
    "http://[::1]:1/t",
    "http://localhost/t",
    "https://x.example/t?a=b"
  ])("%s is allowed", (tokenEndpoint) =>
    Effect.gen(function* () {
      const refresher = yield* RefreshToken.make({
        server: { tokenEndpoint },
        client: { clientId: "client" }
      })
      expect(refresher.needsRefreshToken).toBe(true)
    }).pipe(Effect.provide(spy))
  )

  it.effect.each([0, -1, Number.NaN, "31 seconds", Duration.infinity] as const)(
    "no time-out of %s",
    (timeout) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Wire.make({ timeout }))
        expect(error.setting).toBe("timeout")
      }).pipe(Effect.provide(spy))
  )

  it.effect("nor is anything sent once it was interrupted", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ body: good })
      const wire = yield* Effect.provide(Wire.make(), layer)
      // As where a proof or an assertion is signed first.
      let signed = () => {}
      const signing = new Promise<void>((resolve) => (signed = resolve))
      const fiber = yield* Effect.fork(
        wire.send((options) =>
          signing.then(() => oauth.discoveryRequest(new URL("https://auth.example.com"), { ...options }))
        )
      )
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      signed()
      yield* Effect.promise(() => new Promise(setImmediate))
      expect(asked).toEqual([])
    })
  )
})

describe("the client in the context", () => {
  it.scopedLive("wrapped to follow redirects: the answer is refused all the same", () =>
    Effect.gen(function* () {
      const target = yield* Provider.listen((_, response) => response.end(good))
      const server = yield* Provider.listen((_, response) =>
        response.writeHead(307, { location: `${target.url}/token` }).end()
      )
      const following = Layer.effect(
        HttpClient.HttpClient,
        Effect.map(HttpClient.HttpClient, HttpClient.followRedirects(3))
      ).pipe(Layer.provide(NodeHttpClient.layer))
      const error = yield* failure(`${server.url}/token`).pipe(Effect.provide(following))
      expect(error.reason).toBe("Misconfigured")
    })
  )

  it.scopedLive("keeps the RequestInit found beside it", () =>
    Effect.gen(function* () {
      const inits: Array<RequestInit | undefined> = []
      const fetch: typeof globalThis.fetch = (_, init) => {
        inits.push(init)
        return Promise.resolve(new Response(good))
      }
      yield* refresh("https://auth.example.com/token").pipe(
        Effect.provide(FetchHttpClient.layer),
        Effect.provideService(FetchHttpClient.Fetch, fetch),
        Effect.provideService(FetchHttpClient.RequestInit, { credentials: "omit", redirect: "follow" })
      )
      expect(inits).toMatchObject([{ credentials: "omit", redirect: "manual" }])
    })
  )

  it.effect("is asked under the test's clock", () =>
    Effect.gen(function* () {
      const silent = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make(() => Effect.never)
      )
      const fiber = yield* Effect.fork(failure("https://auth.example.com/token").pipe(Effect.provide(silent)))
      yield* TestClock.adjust("29 seconds")
      expect(yield* Edition.poll(fiber)).toEqual(Option.none())
      yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(fiber)).reason).toBe("MaybeSent")
    })
  )
})

const listenTls = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly requests: () => number; readonly server: Https.Server }>(
    (resume) => {
      let requests = 0
      const file = (name: string) => readFileSync(new URL(`./fixtures/${name}`, import.meta.url))
      const server = Https.createServer(
        { key: file("self-signed.key"), cert: file("self-signed.pem") },
        (_, response) => {
          requests++
          response.end(good)
        }
      )
      server.listen(0, "localhost", () =>
        resume(
          Effect.succeed({
            port: (server.address() as Net.AddressInfo).port,
            requests: () => requests,
            server
          })
        )
      )
    }
  ),
  ({ server }) => Effect.sync(() => server.close())
)
