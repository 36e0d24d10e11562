/** Managers whose tokens come from an agent, with a small agent on a real socket. */
import { FetchHttpClient } from "@effect/platform"
import { TokenConfig, TokenManager } from "@latchkey/core"
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Layer, Option, Redacted, TestClock } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { withVariables } from "../../core/test/support/Edition.js"
import * as Agent from "../src/Agent.js"
import * as ProviderManager from "../src/ProviderManager.js"
import * as Providers from "../src/Providers.js"

interface Reply {
  readonly status?: number
  readonly body: unknown
}

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "latchkey-agent-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const listen = (server: Http.Server, at: string | number) =>
  Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(at as string, resolve))),
    () =>
      Effect.promise(() => {
        const closed = new Promise((resolve) => server.close(resolve))
        server.closeAllConnections()
        return closed
      })
  )

/** Replies to each request with the next reply, or with the last one again. */
const agent = (replies: ReadonlyArray<Reply>) => {
  const requests: Array<string> = []
  const server = Http.createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8").on("data", (part: string) => (body += part))
    request.on("end", () => {
      const reply = replies[Math.min(requests.length, replies.length - 1)]!
      const secret = request.headers.authorization ?? ""
      requests.push([request.method, request.url, body, secret].filter((part) => part !== "").join(" "))
      response.writeHead(reply.status ?? 200, { "content-type": "application/json" })
      response.end(typeof reply.body === "string" ? reply.body : JSON.stringify(reply.body))
    })
  })
  return { requests, server }
}

const hour = 3_600_000

const token = (name: string, expiresAt: number | null = hour): Reply => ({
  body: { account: "acme/work", token: name, tokenType: "Bearer", expiresAt, expiresInSeconds: null }
})

const problem = (status: number, reason: string, next: string | null = null): Reply => ({
  status,
  body: { error: { reason, message: `The agent says ${reason}.`, next } }
})

const get = "GET /token?account=acme%2Fwork&min_validity=0"
const post = "POST /reject?account=acme%2Fwork"

/** A manager over an agent with these replies, and the requests that it got. */
const world = (replies: ReadonlyArray<Reply>) =>
  Effect.gen(function* () {
    const address = join(yield* folder, "agent.sock")
    const { requests, server } = agent(replies)
    yield* listen(server, address)
    const layer = Layer.provide(Agent.layer({ address }, "acme/work"), TokenConfig.layer({ jitter: 0 }))
    const manager = Layer.build(layer).pipe(
      Effect.flatMap((context) => Effect.provide(TokenManager.TokenManager, context))
    )
    return { manager: yield* manager, requests }
  })

const value = <E>(token: Effect.Effect<Redacted.Redacted, E>): Effect.Effect<string, E> =>
  Effect.map(token, Redacted.value)

describe("a manager over an agent", () => {
  it.scoped("keeps the token in memory until it is due", () =>
    Effect.gen(function* () {
      const { manager, requests } = yield* world([token("a"), token("b", 2 * hour)])
      for (let n = 0; n < 3; n++) expect(yield* value(manager.getAccessToken)).toBe("a")
      expect(requests).toEqual([get])
      yield* TestClock.adjust(hour - 60_000)
      expect(yield* value(manager.getAccessToken)).toBe("b")
      expect(requests).toEqual([get, get])
      expect((yield* manager.status).expiresInSeconds).toEqual(Option.some(3660))
    })
  )

  it.scoped("does not reject a token that is merely due, if the agent still has it", () =>
    Effect.gen(function* () {
      const { manager, requests } = yield* world([token("a"), token("a"), token("b", 2 * hour)])
      yield* manager.getAccessToken
      yield* TestClock.adjust(hour - 60_000)
      expect(yield* value(manager.getAccessToken)).toBe("a")
      expect(requests).toEqual([get, get])
      yield* TestClock.adjust(60_000)
      expect(yield* value(manager.getAccessToken)).toBe("b")
      expect(requests).toEqual([get, get, get])
    })
  )

  it.scoped("has the agent replace a token that a server has refused", () =>
    Effect.gen(function* () {
      const { manager, requests } = yield* world([token("a"), token("a"), token("b")])
      const first = yield* manager.getAccessToken
      expect(yield* value(manager.reject(first))).toBe("b")
      expect(requests).toEqual([get, get, `${post} a`])
    })
  )

  it.scoped("rejects nothing if the agent has replaced it already", () =>
    Effect.gen(function* () {
      const { manager, requests } = yield* world([token("a"), token("b")])
      const first = yield* manager.getAccessToken
      expect(yield* value(manager.reject(first))).toBe("b")
      expect(requests).toEqual([get, get])
    })
  )

  it.scoped("a token without an expiry is kept, and replaced when it is refused", () =>
    Effect.gen(function* () {
      const { manager, requests } = yield* world([token("a", null), token("a", null), token("b", null)])
      const first = yield* manager.getAccessToken
      yield* TestClock.adjust(10 * hour)
      expect(yield* value(manager.getAccessToken)).toBe("a")
      expect(yield* value(manager.reject(first))).toBe("b")
      expect(requests).toEqual([get, get, `${post} a`])
    })
  )

  it.scoped.each([
    [
      problem(401, "NoCredentials", "latchkey login acme"),
      /^The agent says NoCredentials\. Next: latchkey login acme$/
    ],
    [problem(403, "NotAllowed"), /^The agent says NotAllowed\.$/],
    [problem(503, "Busy"), /^The agent says Busy\.$/],
    [{ body: "<html>" }, /agent\.sock does not answer: its answer is none of an agent's\. Next: start it/],
    [
      { status: 502, body: "Bad Gateway" },
      /does not answer: it answered with the status 502\. Next: start it/
    ],
    [token(""), /its answer is none of an agent's/]
  ] as ReadonlyArray<readonly [Reply, RegExp]>)("passes on %j", ([reply, words]) =>
    Effect.gen(function* () {
      const { manager } = yield* world([reply])
      const error = yield* Effect.flip(manager.getAccessToken)
      expect(error._tag).toBe("RefreshUnavailable")
      expect(error.message).toMatch(words)
    })
  )

  it.scoped("is back within ten seconds after the agent is", () =>
    Effect.gen(function* () {
      const failing = Array.from({ length: 12 }, () => problem(503, "Busy"))
      const { manager } = yield* world([...failing, token("a", 10 * hour)])
      for (let n = 0; n < 12; n++) {
        yield* Effect.flip(manager.getAccessToken)
        yield* TestClock.adjust("10 seconds")
      }
      expect(yield* value(manager.getAccessToken)).toBe("a")
    })
  )
})

describe("an address", () => {
  it.effect.each([
    ["agent.sock", "Address"],
    ["http://agent.example:8484", "Address"],
    ["/nowhere/agent.sock", "Unreachable"],
    ["http://127.0.0.1:1", "Secret"]
  ])("%s is explained", ([address, reason]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Agent.token({ address: address! }, "acme/work"))
      expect(error.reason).toBe(reason)
      expect(error.next).toBeDefined()
    })
  )

  it.scopedLive("on a port is sent the secret, which no error shows", () =>
    Effect.gen(function* () {
      const secretFile = join(yield* folder, "secret")
      writeFileSync(secretFile, "canary-secret\n")
      const { requests, server } = agent([token("a"), { status: 500, body: "canary-secret" }])
      yield* listen(server, 0)
      const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      expect(Redacted.value((yield* Agent.token({ address, secretFile }, "acme/work")).accessToken)).toBe("a")
      expect(requests).toEqual([`${get} Bearer canary-secret`])
      const error = yield* Effect.flip(Agent.token({ address, secretFile }, "acme/work"))
      expect(`${JSON.stringify(error)} ${String(error)}`).not.toContain("canary")
    })
  )
})

describe("a provider's manager", () => {
  const open = (options: ProviderManager.LayerOptions, variables: Readonly<Record<string, string>>) =>
    Effect.gen(function* () {
      const providers = yield* Providers.Providers
      const claude = yield* providers.get("claude")
      const layer = ProviderManager.layer(claude, options).pipe(
        Layer.provide([TokenConfig.layer(), FetchHttpClient.layer])
      )
      return yield* Effect.provide(TokenManager.TokenManager, yield* Layer.build(layer))
    }).pipe(Effect.provide(Providers.layer()), withVariables(variables))

  it.scopedLive("has the tokens of the agent that LATCHKEY_AGENT names, and reads no file", () =>
    Effect.gen(function* () {
      const address = join(yield* folder, "agent.sock")
      const now = yield* Clock.currentTimeMillis
      const { requests, server } = agent([token("from the agent", now + hour)])
      yield* listen(server, address)
      const variables = { LATCHKEY_AGENT: address, HOME: "/nowhere" }
      const manager = yield* open({ account: "work" }, variables)
      expect(yield* value(manager.getAccessToken)).toBe("from the agent")
      yield* Effect.flatMap(open({}, variables), (own) => own.getAccessToken)
      expect(requests).toEqual(
        [get, get].map((line, n) => line.replace("acme%2Fwork", ["claude%2Fwork", "claude%2Fdefault"][n]!))
      )
    })
  )

  it.scopedLive("has a file that the program names, also with LATCHKEY_AGENT", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "credentials.json")
      const manager = yield* open({ path }, { LATCHKEY_AGENT: "/nowhere/agent.sock" })
      expect(manager.location).toBe(path)
      expect(yield* Effect.flip(manager.getAccessToken)).toMatchObject({ _tag: "ReauthorizationRequired" })
    })
  )
})
