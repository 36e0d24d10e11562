import { HttpClient, HttpClientResponse } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Credentials, TokenRefresher } from "@latchkey/core"
import {
  AuthorizationCode,
  ClientAuth,
  ClientCredentials,
  DeviceLogin,
  Introspection,
  ManualLogin,
  RefreshToken,
  Revocation,
  Server,
  UserInfo
} from "@latchkey/oauth"
import {
  Cause,
  Config,
  ConfigProvider,
  Deferred,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  Layer,
  Option,
  Redacted,
  TestClock
} from "effect"
import { clients } from "./Clients.js"
import { answering, type Asked, type Reply } from "./Memory.js"
import * as Provider from "./Provider.js"
import * as Edition from "../../core/test/support/Edition.js"
import * as Properties from "../../core/test/support/Properties.js"

const issuer = "https://auth.example.com/tenant/1"
const document = { issuer, token_endpoint: "https://auth.example.com/token" }

const discover = (options: Partial<Server.Discovery>, ...replies: Array<Reply>) => {
  const { asked, layer } = answering(...replies)
  return Effect.map(
    Effect.either(
      Effect.provide(
        Effect.flatMap(Server.make({ issuer, ...options }), (server) => server.metadata),
        layer
      )
    ),
    (result) => ({ result, urls: asked.map((a) => `${a.method} ${a.url}`) })
  )
}

const problem = (options: Partial<Server.Discovery>, ...replies: Array<Reply>) =>
  Effect.map(discover(options, ...replies), ({ result }) => {
    if (result._tag === "Right") throw new Error("was accepted")
    return result.left
  })

describe("discovery", () => {
  it.scopedLive.each(clients)("of a real server, over %s", ([, client]) =>
    Effect.gen(function* () {
      const real = yield* Provider.start()
      const server = yield* Server.make({ issuer: real.issuer })
      const metadata = yield* server.metadata
      expect(metadata.token_endpoint).toBe(`${real.issuer}/token`)
      expect(metadata.issuer).toBe(real.issuer)
      yield* server.metadata
      expect(real.requests.map((r) => r.line)).toEqual(["GET /.well-known/openid-configuration"])
    }).pipe(Effect.provide(client))
  )

  it.effect("OpenID's place is after the path, RFC 8414's before it", () =>
    Effect.gen(function* () {
      const oidc = yield* discover({ discovery: "oidc" }, { body: document })
      expect(oidc.urls).toEqual(["GET https://auth.example.com/tenant/1/.well-known/openid-configuration"])
      const oauth2 = yield* discover({ discovery: "oauth2" }, { body: document })
      expect(oauth2.urls).toEqual([
        "GET https://auth.example.com/.well-known/oauth-authorization-server/tenant/1"
      ])
    })
  )

  it.effect("what is not at the one place may be at the other; a failure is no such hint", () =>
    Effect.gen(function* () {
      const found = yield* discover({}, { status: 404, body: "" }, { body: document })
      expect(found.result).toMatchObject({ _tag: "Right", right: document })
      expect(found.urls.length).toBe(2)
      const down = yield* discover({}, { status: 503, body: "" }, { body: document })
      expect(down.result).toMatchObject({ _tag: "Left", left: { reason: "MaybeSent" } })
      expect(down.urls.length).toBe(1)
    })
  )

  it.effect.each([
    "https://auth.example.com/tenant/1/",
    "https://auth.example.com/tenant/2",
    "https://AUTH.example.com/tenant/1",
    "https://evil.example.com"
  ])("37 the issuer %s is not ours", (other) =>
    Effect.gen(function* () {
      const error = yield* problem({}, { body: { ...document, issuer: other } })
      expect(error).toMatchObject({ _tag: "OAuthError", reason: "Misconfigured" })
      expect(error.message).toContain(other)
      expect(error.message).toContain(issuer)
    })
  )

  it.effect.each<readonly [string, Reply, string]>([
    ["HTML", { body: "<html>" }, "is not JSON"],
    ["no issuer", { body: { token_endpoint: "https://a.example/t" } }, "names no issuer"],
    ["over 1 MiB", { body: { ...document, x: "x".repeat(2 ** 20) } }, "1 MiB"]
  ])("a document that is refused: %s", ([, reply, said]) =>
    Effect.gen(function* () {
      const error = yield* problem({}, reply)
      expect(error).toMatchObject({ _tag: "OAuthError", reason: "Malformed" })
      expect(error.message).toContain(said)
    })
  )

  it.effect.each([
    ["http://auth.example.com", "must be https"],
    ["https://me@auth.example.com", "user info"],
    ["https://auth.example.com#x", "fragment"],
    ["https://auth.example.com?x=1", "query"],
    ["auth.example.com", "absolute URL"]
  ] as const)("an issuer that cannot be one: %s", ([bad, said]) =>
    Effect.gen(function* () {
      const error = yield* problem({ issuer: bad }, { body: document })
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "server.issuer" })
      expect(error.message).toContain(said)
    })
  )
})

/** Everything that is done with a server's metadata. */
const uses = (over: Record<string, unknown>) => {
  const client = { clientId: "c" }
  const all = {
    issuer,
    ...Object.fromEntries(endpointFields.map((field) => [field, `https://auth.example.com/${field}`]))
  }
  const grant = Credentials.make({ accessToken: "a", refreshToken: "r" })
  const jsonOf = (asked: Asked): unknown => {
    if (asked.method === "GET" && asked.url.includes(".well-known")) return { ...all, ...over }
    if (asked.url.includes("userinfo")) return { sub: "s" }
    if (asked.url.includes("introspection")) return { active: true }
    if (asked.url.includes("pushed")) return { request_uri: "urn:x", expires_in: 60 }
    return asked.url.includes("device")
      ? { device_code: "d", user_code: "u", verification_uri: "https://auth.example.com/u", expires_in: 9 }
      : { access_token: "b", token_type: "Bearer" }
  }
  const { asked, layer } = answering((seen) => ({ body: jsonOf(seen) }))
  const options = { server: { issuer }, client }
  const token = Redacted.make("a")
  const operations: Readonly<Record<string, Effect.Effect<unknown, unknown, HttpClient.HttpClient>>> = {
    discovery: Effect.flatMap(Server.make({ issuer }), ({ metadata }) => metadata),
    browser: AuthorizationCode.begin(options, "http://127.0.0.1/callback"),
    code: Effect.flatMap(
      ManualLogin.login({ ...options, ask: () => Effect.succeed("code-1") }),
      Effect.succeed
    ),
    device: DeviceLogin.login({ ...options, prompt: () => Effect.void }),
    refresh: Effect.flatMap(RefreshToken.make(options), (r) => r.refresh(Option.some(grant))),
    client: Effect.flatMap(ClientCredentials.make(options), (r) => r.refresh(Option.none())),
    revoke: Effect.flatMap(Revocation.make({ ...options, attempts: 1 }), (r) => r.revoke(grant)),
    introspect: Effect.flatMap(Introspection.make(options), (i) => i.introspect(token)),
    profile: Effect.flatMap(UserInfo.make({ ...options, provider: "p" }), (p) => p.fetch(grant))
  }
  const run = Effect.gen(function* () {
    const each = Object.entries(operations).map(([name, operation]) =>
      Effect.map(Effect.exit(Effect.provide(operation, layer)), (exit) => ({ name, exit }))
    )
    const fiber = yield* Effect.fork(Effect.all(each, { concurrency: "unbounded" }))
    yield* TestClock.adjust("6 seconds")
    return yield* fiber
  })
  return { asked, run }
}

const endpointFields = [
  "token_endpoint",
  "authorization_endpoint",
  "device_authorization_endpoint",
  "revocation_endpoint",
  "introspection_endpoint",
  "userinfo_endpoint",
  "pushed_authorization_request_endpoint",
  "jwks_uri"
] as const

/** Whose endpoint each operation needs. */
const needs: Readonly<Record<string, ReadonlyArray<string>>> = {
  discovery: [],
  browser: ["authorization_endpoint"],
  code: ["authorization_endpoint", "token_endpoint"],
  device: ["device_authorization_endpoint", "token_endpoint"],
  refresh: ["token_endpoint"],
  client: ["token_endpoint"],
  revoke: ["revocation_endpoint"],
  introspect: ["introspection_endpoint"],
  profile: ["userinfo_endpoint"]
}

const otherFields = [
  "code_challenge_methods_supported",
  "id_token_signing_alg_values_supported",
  "introspection_signing_alg_values_supported",
  "userinfo_signing_alg_values_supported",
  "authorization_response_iss_parameter_supported",
  "require_pushed_authorization_requests",
  "prompt_values_supported",
  "token_endpoint_auth_methods_supported",
  "scopes_supported",
  "grant_types_supported",
  "dpop_signing_alg_values_supported",
  "mtls_endpoint_aliases",
  "unusable_fields",
  "__proto__",
  "constructor",
  "a_field_of_their_own"
]

const wrongValues: ReadonlyArray<unknown> = [null, 7, -1.5, true, [], [1, null], [["S256"]], {}, { a: null }]

describe("metadata with a field that is wrong (F24, F25)", () => {
  for (const field of endpointFields) {
    it.effect(`${field} is judged by those who use it, and ignored by all others`, () =>
      Effect.gen(function* () {
        const bad = [
          ...wrongValues,
          "",
          "/relative",
          "http://a.example/x",
          "https://u:p@a.example/",
          "no url"
        ]
        for (const value of bad) {
          const { asked, run } = uses({ [field]: value })
          for (const { exit, name } of yield* run) {
            if (!needs[name]!.includes(field)) {
              expect(exit, `${name} with ${JSON.stringify(value)}`).toMatchObject({ _tag: "Success" })
              continue
            }
            const failure = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
            expect(failure, `${name} with ${JSON.stringify(value)}`).toMatchObject({ _tag: "Some" })
            const { message, reason } = Option.getOrThrow(failure) as { message: string; reason: string }
            expect(["Misconfigured", "Malformed"]).toContain(reason)
            expect(message).toContain(field)
            expect(message).not.toContain("u:p")
          }
          const unwanted = asked.filter(({ url }) => !url.startsWith("https://auth.example.com/"))
          expect(unwanted).toEqual([])
        }
      })
    )
  }

  it.effect("any other field of any wrong type is as if it were not there", () =>
    Effect.gen(function* () {
      for (const value of [...wrongValues, "S256"]) {
        // The only value that is right for some of them.
        const fields =
          value === true ? otherFields.filter((field) => !/^require|iss_param/.test(field)) : otherFields
        const text = fields.map((field) => `${JSON.stringify(field)}:${JSON.stringify(value)}`).join()
        const { run } = uses(JSON.parse(`{${text}}`) as Record<string, unknown>)
        for (const { exit, name } of yield* run) {
          expect(exit, `${name} with ${JSON.stringify(value)}`).toMatchObject({ _tag: "Success" })
        }
      }
    })
  )

  Properties.propEffect(
    "whatever the document holds, nothing is a defect",
    {
      over: FastCheck.dictionary(
        FastCheck.constantFrom(...endpointFields, ...otherFields.filter((f) => f !== "__proto__")),
        FastCheck.jsonValue({ maxDepth: 2 })
      )
    },
    ({ over }) =>
      Effect.gen(function* () {
        const { run } = uses(over)
        for (const { exit } of yield* run) {
          expect(Exit.isSuccess(exit) || Cause.isFailType(exit.cause)).toBe(true)
        }
      }),
    { fastCheck: { numRuns: 25 } }
  )
})

describe("what was discovered", () => {
  it.effect("is kept for its time; then what was known outlives a failure", () =>
    Effect.gen(function* () {
      let reply: Reply = { body: document }
      const { asked, layer } = answering(() => reply)
      const server = yield* Effect.provide(Server.make({ issuer, ttl: "10 minutes" }), layer)
      yield* server.metadata
      yield* TestClock.adjust("9 minutes")
      yield* server.metadata
      expect(asked.length).toBe(1)
      yield* TestClock.adjust("1 minute")
      reply = { status: 503, body: "" }
      expect((yield* server.metadata).token_endpoint).toBe(document.token_endpoint)
      expect(asked.length).toBe(2)
      reply = { body: { ...document, token_endpoint: "https://auth.example.com/moved" } }
      yield* TestClock.adjust("10 minutes")
      expect((yield* server.metadata).token_endpoint).toBe("https://auth.example.com/moved")
    })
  )

  it.effect("is not kept for longer where the clock is set back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_000)
      const { asked, layer } = answering({ body: document })
      const server = yield* Effect.provide(Server.make({ issuer, ttl: "10 minutes" }), layer)
      yield* server.metadata
      yield* TestClock.setTime(1_600_000_000_000)
      yield* server.metadata
      yield* server.metadata
      expect(asked.length).toBe(2)
    })
  )

  it.effect.each([-1, Number.NaN, JSON.parse('"soon"') as "1 second"])("39 cannot be kept for %s", (ttl) =>
    Effect.gen(function* () {
      const { layer } = answering({ body: document })
      const error = yield* Effect.flip(Effect.provide(Server.make({ issuer, ttl }), layer))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "server.ttl" })
    })
  )

  it.effect("a first failure is not kept", () =>
    Effect.gen(function* () {
      const { layer } = answering({ status: 503, body: "" }, { body: document })
      const server = yield* Effect.provide(Server.make({ issuer }), layer)
      expect((yield* Effect.flip(server.metadata)).reason).toBe("MaybeSent")
      expect((yield* server.metadata).issuer).toBe(issuer)
    })
  )

  it.effect("is asked for once by a thousand at a time, and interrupting the first stops nobody", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      let asked = 0
      const slow = HttpClient.make((request) => {
        asked++
        return Effect.as(Deferred.await(go), HttpClientResponse.fromWeb(request, Response.json(document)))
      })
      const server = yield* Effect.provide(
        Server.make({ issuer }),
        Layer.succeed(HttpClient.HttpClient, slow)
      )
      const first = yield* Effect.fork(server.metadata)
      yield* Effect.yieldNow()
      const rest = yield* Effect.forkAll(Array.from({ length: 1000 }, () => server.metadata))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(first)
      yield* Deferred.done(go, Exit.void)
      expect((yield* Fiber.join(rest)).every((m) => m.issuer === issuer)).toBe(true)
      expect(asked).toBe(1)
    })
  )
})

describe("a refresh whose server cannot be discovered", () => {
  it.effect.each<readonly [string, Reply, string]>([
    ["503", { status: 503, headers: { "retry-after": "9" }, body: "" }, "NotSent"],
    ["429", { status: 429, headers: { "retry-after": "9" }, body: "" }, "Transient"],
    ["invalid_grant", { status: 400, body: { error: "invalid_grant" } }, "Misconfigured"],
    ["another issuer", { body: { ...document, issuer: "https://evil.example.com" } }, "Misconfigured"],
    ["HTML", { body: "<html>" }, "Misconfigured"]
  ])("%s: the grant is not touched", ([, reply, reason]) =>
    Effect.gen(function* () {
      const { asked, layer } = answering(reply)
      const refresher = yield* Effect.provide(
        RefreshToken.make({ server: { issuer }, client: { clientId: "c" } }),
        layer
      )
      const grant = Credentials.make({ accessToken: "a", refreshToken: "r" })
      const error = yield* Effect.flip(refresher.refresh(Option.some(grant)))
      expect(error.reason).toBe(reason)
      expect(error.message).toContain("no token was sent")
      expect(error.retryAfter).toEqual(reply.headers === undefined ? undefined : Duration.seconds(9))
      expect(asked.every((a) => a.method === "GET")).toBe(true)
    })
  )
})

describe("by configuration", () => {
  const make = (entries: Record<string, string>) =>
    Effect.provide(
      Server.Server,
      Server.layerConfig({
        tokenEndpoint: Config.string("TOKEN_ENDPOINT"),
        issuer: Config.string("ISSUER").pipe(Config.withDefault(undefined))
      })
    ).pipe(Effect.provide(answering({}).layer), Edition.withVariables(entries))

  it.effect("endpoints", () =>
    Effect.gen(function* () {
      const server = yield* make({ TOKEN_ENDPOINT: "https://a.example/token" })
      expect(yield* server.metadata).toMatchObject({ token_endpoint: "https://a.example/token" })
    })
  )

  it.effect("35 one that is no https names its setting; one that is missing its variable", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(make({ TOKEN_ENDPOINT: "http://a.example/token" }))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "server.tokenEndpoint" })
      expect(String(yield* Effect.flip(make({})))).toContain("TOKEN_ENDPOINT")
    })
  )

  it.effect("refreshers", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ body: { access_token: "a", token_type: "bearer" } })
      const common = {
        server: { tokenEndpoint: Config.string("TOKEN_ENDPOINT") },
        client: {
          clientId: Config.string("CLIENT_ID"),
          auth: Config.map(Config.redacted("CLIENT_SECRET"), ClientAuth.post)
        },
        scopes: Config.array(Config.string(), "SCOPES")
      }
      const grant = Option.some(Credentials.make({ accessToken: "a", refreshToken: "r" }))
      for (const refreshers of [RefreshToken.layerConfig(common), ClientCredentials.layerConfig(common)]) {
        yield* Effect.flatMap(TokenRefresher.TokenRefresher, (refresher) => refresher.refresh(grant)).pipe(
          Effect.provide(Layer.provide(refreshers, layer)),
          Effect.withConfigProvider(
            ConfigProvider.fromMap(
              new Map([
                ["TOKEN_ENDPOINT", "https://a.example/token"],
                ["CLIENT_ID", "id"],
                ["CLIENT_SECRET", "s"],
                ["SCOPES", "read,write"]
              ])
            )
          )
        )
      }
      expect(asked.map((a) => Object.fromEntries(new URLSearchParams(a.body)))).toEqual([
        {
          grant_type: "refresh_token",
          refresh_token: "r",
          scope: "read write",
          client_id: "id",
          client_secret: "s"
        },
        { grant_type: "client_credentials", scope: "read write", client_id: "id", client_secret: "s" }
      ])
    })
  )
})
