/**
 * The outcome of a refresh on real sockets with every fault, by each HTTP client: the server never saw a
 * request that is reported as not sent, and a request that it may have seen is never reported so.
 */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, type TokenRefresher } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { type Duration, Effect, Option, Redacted, type Scope } from "effect"
import { readFileSync } from "node:fs"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { afterAll } from "vitest"
import { clients } from "./Clients.js"

const body = JSON.stringify({
  access_token: "at-2",
  token_type: "Bearer",
  refresh_token: "rt-2",
  expires_in: 60
})
const withoutItsEnd = body.slice(0, -2)
const file = (name: string) => readFileSync(new URL(`./fixtures/${name}`, import.meta.url))
const certificate = { key: file("self-signed.key"), cert: file("self-signed.pem") }

/** What a server does with a connection, and whether it saw the refresh token. */
type Behaviour = (socket: Net.Socket, saw: (bytes: Buffer) => boolean) => void

interface Endpoint {
  readonly url: string
  readonly seen: () => number
}

const listen = (server: Net.Server): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Set<Net.Socket>>((resume) => {
      const sockets = new Set<Net.Socket>()
      server.on("connection", (socket: Net.Socket) => {
        sockets.add(socket)
        socket.on("error", () => undefined)
      })
      server.listen(0, "localhost", () => resume(Effect.succeed(sockets)))
    }),
    (sockets) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  ).pipe(Effect.map(() => (server.address() as Net.AddressInfo).port))

const endpoint = (
  scheme: "http" | "https",
  make: (saw: (bytes: Buffer) => boolean) => Net.Server
): Effect.Effect<Endpoint, never, Scope.Scope> =>
  Effect.suspend(() => {
    let seen = 0
    const server = make((bytes) => {
      if (!bytes.includes("refresh_token=rt-1")) return false
      seen++
      return true
    })
    return Effect.map(listen(server), (port) => ({
      url: `${scheme}://localhost:${port}/token`,
      seen: () => seen
    }))
  })

const tcp = (behaviour: Behaviour) =>
  endpoint("http", (saw) => Net.createServer((socket) => behaviour(socket, saw)))

/** One that is reached by https, and speaks no TLS. */
const posing = (behaviour: Behaviour) =>
  endpoint("https", (saw) => Net.createServer((socket) => behaviour(socket, saw)))

const makeTls = (behaviour: Behaviour, options: Tls.TlsOptions, saw: (bytes: Buffer) => boolean) =>
  Tls.createServer({ ...certificate, ...options }, (socket) => {
    socket.on("error", () => undefined)
    behaviour(socket, saw)
  }).on("tlsClientError", () => undefined)

const tls = (behaviour: Behaviour, options: Tls.TlsOptions = {}) =>
  endpoint("https", (saw) => makeTls(behaviour, options, saw))

/** A connection that is whole until the server has the request; then something else happens to it. */
const tampered = (then: (client: Net.Socket) => void) =>
  Effect.gen(function* () {
    let client: Net.Socket | undefined
    let seen = 0
    const inner = yield* listen(
      makeTls(
        afterRequest(() => {
          seen++
          if (client !== undefined) then(client)
        }),
        {},
        (bytes) => bytes.includes("refresh_token=rt-1")
      )
    )
    const port = yield* listen(
      Net.createServer((socket) => {
        client = socket
        const upstream = Net.connect(inner, "localhost").on("error", () => undefined)
        socket.pipe(upstream)
        upstream.pipe(socket)
      })
    )
    return { url: `https://localhost:${port}/token`, seen: () => seen }
  })

const afterRequest =
  (then: (socket: Net.Socket) => void): Behaviour =>
  (socket, saw) => {
    let received = Buffer.alloc(0)
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (!saw(received)) return
      received = Buffer.alloc(0)
      then(socket)
    })
  }

const onceSpokenTo =
  (then: (socket: Net.Socket) => void): Behaviour =>
  (socket) =>
    void socket.once("data", () => then(socket))

const reset = (socket: Net.Socket) => void socket.resetAndDestroy()
const hangUp = (socket: Net.Socket) => void socket.end()

const answering = (status: string, text: string, length = text.length) =>
  afterRequest((socket) =>
    socket.end(
      `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n${text}`
    )
  )

/** `rescued`: the new refresh token was in what came, and is handed out to be saved. */
type Outcome = TokenRefresher.RefreshReason | "rescued"

interface Case {
  readonly name: string
  readonly server: Effect.Effect<Endpoint, never, Scope.Scope>
  readonly is: Outcome
  /** Where the client's word says less than the server knows, which is no harm. */
  readonly or?: Outcome
  /** Where nothing more comes. */
  readonly timeout?: Duration.DurationInput
}

const refusesOldVersions: Tls.TlsOptions = { minVersion: "TLSv1", maxVersion: "TLSv1.1" }
const wantsCertificate = (version: Tls.SecureVersion): Tls.TlsOptions => ({
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: version,
  maxVersion: version
})
const alert = Buffer.from([21, 3, 3, 0, 2, 2, 40])

/** From Node 22 on, `fetch` and undici do not distinguish an alert in the handshake from a later one. */
const alertsOfAnyTime: Pick<Case, "or"> =
  Number(process.versions.node.split(".")[0]) >= 22 ? { or: "MaybeSent" } : {}

const cases: ReadonlyArray<Case> = [
  // Before the request: the server cannot have seen it. A connection that is there may have carried it.
  { name: "reset by the one who listens", server: tcp(reset), is: "NotSent", or: "MaybeSent" },
  { name: "hung up as soon as connected", server: tcp(hangUp), is: "MaybeSent" },
  { name: "TLS: hung up at once", server: posing(hangUp), is: "NotSent" },
  { name: "TLS: hung up in the handshake", server: posing(onceSpokenTo(hangUp)), is: "NotSent" },
  {
    name: "TLS: reset in the handshake",
    server: posing(onceSpokenTo(reset)),
    is: "NotSent",
    or: "MaybeSent"
  },
  {
    name: "TLS: an alert in the handshake",
    server: posing(onceSpokenTo((socket) => socket.write(alert))),
    is: "NotSent",
    ...alertsOfAnyTime
  },
  {
    name: "TLS: spoken to in plain",
    server: posing(onceSpokenTo((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))),
    is: "NotSent",
    or: "MaybeSent"
  },
  { name: "TLS: an old version only", server: tls(afterRequest(reset), refusesOldVersions), is: "NotSent" },
  {
    name: "TLS 1.2: wants a certificate",
    server: tls(afterRequest(reset), wantsCertificate("TLSv1.2")),
    is: "NotSent",
    ...alertsOfAnyTime
  },
  {
    // The client has sent its request by the time it hears of that; the server has not read it.
    name: "TLS 1.3: wants a certificate",
    server: tls(afterRequest(reset), wantsCertificate("TLSv1.3")),
    is: "NotSent",
    or: "MaybeSent"
  },
  // With the request, or after it, and no answer.
  { name: "reset in the request", server: tcp(onceSpokenTo(reset)), is: "MaybeSent" },
  { name: "reset after the request", server: tcp(afterRequest(reset)), is: "MaybeSent" },
  { name: "hung up after the request", server: tcp(afterRequest(hangUp)), is: "MaybeSent" },
  { name: "TLS: hung up after the request", server: tls(afterRequest((s) => s.destroy())), is: "MaybeSent" },
  { name: "TLS: reset after the request", server: tampered(reset), is: "MaybeSent" },
  {
    name: "TLS: an alert in plain after the request",
    server: tampered((socket) => socket.write(alert)),
    is: "MaybeSent",
    timeout: "300 millis"
  },
  {
    name: "TLS: garbage after the request",
    server: tampered((socket) => socket.write("garbage, and more of it")),
    is: "MaybeSent",
    timeout: "300 millis"
  },
  { name: "silence", server: tcp(afterRequest(() => undefined)), is: "MaybeSent", timeout: "300 millis" },
  {
    name: "an answer that is no HTTP",
    server: tcp(afterRequest((socket) => socket.end("this is not HTTP\r\n\r\n"))),
    is: "MaybeSent"
  },
  {
    name: "more headers than a client takes",
    server: tcp(afterRequest((socket) => socket.end(`HTTP/1.1 200 OK\r\nx: ${"x".repeat(100_000)}\r\n\r\n`))),
    is: "MaybeSent"
  },
  // Answers, whole and not.
  { name: "500 and nothing", server: tcp(answering("500 Internal Server Error", "")), is: "MaybeSent" },
  { name: "502 and a page", server: tcp(answering("502 Bad Gateway", "<html>")), is: "MaybeSent" },
  {
    name: "503 with an OAuth error",
    server: tcp(answering("503 Unavailable", '{"error":"temporarily_unavailable"}')),
    is: "Transient"
  },
  {
    name: "503, broken off",
    server: tcp(answering("503 Unavailable", '{"error":"tempora', 40)),
    is: "MaybeSent"
  },
  {
    name: "400 with an OAuth error",
    server: tcp(answering("400 Bad Request", '{"error":"invalid_grant"}')),
    is: "GrantDead"
  },
  {
    name: "400, broken off",
    server: tcp(answering("400 Bad Request", '{"error":"invalid_gr', 40)),
    is: "MaybeSent"
  },
  {
    name: "200, broken off before the refresh token",
    server: tcp(answering("200 OK", body.slice(0, 20), body.length)),
    is: "MaybeSent"
  },
  {
    name: "200, broken off after the refresh token",
    server: tcp(answering("200 OK", withoutItsEnd, body.length)),
    is: "rescued"
  },
  {
    name: "200 in chunks, broken off after the refresh token",
    server: tcp(
      afterRequest((socket) =>
        socket.end(
          `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${withoutItsEnd.length.toString(16)}\r\n${withoutItsEnd}\r\n`
        )
      )
    ),
    is: "rescued"
  },
  {
    name: "200, silent after the refresh token",
    server: tcp(
      afterRequest((socket) =>
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${withoutItsEnd}`)
      )
    ),
    is: "rescued",
    timeout: "2 seconds"
  }
]

const trust = process.env["NODE_TLS_REJECT_UNAUTHORIZED"]
afterAll(() => {
  if (trust === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]
  else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = trust
})

const refresh = (url: string, timeout?: Duration.DurationInput) =>
  Effect.flatMap(
    RefreshToken.make({
      server: { tokenEndpoint: url },
      client: { clientId: "client" },
      timeout
    }),
    (refresher) =>
      refresher.refresh(Option.some(Credentials.make({ accessToken: "at-1", refreshToken: "rt-1" })))
  )

describe.each(clients)("over %s", (_, client) => {
  it.scopedLive.each(cases)("$name", ({ is, or, server, timeout }) =>
    Effect.gen(function* () {
      // The certificate of these servers is nobody's; what happens after the handshake is what is looked at.
      process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0"
      const { seen, url } = yield* server
      const error = yield* Effect.flip(refresh(url, timeout))
      if (error._tag !== "RefreshError") throw new Error(error.message)
      const rescued = Option.flatMap(Option.fromNullable(error.salvaged), (c) => c.refreshToken)
      const outcome = Option.isSome(rescued) ? "rescued" : error.reason
      expect([is, or]).toContain(outcome)
      if (Option.isSome(rescued)) expect(Redacted.value(rescued.value)).toBe("rt-2")
      // No client sends it again of itself, and what is called not sent was not seen.
      expect(seen()).toBeLessThanOrEqual(outcome === "NotSent" ? 0 : 1)
    }).pipe(Effect.provide(client))
  )

  it.scopedLive(
    "a connection that was kept, and is gone by the next request: sent once, and perhaps seen",
    () =>
      Effect.gen(function* () {
        let requests = 0
        const { seen, url } = yield* tcp(
          afterRequest((socket) => {
            if (++requests > 1) return reset(socket)
            socket.write(
              `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
            )
          })
        )
        yield* refresh(url)
        const error = yield* Effect.flip(refresh(url))
        expect(error).toMatchObject({ reason: "MaybeSent" })
        expect(seen()).toBe(2)
      }).pipe(Effect.provide(client))
  )
})
