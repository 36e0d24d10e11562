import {
  HttpBody,
  HttpClient,
  HttpClientError,
  HttpClientRequest,
  HttpClientResponse
} from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, RefreshLease, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { BearerClient, DPoP } from "@latchkey/oauth"
import {
  Cause,
  Context,
  Effect,
  Either,
  Exit,
  Layer,
  Option,
  Redacted,
  Stream,
  TestClock,
  Tracer
} from "effect"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import type { Asked, Reply } from "./Memory.js"

const start = 1_700_000_000_000
const origin = "https://api.example.com"

const invalidToken: Reply = {
  status: 401,
  headers: { "www-authenticate": 'Bearer realm="api", error="invalid_token"' }
}
const challenged = (challenge: string, status = 401): Reply => ({
  status,
  headers: { "www-authenticate": challenge }
})
const fine: Reply = { body: { ok: true } }

type Api = (asked: Asked, number: number) => Reply | "reset"

/** A resource server that keeps what it was asked. */
const serving = (api: Api) => {
  const asked: Array<Asked> = []
  const client = HttpClient.make((request, url) =>
    Effect.gen(function* () {
      const { body } = request
      const text =
        body._tag === "Uint8Array"
          ? new TextDecoder().decode(body.body)
          : body._tag === "Stream"
            ? yield* Effect.orDie(Stream.mkString(Stream.decodeText(body.stream)))
            : body._tag === "FormData"
              ? [...body.formData.keys()].join()
              : body._tag === "Raw"
                ? String(body.body)
                : ""
      const seen = { method: request.method, url: url.href, headers: { ...request.headers }, body: text }
      asked.push(seen)
      const reply = api(seen, asked.length)
      if (reply === "reset") {
        const cause = Object.assign(new Error(`socket of ${seen.headers["authorization"]}`), {
          code: "ECONNRESET"
        })
        return yield* new HttpClientError.RequestError({ request, reason: "Transport", cause })
      }
      return HttpClientResponse.fromWeb(
        request,
        new Response(JSON.stringify(reply.body ?? null), {
          status: reply.status ?? 200,
          headers: { "content-type": "application/json", ...reply.headers }
        })
      )
    })
  )
  return { asked, client }
}

interface Setup {
  readonly api?: Api
  readonly initial?: Credentials.Credentials | null
  readonly script?: Parameters<typeof ScriptedRefresher.layer>[0]
  readonly options?: Partial<BearerClient.Options>
  /** What lies between the server and the bearer client. */
  readonly inside?: (client: HttpClient.HttpClient) => HttpClient.HttpClient
}

const grant = (over: Partial<Credentials.Options> = {}) =>
  Credentials.make({
    accessToken: "at-0",
    refreshToken: "rt-0",
    obtainedAt: start,
    expiresAt: start + 3_600_000,
    ...over
  })

/** A client for a manager over memory; the n-th refresh answers `at-n`. */
const bench = (setup: Setup = {}) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const { asked, client } = serving(setup.api ?? (() => fine))
    const initial = setup.initial === undefined ? grant() : setup.initial
    const services = yield* Layer.build(
      Layer.mergeAll(
        Layer.effect(
          TokenStorage.TokenStorage,
          TokenStorage.makeMemory(Option.map(Option.fromNullable(initial), (c) => Entry.first(c)))
        ),
        RefreshLease.layerProcess,
        TokenConfig.layer({ instance: "test" }),
        ScriptedRefresher.layer(
          setup.script ??
            ((n) =>
              ScriptedRefresher.answer({
                accessToken: `at-${n}`,
                refreshToken: `rt-${n}`,
                expiresIn: 3_600_000
              }))
        )
      )
    )
    const manager = yield* Effect.provide(TokenManager.make(), services)
    const wrap = yield* BearerClient.transform({ manager, origins: [origin], ...setup.options })
    return {
      asked,
      manager,
      client: wrap((setup.inside ?? ((inner) => inner))(client)),
      refreshes: Context.get(services, ScriptedRefresher.RefreshCalls).count,
      tokens: () => asked.map((a) => a.headers["authorization"])
    }
  })

describe("the token", () => {
  it.scoped("goes to its own origins, in the Authorization header", () =>
    Effect.gen(function* () {
      const { asked, client, tokens } = yield* bench({
        options: { origins: [origin, "https://other.example.com:8443/", "http://127.0.0.1:8080"] }
      })
      const urls = [
        `${origin}/users?q=1#part`,
        `${origin}:443/`,
        "https://OTHER.example.com:8443/x",
        "http://127.0.0.1:8080/"
      ]
      for (const url of urls) expect((yield* client.get(url)).status).toBe(200)
      expect(tokens()).toEqual(urls.map(() => "Bearer at-0"))
      for (const { body, url } of asked) expect(`${url}${body}`).not.toContain("at-0")
    })
  )

  it.scoped("goes nowhere else, and is not even asked for", () =>
    Effect.gen(function* () {
      const { client, refreshes, tokens } = yield* bench({
        initial: null,
        api: () => invalidToken
      })
      const urls = [
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://www.api.example.com/",
        "https://api.example.com.evil.example/",
        "https://api.example.com@evil.example/",
        "https://evil.example/https://api.example.com/",
        "https://example.com/"
      ]
      for (const url of urls) expect((yield* client.get(url)).status).toBe(401)
      expect(tokens()).toEqual(urls.map(() => undefined))
      expect(yield* refreshes).toBe(0)
    })
  )

  it.scoped("follows the URL as it is at last, whatever lies between", () =>
    Effect.gen(function* () {
      const relative = yield* bench({
        inside: HttpClient.mapRequest(HttpClientRequest.prependUrl(origin))
      })
      yield* relative.client.get("/users")
      expect(relative.tokens()).toEqual(["Bearer at-0"])
      const astray = yield* bench({
        inside: HttpClient.mapRequest(HttpClientRequest.setUrl("https://evil.example/"))
      })
      yield* astray.client.get(`${origin}/users`)
      expect(astray.tokens()).toEqual([undefined])
    })
  )

  it.scoped("is the one of the manager now", () =>
    Effect.gen(function* () {
      const { client, manager, tokens } = yield* bench()
      yield* client.get(origin)
      yield* manager.refresh
      yield* client.get(origin)
      yield* manager.save(grant({ accessToken: "at-login" }))
      yield* client.get(origin)
      expect(tokens()).toEqual(["Bearer at-0", "Bearer at-1", "Bearer at-login"])
    })
  )

  it.scoped("of a type that is not understood is not sent", () =>
    Effect.gen(function* () {
      for (const tokenType of ["mac", "", "Bearer2", "N_A", "N_A\u001b[2J"]) {
        const { asked, client } = yield* bench({ initial: grant({ tokenType }) })
        const error = yield* Effect.flip(client.get(origin))
        expect(error).toMatchObject({ _tag: "RequestError", reason: "Encode" })
        expect(error.message).toContain("RFC 6749 §7.1")
        expect(error.message).not.toContain("\u001b")
        expect(asked).toEqual([])
      }
      const lower = yield* bench({ initial: grant({ tokenType: "bEARER" }) })
      yield* lower.client.get(origin)
      expect(lower.tokens()).toEqual(["Bearer at-0"])
    })
  )

  it.scoped("that no header can carry is not sent, and shown nowhere", () =>
    Effect.gen(function* () {
      const key = yield* DPoP.generate()
      const broken = grant({ accessToken: "canary\r\nat-0" })
      const bound = DPoP.attach(new Credentials.Credentials({ ...broken, tokenType: "DPoP" }), key)
      for (const initial of [broken, bound]) {
        const { asked, client } = yield* bench({ initial })
        const exit = yield* Effect.exit(client.get(origin))
        expect(inspect(exit, { depth: 20 }) + String(exit)).not.toContain("canary")
        expect(exit).toMatchObject({ cause: { _tag: "Fail", error: { reason: "Encode" } } })
        expect(asked).toEqual([])
      }
      const nonces = yield* DPoP.makeNonces
      const { accessToken } = broken
      const made = yield* Effect.exit(DPoP.proof({ key, nonces, method: "GET", url: origin, accessToken }))
      expect(inspect(made, { depth: 20 }) + String(made)).not.toContain("canary")
    })
  )

  it.scoped("that cannot be had is a typed failure of the request, and nothing is sent", () =>
    Effect.gen(function* () {
      const none = yield* bench({ initial: null })
      const missing = yield* Effect.flip(none.client.get(origin))
      expect(missing).toMatchObject({ _tag: "ReauthorizationRequired", reason: "NoCredentials" })
      const asHttp = yield* Effect.flip(BearerClient.toHttpClient(none.client).get(origin))
      expect(asHttp).toMatchObject({ _tag: "RequestError", reason: "Encode" })
      expect(asHttp.message).toContain(missing.message)
      expect(BearerClient.tokenError(asHttp)).toEqual(Option.some(missing))
      expect(none.asked).toEqual([])

      const down = yield* bench({
        initial: grant({ expiresAt: start - 1 }),
        script: () => ScriptedRefresher.fail("Transient")
      })
      const passing = yield* Effect.flip(down.client.get(origin))
      expect(passing).toMatchObject({ _tag: "RefreshUnavailable", reason: "Transient" })
      const later = yield* Effect.flip(BearerClient.toHttpClient(down.client).get(origin))
      expect(later).toMatchObject({ _tag: "RequestError", reason: "Transport" })
      expect(Option.getOrThrow(BearerClient.tokenError(later))).toMatchObject({ _tag: "RefreshUnavailable" })
      expect(down.asked).toEqual([])

      const reset = yield* bench({ api: () => "reset" })
      const broken = yield* Effect.flip(BearerClient.toHttpClient(reset.client).get(origin))
      expect(BearerClient.tokenError(broken)).toEqual(Option.none())
    })
  )

  it.effect.each([
    [[]],
    [["http://api.example.com"]],
    [["https://api.example.com/v1"]],
    [["https://api.example.com?x"]],
    [["https://user@api.example.com"]],
    [["api.example.com"]],
    [[origin, "ftp://api.example.com"]]
  ])("is for origins alone: %j", ([origins]) =>
    Effect.gen(function* () {
      const { manager } = yield* Effect.scoped(bench())
      const error = yield* Effect.flip(BearerClient.transform({ manager, origins: origins! }))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "origins" })
    })
  )

  it.scoped("is in a client made as a layer, for the one manager or one of several", () =>
    Effect.gen(function* () {
      class Github extends TokenManager.Tag("test/Github")<Github>() {}
      class GithubApi extends BearerClient.Tag("test/GithubApi")<GithubApi>() {}
      const { manager } = yield* bench()
      const { asked, client } = serving(() => fine)
      const inner = Layer.succeed(HttpClient.HttpClient, client)
      const one = BearerClient.layer({ origins: [origin] }).pipe(
        Layer.provide([inner, Layer.succeed(TokenManager.TokenManager, manager)])
      )
      const several = BearerClient.layerFor(GithubApi, { manager: Github, origins: [origin] }).pipe(
        Layer.provide([inner, Layer.succeed(Github, manager)])
      )
      const get = (client: BearerClient.Client) => client.get(origin)
      yield* Effect.provide(Effect.flatMap(BearerClient.BearerClient, get), one)
      yield* Effect.provide(Effect.flatMap(GithubApi, get), several)
      expect(asked.map((a) => a.headers["authorization"])).toEqual(["Bearer at-0", "Bearer at-0"])
    })
  )
})

describe("a refusal", () => {
  const onlyNew: Api = ({ headers }) => (headers["authorization"] === "Bearer at-0" ? invalidToken : fine)

  it.scoped("has the token replaced and the request sent once more", () =>
    Effect.gen(function* () {
      const { asked, client, refreshes } = yield* bench({ api: onlyNew })
      const response = yield* client.post(`${origin}/items?x=1`, {
        body: HttpBody.unsafeJson({ a: 1 }),
        headers: { "x-mine": "kept" }
      })
      expect(response.status).toBe(200)
      expect(yield* response.json).toEqual({ ok: true })
      expect(yield* refreshes).toBe(1)
      const [first, second] = asked
      expect(asked).toHaveLength(2)
      expect(second!.headers["authorization"]).toBe("Bearer at-1")
      for (const each of [first!, second!]) {
        expect(each).toMatchObject({ method: "POST", url: `${origin}/items?x=1`, body: '{"a":1}' })
        expect(each.headers["x-mine"]).toBe("kept")
      }
    })
  )

  it.scoped("of a hundred requests at once is one refresh", () =>
    Effect.gen(function* () {
      const { asked, client, refreshes } = yield* bench({ api: onlyNew })
      const all = yield* Effect.forEach(Array.from({ length: 100 }), () => client.get(origin), {
        concurrency: "unbounded"
      })
      expect(new Set(all.map((response) => response.status))).toEqual(new Set([200]))
      expect(yield* refreshes).toBe(1)
      expect(asked.length).toBeLessThanOrEqual(200)
    })
  )

  it.scoped.each([
    ["a Bearer challenge without an error", "Bearer", true],
    ["one with a realm alone", 'Bearer realm="x"', true],
    ["invalid_token among other schemes", 'Basic realm="x", DPoP error="invalid_token"', true],
    ["invalid_token in lower case and without quotes", "bearer error=invalid_token", true],
    ["no challenge", "", false],
    ["a challenge for something else", 'Basic realm="x", error="invalid_token"', false],
    ["insufficient_scope", 'Bearer error="insufficient_scope"', false],
    ["invalid_request", 'Bearer error="invalid_request"', false],
    ["a step-up", 'Bearer error="insufficient_user_authentication", max_age=5', false],
    [
      "a step-up beside it",
      'Bearer error="invalid_token", DPoP error="insufficient_user_authentication"',
      false
    ],
    ["a proof that is wrong", 'DPoP error="invalid_dpop_proof"', false]
  ] as const)("is %s: %s", ([, challenge, refused]) =>
    Effect.gen(function* () {
      const { asked, client, refreshes } = yield* bench({
        api: (_, n) => (n === 1 ? challenged(challenge) : fine)
      })
      expect((yield* client.get(origin)).status).toBe(refused ? 200 : 401)
      expect(asked).toHaveLength(refused ? 2 : 1)
      expect(yield* refreshes).toBe(refused ? 1 : 0)
    })
  )

  it.scoped.each([400, 403, 404, 407, 429, 500, 503])("is never a %d", (status) =>
    Effect.gen(function* () {
      for (const challenge of [
        'Bearer error="insufficient_scope"',
        'Bearer error="invalid_token"',
        "Bearer"
      ]) {
        const { asked, client, refreshes } = yield* bench({ api: () => challenged(challenge, status) })
        expect((yield* client.get(origin)).status).toBe(status)
        expect(asked).toHaveLength(1)
        expect(yield* refreshes).toBe(0)
      }
    })
  )

  it.scoped("may be what the program says, where a server sends no challenge", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const { client, refreshes } = yield* bench({
        api: (_, n) => (n === 1 ? { status: 401 } : n === 3 ? { status: 404 } : fine),
        options: {
          isRejected: (response) => {
            seen.push(response.status)
            return response.status === 401
          }
        }
      })
      expect((yield* client.get(origin)).status).toBe(200)
      expect((yield* client.get(origin)).status).toBe(404)
      expect(seen).toEqual([401, 200, 404])
      expect(yield* refreshes).toBe(1)
    })
  )

  const expired = { body: { code: "ExpiredToken" } }
  const byBody: BearerClient.Options["isRejected"] = (response) =>
    Effect.map(
      response.json,
      (body) => typeof body === "object" && body !== null && "code" in body && body.code === "ExpiredToken"
    )

  it.scoped.each<readonly [string, Reply, NonNullable<BearerClient.Options["isRejected"]>]>([
    ["a 403", { status: 403 }, ({ status }) => status === 403],
    ["a 403 with a challenge", challenged('Bearer error="insufficient_scope"', 403), (r) => r.status === 403],
    ["a 401 whose challenge names another error", challenged('Bearer error="x"'), (r) => r.status === 401],
    ["a 302 to a login page", { status: 302, headers: { location: "/login" } }, (r) => r.status === 302],
    ["a 400 whose body says so", { status: 400, ...expired }, byBody],
    ["a 200 whose body says so", expired, byBody],
    ["a 500 whose body says so", { status: 500, ...expired }, byBody],
    [
      "a header",
      { status: 410, headers: { "x-token": "expired" } },
      (r) => r.headers["x-token"] === "expired"
    ]
  ])("may be %s, if the program says so (F26)", ([, reply, isRejected]) =>
    Effect.gen(function* () {
      const { client, refreshes, tokens } = yield* bench({
        api: ({ headers }) => (headers["authorization"] === "Bearer at-0" ? reply : fine),
        options: { isRejected }
      })
      const response = yield* client.get(origin)
      expect(response.status).toBe(200)
      expect(yield* response.json).toEqual({ ok: true })
      expect(tokens()).toEqual(["Bearer at-0", "Bearer at-1"])
      expect(yield* refreshes).toBe(1)
      // Without it the same answer is the program's.
      const plain = yield* bench({ api: () => reply })
      expect((yield* plain.client.get(origin)).status).toBe(reply.status ?? 200)
      expect(plain.asked).toHaveLength(1)
    })
  )

  it.scoped("of the new token too is the answer, however it is said, and does not become a storm", () =>
    Effect.gen(function* () {
      const { asked, client, refreshes } = yield* bench({
        api: () => ({ status: 400, ...expired }),
        options: { isRejected: byBody }
      })
      const response = yield* client.get(origin)
      expect(response.status).toBe(400)
      expect(yield* response.json).toEqual(expired.body)
      for (let i = 0; i < 50; i++) yield* Effect.ignore(client.get(origin))
      expect(asked.length).toBeLessThanOrEqual(4)
      expect(yield* refreshes).toBeLessThanOrEqual(2)
    })
  )

  const long = "x".repeat(200_000)
  const readings: ReadonlyArray<
    readonly [string, (r: HttpClientResponse.HttpClientResponse) => Effect.Effect<unknown, unknown>]
  > = [
    ["text", (r) => r.text],
    ["text twice", (r) => Effect.andThen(r.text, r.text)],
    ["json", (r) => Effect.map(r.json, (value) => JSON.stringify(value))],
    ["arrayBuffer", (r) => Effect.map(r.arrayBuffer, (b) => new TextDecoder().decode(b))],
    ["stream", (r) => Stream.mkString(Stream.decodeText(r.stream))],
    ["urlParamsBody", (r) => Effect.map(r.urlParamsBody, (params) => params[0]?.[0])]
  ]
  for (const [how, read] of readings) {
    it.scoped(`leaves the body whole, whatever was looked at: ${how}`, () =>
      Effect.gen(function* () {
        const peeks: ReadonlyArray<NonNullable<BearerClient.Options["isRejected"]>> = [
          () => false,
          (r) => Effect.as(r.text, false),
          (r) => Effect.as(Stream.runHead(r.stream), false),
          (r) => Effect.as(r.formData, false),
          (r) => Effect.andThen(r.text, Effect.as(r.arrayBuffer, false)),
          (r) => Effect.andThen(r.text, Effect.never),
          (r) => Effect.andThen(r.text, Effect.die("a mistake in it")),
          () => {
            throw new Error("a mistake in it")
          }
        ]
        for (const isRejected of peeks) {
          for (const body of [{ a: 1 }, { long }, 0]) {
            const { client } = yield* bench({ api: () => ({ status: 400, body }), options: { isRejected } })
            const asked = yield* Effect.fork(client.get(origin))
            yield* TestClock.adjust("10 seconds")
            const response = yield* asked
            expect(yield* read(response)).toBe(JSON.stringify(body))
          }
        }
      })
    )
  }

  it.scoped("is looked for in 64 KiB of a body and no more, and an empty body is no failure", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const looking = (response: HttpClientResponse.HttpClientResponse) =>
        Effect.map(Effect.either(response.text), (text) => {
          seen.push(Either.isRight(text) ? text.right.length : text.left.description)
          return false
        })
      const bodies = [{ long }, "y".repeat(1000)]
      const { client } = yield* bench({
        api: (_, n) => ({ status: 400, body: bodies[n - 1] }),
        options: { isRejected: looking }
      })
      yield* client.get(origin)
      yield* client.get(origin)
      expect(seen).toEqual(["The body is longer than 65536 bytes", 1002])
      const empty = HttpClient.make((request) =>
        Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 204 })))
      )
      const { manager } = yield* bench()
      const wrap = yield* BearerClient.transform({ manager, origins: [origin], isRejected: looking })
      const response = yield* wrap(empty).get(origin)
      expect([response.status, yield* response.text, seen.at(-1)]).toEqual([204, "", 0])
    })
  )

  const form = new FormData()
  form.append("field", "value")
  it.scoped.each<readonly [string, HttpBody.HttpBody, string]>([
    ["nothing", HttpBody.empty, ""],
    ["text", HttpBody.text("text"), "text"],
    ["JSON", HttpBody.unsafeJson({ a: [1] }), '{"a":[1]}'],
    ["bytes", HttpBody.uint8Array(new TextEncoder().encode("bytes")), "bytes"],
    ["a raw string", HttpBody.raw("raw"), "raw"],
    ["a form", HttpBody.formData(form), "field"]
  ])("repeats %s", ([, body, text]) =>
    Effect.gen(function* () {
      const { asked, client } = yield* bench({ api: onlyNew })
      expect((yield* client.execute(HttpClientRequest.post(origin, { body }))).status).toBe(200)
      expect(asked.map((a) => a.body)).toEqual([text, text])
    })
  )

  it.scoped.each<readonly [string, () => HttpBody.HttpBody]>([
    ["a stream", () => HttpBody.stream(Stream.make(new TextEncoder().encode("once")))],
    ["a raw body that may be read but once", () => HttpBody.raw(new Blob(["once"]).stream())]
  ])("does not repeat %s, and the next request has the new token", ([, body]) =>
    Effect.gen(function* () {
      const { asked, client, refreshes, tokens } = yield* bench({ api: onlyNew })
      const response = yield* client.execute(HttpClientRequest.post(origin, { body: body() }))
      expect(response.status).toBe(401)
      expect(asked).toHaveLength(1)
      expect(yield* refreshes).toBe(1)
      expect((yield* client.get(origin)).status).toBe(200)
      expect(tokens()).toEqual(["Bearer at-0", "Bearer at-1"])
    })
  )

  it.scoped("of the new token too is the answer; then nothing is sent until the cool-down is over", () =>
    Effect.gen(function* () {
      const { asked, client, refreshes } = yield* bench({ api: () => invalidToken })
      expect((yield* client.get(origin)).status).toBe(401)
      expect(asked).toHaveLength(2)
      expect(yield* refreshes).toBe(1)
      for (let i = 0; i < 50; i++) {
        const error = yield* Effect.flip(client.get(origin))
        expect(error).toMatchObject({
          _tag: "RefreshUnavailable",
          reason: "CoolingDown"
        })
      }
      expect(asked).toHaveLength(2)
      expect(yield* refreshes).toBe(1)
      yield* TestClock.adjust("2 seconds")
      const again = yield* Effect.flip(client.get(origin))
      expect(again.message).toContain("keeps rejecting fresh tokens")
      expect(asked).toHaveLength(3)
      expect(yield* refreshes).toBe(2)
    })
  )

  it.scoped("that goes on does not become a storm: a request a minute for an hour", () =>
    Effect.gen(function* () {
      const { asked, client, refreshes } = yield* bench({ api: () => invalidToken })
      for (let minute = 1; minute <= 60; minute++) {
        for (let i = 0; i < 10; i++) yield* Effect.exit(client.get(origin))
        yield* TestClock.setTime(start + minute * 60_000)
      }
      // Unchecked, it would be a refresh and two requests each time: 600 and 1,200.
      expect(yield* refreshes).toBeLessThan(25)
      expect(asked.length).toBeLessThan(50)
    })
  )

  it.scoped("is left alone where the refresh brings the same token", () =>
    Effect.gen(function* () {
      const { asked, client } = yield* bench({
        api: () => invalidToken,
        script: () => ScriptedRefresher.answer({ accessToken: "at-0", expiresIn: 3_600_000 })
      })
      const exit = yield* Effect.exit(client.get(origin))
      expect(asked).toHaveLength(1)
      expect(Exit.isFailure(exit) || exit.value.status === 401).toBe(true)
    })
  )

  it.scoped("of a dead grant says that only a login helps", () =>
    Effect.gen(function* () {
      const { asked, client } = yield* bench({
        api: () => invalidToken,
        script: () => ScriptedRefresher.fail("GrantDead", { oauthError: "invalid_grant" })
      })
      const error = yield* Effect.flip(client.get(origin))
      expect(error).toMatchObject({
        _tag: "ReauthorizationRequired",
        reason: "GrantDead"
      })
      expect(asked).toHaveLength(1)
    })
  )
})

describe("a redirect", () => {
  const redirecting =
    (to: string): Api =>
    (_, n) =>
      n === 1 ? { status: 302, headers: { location: to } } : fine

  it.scoped("is not followed by itself", () =>
    Effect.gen(function* () {
      const { asked, client } = yield* bench({ api: redirecting("https://evil.example/") })
      expect((yield* client.get(origin)).status).toBe(302)
      expect(asked).toHaveLength(1)
    })
  )

  it.scoped("followed outside has the token on its own origins alone", () =>
    Effect.gen(function* () {
      const away = yield* bench({ api: redirecting("https://evil.example/") })
      expect((yield* HttpClient.followRedirects(away.client).get(origin)).status).toBe(200)
      expect(away.tokens()).toEqual(["Bearer at-0", undefined])
      const near = yield* bench({ api: redirecting(`${origin}/next`) })
      yield* HttpClient.followRedirects(near.client).get(origin)
      expect(near.tokens()).toEqual(["Bearer at-0", "Bearer at-0"])
    })
  )

  it.scoped("followed inside, to elsewhere, is an error that says what happened", () =>
    Effect.gen(function* () {
      const { client } = yield* bench({
        api: redirecting("https://evil.example/"),
        inside: HttpClient.followRedirects()
      })
      const error = yield* Effect.flip(client.get(origin))
      expect(error).toMatchObject({ _tag: "RequestError", reason: "Encode" })
      expect(error.message).toContain("revoke the token")
    })
  )
})

describe("a token bound to a key", () => {
  const part = (jwt: string, index: number): Record<string, unknown> =>
    JSON.parse(Buffer.from(jwt.split(".")[index]!, "base64url").toString())
  const bound = Effect.map(DPoP.generate(), (key) => DPoP.attach(grant({ tokenType: "DPoP" }), key))
  const proofs = (asked: ReadonlyArray<Asked>) => asked.map((a) => part(a.headers["dpop"]!, 1))

  it.scoped("goes with a proof of its own for each request (RFC 9449 §7)", () =>
    Effect.gen(function* () {
      const { asked, client, tokens } = yield* bench({ initial: yield* bound })
      yield* client.get(`${origin}/a?secret=1#x`)
      yield* client.post(`${origin}/b`, { body: HttpBody.text("x") })
      expect(tokens()).toEqual(["DPoP at-0", "DPoP at-0"])
      const ath = createHash("sha256").update("at-0").digest("base64url")
      expect(proofs(asked)).toMatchObject([
        { htm: "GET", htu: `${origin}/a`, ath },
        { htm: "POST", htu: `${origin}/b`, ath }
      ])
      expect(new Set(proofs(asked).map((p) => p["jti"])).size).toBe(2)
      for (const { iat } of proofs(asked)) expect(Math.abs(Number(iat) - start / 1000)).toBeLessThanOrEqual(1)
      expect(part(asked[0]!.headers["dpop"]!, 0)).toMatchObject({ typ: "dpop+jwt", alg: "ES256" })
    })
  )

  const wants = (nonce: string): Reply => ({
    status: 401,
    headers: { "www-authenticate": 'DPoP error="use_dpop_nonce", algs="ES256"', "dpop-nonce": nonce }
  })

  it.scoped("has the nonce that the server asks for, once a request, and no refresh for it", () =>
    Effect.gen(function* () {
      const { asked, client, refreshes } = yield* bench({
        initial: yield* bound,
        api: (_, n) =>
          n === 1 ? wants("n-1") : n === 3 ? { ...fine, headers: { "dpop-nonce": "n-3" } } : fine
      })
      for (let i = 0; i < 3; i++) expect((yield* client.get(origin)).status).toBe(200)
      expect(proofs(asked).map((p) => p["nonce"])).toEqual([undefined, "n-1", "n-1", "n-3"])
      expect(new Set(proofs(asked).map((p) => p["jti"])).size).toBe(4)

      const insisting = yield* bench({ initial: yield* bound, api: (_, n) => wants(`n-${n}`) })
      expect((yield* insisting.client.get(origin)).status).toBe(401)
      expect(insisting.asked).toHaveLength(2)
      expect((yield* refreshes) + (yield* insisting.refreshes)).toBe(0)
    })
  )

  it.scoped("is replaced like any other, with a nonce that comes only then", () =>
    Effect.gen(function* () {
      const { asked, client, tokens, refreshes } = yield* bench({
        initial: yield* bound,
        script: (n) =>
          ScriptedRefresher.answer({ accessToken: `at-${n}`, tokenType: "DPoP", expiresIn: 3_600_000 }),
        api: (_, n) => (n === 1 ? challenged('DPoP error="invalid_token"') : n === 2 ? wants("n-2") : fine)
      })
      expect((yield* client.get(origin)).status).toBe(200)
      expect(tokens()).toEqual(["DPoP at-0", "DPoP at-1", "DPoP at-1"])
      expect(proofs(asked).map((p) => p["nonce"])).toEqual([undefined, undefined, "n-2"])
      const ath = createHash("sha256").update("at-1").digest("base64url")
      expect(proofs(asked).slice(1)).toMatchObject([{ ath }, { ath }])
      expect(yield* refreshes).toBe(1)
    })
  )

  it.scoped("is not sent without its key, nor as Bearer", () =>
    Effect.gen(function* () {
      const { asked, client } = yield* bench({ initial: grant({ tokenType: "DPoP" }) })
      const error = yield* Effect.flip(client.get(origin))
      expect(error).toMatchObject({ _tag: "RequestError", reason: "Encode" })
      expect(error.message).toContain("log in again")
      expect(asked).toEqual([])
    })
  )
})

describe("a resource server whose clock is not ours", () => {
  it.scoped.each([-7200, -600, 600, 7200])(
    "a proof that it refuses is sent once more by its clock, %d s ahead, and the next is right at once (F30)",
    (ahead) =>
      Effect.gen(function* () {
        const serverTime = start + ahead * 1000
        const { asked, client } = yield* bench({
          initial: DPoP.attach(grant({ tokenType: "DPoP" }), yield* DPoP.generate()),
          api: ({ headers }) => {
            const [, payload] = String(headers["dpop"]).split(".")
            const { iat } = JSON.parse(Buffer.from(payload!, "base64url").toString()) as {
              readonly iat: number
            }
            const isTimely = Math.abs(iat - Math.floor(serverTime / 1000)) <= 5
            const reply = isTimely ? fine : challenged('DPoP error="invalid_dpop_proof"')
            return { ...reply, headers: { ...reply.headers, date: new Date(serverTime).toUTCString() } }
          }
        })
        expect((yield* client.get(`${origin}/x`)).status).toBe(200)
        expect(asked.length).toBe(2)
        expect((yield* client.get(`${origin}/x`)).status).toBe(200)
        expect(asked.length).toBe(3)
      })
  )
})

describe("secrets and spans", () => {
  const canary = "canary-access-4711"

  /** Everything that can be reached from a value, prototypes and hidden parts aside. */
  const reachable = (root: unknown): string => {
    const seen = new Set<unknown>()
    const found: Array<string> = []
    const walk = (value: unknown): void => {
      if (typeof value === "string") found.push(value)
      if ((typeof value !== "object" && typeof value !== "function") || value === null || seen.has(value))
        return
      if (Redacted.isRedacted(value)) return
      seen.add(value)
      if (value instanceof Map) for (const pair of value) walk(pair)
      for (const key of Reflect.ownKeys(value)) walk(Object.getOwnPropertyDescriptor(value, key)?.value)
    }
    walk(root)
    return [
      ...found,
      inspect(root, { depth: 30, showHidden: true }),
      JSON.stringify(root, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value))
    ].join("\n")
  }

  interface Ended {
    readonly name: string
    readonly attributes: ReadonlyMap<string, unknown>
    readonly status: Tracer.SpanStatus
  }

  const recording = (spans: Array<Ended>): Tracer.Tracer =>
    Tracer.make({
      span: (name, parent, context, links, startTime, kind) => {
        const attributes = new Map<string, unknown>()
        const span = {
          _tag: "Span" as const,
          name,
          parent,
          context,
          links,
          kind,
          attributes,
          spanId: "0123456789abcdef",
          traceId: "0123456789abcdef0123456789abcdef",
          sampled: true,
          status: { _tag: "Started", startTime } as Tracer.SpanStatus,
          end(endTime: bigint, exit: Exit.Exit<unknown, unknown>) {
            span.status = { _tag: "Ended", startTime, endTime, exit }
            spans.push(span)
          },
          attribute: (key: string, value: unknown) => void attributes.set(key, value),
          event: () => undefined,
          addLinks: () => undefined
        }
        return span
      },
      context: (run) => run()
    })

  it.scoped("the token is in no answer, error or span, nor anything that they lead to", () =>
    Effect.gen(function* () {
      const spans: Array<Ended> = []
      const apis: ReadonlyArray<Api> = [
        () => fine,
        () => challenged("Bearer", 403),
        () => invalidToken,
        () => "reset",
        ({ headers }) => ({ ...challenged("Basic"), body: { echo: headers["authorization"] } }),
        ({ headers }) => challenged(`Bearer realm="x", error_description="${headers["authorization"]}"`, 403),
        // In headers of any name, as a URL or base64 have it (F53).
        ({ headers }) => ({
          ...fine,
          headers: {
            "x-echo": String(headers["authorization"]),
            [`x-${canary}`]: "1",
            "x-proof": String(headers["dpop"] ?? ""),
            link: `<https://api.test/?t=${encodeURIComponent(canary)}>`,
            "x-basic": Buffer.from(`u:${canary}`).toString("base64")
          }
        })
      ]
      for (const api of apis) {
        for (const type of ["Bearer", "DPoP"]) {
          const credentials = grant({ accessToken: canary, tokenType: type })
          const { asked, client } = yield* bench({
            api,
            initial: type === "DPoP" ? DPoP.attach(credentials, yield* DPoP.generate()) : credentials
          })
          const exit = yield* Effect.exit(client.get(`${origin}/x?y=z`)).pipe(
            Effect.withTracer(recording(spans))
          )
          expect(asked[0]!.headers["authorization"]).toBe(`${type} ${canary}`)
          expect(asked[0]!.headers["traceparent"]).toContain("0123456789abcdef")
          const text = reachable(Exit.isSuccess(exit) ? exit.value : Cause.squash(exit.cause))
          expect(text).not.toContain(canary)
          expect(text).not.toContain(Buffer.from(canary).toString("base64").slice(3, 18))
          expect(text).not.toContain(Buffer.from(`u:${canary}`).toString("base64").slice(3, 18))
          expect(text).not.toContain(asked[0]!.headers["dpop"] ?? canary)
          expect(inspect(exit, { depth: 30 })).not.toContain(canary)
          expect(JSON.stringify(exit)).not.toContain(canary)
        }
      }
      const calls = spans.filter((span) => span.name === "http.client GET")
      expect(calls.length).toBeGreaterThanOrEqual(apis.length * 2)
      for (const span of spans) {
        expect(reachable([...span.attributes])).not.toContain(canary)
        expect(reachable(span.status)).not.toContain(canary)
      }
      expect(Object.fromEntries(calls[0]!.attributes)).toEqual({
        "http.request.method": "GET",
        "server.address": origin,
        "url.full": `${origin}/x?y=z`,
        "url.path": "/x",
        "url.scheme": "https",
        "url.query": "y=z",
        "http.response.status_code": 200
      })
    })
  )

  it.scoped("there is no span, and no trace context sent, where tracing is switched off", () =>
    Effect.gen(function* () {
      const spans: Array<Ended> = []
      const { asked, client } = yield* bench()
      yield* client.get(origin).pipe(Effect.withTracerEnabled(false), Effect.withTracer(recording(spans)))
      yield* HttpClient.withTracerDisabledWhen(client, () => true)
        .get(origin)
        .pipe(Effect.withTracer(recording(spans)))
      expect(spans).toEqual([])
      yield* HttpClient.withTracerPropagation(client, false)
        .get(origin)
        .pipe(Effect.withTracer(recording(spans)))
      expect(spans).toHaveLength(1)
      expect(asked.map((a) => a.headers["traceparent"])).toEqual([undefined, undefined, undefined])
    })
  )

  it.scoped("the answer is otherwise the server's", () =>
    Effect.gen(function* () {
      const { client } = yield* bench({
        api: () => ({ status: 201, headers: { "set-cookie": "a=b", "x-theirs": "1" }, body: { a: 1 } })
      })
      const request = HttpClientRequest.get(`${origin}/x`)
      const response = yield* client.execute(request)
      expect(response.status).toBe(201)
      expect(response.headers["x-theirs"]).toBe("1")
      expect(response.cookies.cookies).toHaveProperty("a")
      expect(response.remoteAddress).toEqual(Option.none())
      expect(response.request).toBe(request)
      expect(yield* response.text).toBe('{"a":1}')
      expect(yield* response.json).toEqual({ a: 1 })
      const stream = (yield* client.execute(request)).stream
      expect(yield* Stream.mkString(Stream.decodeText(stream))).toBe('{"a":1}')
      expect(new Uint8Array(yield* (yield* client.execute(request)).arrayBuffer)).toHaveLength(7)
      const bad = yield* Effect.flip((yield* client.execute(request)).formData)
      expect(bad).toMatchObject({ _tag: "ResponseError", reason: "Decode" })
      expect(bad.request).toBe(request)
    })
  )
})
