/** Logins whose request is pushed first (RFC 9126), at a real server and at one that misbehaves. */
import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { AuthorizationCode, ClientAuth, DPoP, ManualLogin, RefreshToken } from "@latchkey/oauth"
import { Effect, Option, Redacted, TestClock } from "effect"
import { inspect } from "node:util"
import { answering, type Reply } from "./Memory.js"
import * as Provider from "./Provider.js"
import { consent } from "./support/interaction.js"

const pushPath = "POST /request"

const start = (features: Record<string, unknown> = {}) =>
  Provider.start({
    clients: [
      Provider.publicClient,
      {
        ...Provider.publicClient,
        client_id: "confidential",
        client_secret: "the-client-secret",
        token_endpoint_auth_method: "client_secret_basic"
      }
    ],
    features: {
      devInteractions: { enabled: true },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
      ...features
    }
  })

const pushedTo = (server: Provider.Harness) => server.requests.filter(({ line }) => line.startsWith(pushPath))

describe("at a real server that requires it (F29)", () => {
  it.scopedLive.each<readonly [string, Partial<ManualLogin.Options>]>([
    ["a public client", {}],
    [
      "a client with a secret",
      {
        client: {
          clientId: "confidential",
          auth: ClientAuth.basic(Redacted.make("the-client-secret"))
        }
      }
    ]
  ])("%s logs in with a URL that holds a reference and nothing else", ([, over]) =>
    Effect.gen(function* () {
      const server = yield* start()
      let opened = new URL("about:blank")
      let openBefore = Option.none<number>()
      const options = { server: { issuer: server.issuer }, client: { clientId: "public-client" }, ...over }
      const credentials = yield* ManualLogin.login({
        ...options,
        scopes: ["openid", "offline_access"],
        ask: (url, until) => {
          opened = url
          openBefore = until
          return Effect.map(consent(url), (end) => end.href)
        }
      })
      expect([...opened.searchParams.keys()]).toEqual(["client_id", "request_uri"])
      expect(Option.getOrThrow(openBefore)).toBeGreaterThan(Date.now() - 60_000)
      const [pushed, ...more] = pushedTo(server)
      expect(more).toEqual([])
      const sent = new URLSearchParams(pushed!.body)
      expect(Object.fromEntries(sent)).toMatchObject({
        response_type: "code",
        code_challenge_method: "S256",
        scope: "openid offline_access",
        prompt: "consent"
      })
      const refreshed = yield* (yield* RefreshToken.make(options)).refresh(Option.some(credentials))
      expect(Option.isSome(refreshed.refreshToken)).toBe(true)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive("with DPoP the code is bound to the key of the tokens, and the server's nonce is used", () =>
    Effect.gen(function* () {
      const server = yield* start({
        dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true }
      })
      const credentials = yield* ManualLogin.login({
        server: { issuer: server.issuer },
        client: { clientId: "public-client" },
        scopes: ["openid", "offline_access"],
        dpop: true,
        ask: (url) => Effect.map(consent(url), (end) => end.href)
      })
      expect(DPoP.isBound(credentials)).toBe(true)
      const proofs = pushedTo(server).map(({ headers }) => String(headers["dpop"]))
      // The second one has the nonce.
      expect(proofs).toHaveLength(2)
      const header = (jwt: string): unknown =>
        JSON.parse(Buffer.from(jwt.split(".")[0]!, "base64url").toString())
      const key = Option.getOrThrow(yield* DPoP.keyOf(credentials))
      const { x, y } = Redacted.value(key.jwk)
      expect(header(proofs[1]!)).toMatchObject({ jwk: { x, y } })
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})

const issuer = "https://id.example.com"
const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/auth?tenant=t-1`,
  token_endpoint: `${issuer}/token`,
  pushed_authorization_request_endpoint: `${issuer}/par`
}
const required = { ...metadata, require_pushed_authorization_requests: true }
const accepted: Reply = {
  status: 201,
  body: { request_uri: "urn:ietf:params:oauth:request_uri:1", expires_in: 90 }
}

const begin = (
  document: Record<string, unknown>,
  over: Partial<AuthorizationCode.Options>,
  ...replies: ReadonlyArray<Reply>
) => {
  const { asked, layer } = answering({ body: document }, ...replies)
  const attempt = Effect.provide(
    AuthorizationCode.begin(
      { server: { issuer, discovery: "oidc" }, client: { clientId: "the-client" }, ...over },
      "http://127.0.0.1/callback"
    ),
    layer
  )
  return { asked, attempt }
}

describe("a request is pushed", () => {
  it.effect.each<readonly [string, Record<string, unknown>, boolean | undefined, boolean]>([
    ["required", required, undefined, true],
    ["required, and asked for", required, true, true],
    ["required, and refused", required, false, false],
    ["offered", metadata, undefined, false],
    ["offered, and asked for", metadata, true, true],
    [
      "required by a word that is no flag",
      { ...required, require_pushed_authorization_requests: "true" },
      undefined,
      false
    ]
  ])("where it is %s", ([, document, pushAuthorizationRequest, pushed]) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_000)
      const { asked, attempt } = begin(
        document,
        { pushAuthorizationRequest, resource: ["https://a.example", "https://b.example"] },
        accepted
      )
      const { openBefore, url } = yield* attempt
      const posts = asked.filter(({ method }) => method === "POST")
      expect(posts).toHaveLength(pushed ? 1 : 0)
      expect(url.searchParams.get("tenant")).toBe("t-1")
      if (!pushed)
        return expect([url.searchParams.has("request_uri"), openBefore]).toEqual([false, Option.none()])
      expect(Object.fromEntries(url.searchParams)).toEqual({
        tenant: "t-1",
        client_id: "the-client",
        request_uri: "urn:ietf:params:oauth:request_uri:1"
      })
      expect(openBefore).toEqual(Option.some(1_700_000_000_000 + 90_000))
      expect(posts[0]!.url).toBe(`${issuer}/par`)
      const sent = new URLSearchParams(posts[0]!.body)
      expect(sent.getAll("resource")).toEqual(["https://a.example", "https://b.example"])
      expect(sent.getAll("client_id")).toEqual(["the-client"])
    })
  )

  it.effect.each<readonly [string, unknown, boolean]>([
    ["a number", 60, true],
    ["digits", "60", true],
    ["nothing", undefined, false],
    ["null", null, false],
    ["zero", 0, false],
    ["a negative number", -1, false],
    ["a word", "soon", false],
    ["a date", 1e12, false]
  ])("and its lifetime is known where it is one: %s", ([, lifetime, known]) =>
    Effect.gen(function* () {
      const { attempt } = begin(required, {}, { body: { request_uri: "urn:x", expires_in: lifetime } })
      expect(Option.isSome((yield* attempt).openBefore)).toBe(known)
    })
  )
})

describe("a request that cannot be pushed is a typed error, and the user is sent nowhere", () => {
  it.effect.each<readonly [string, Record<string, unknown>, Reply, string, string]>([
    [
      "no endpoint",
      { ...required, pushed_authorization_request_endpoint: undefined },
      accepted,
      "Misconfigured",
      "pushed_authorization_request_endpoint"
    ],
    [
      "a null endpoint",
      { ...required, pushed_authorization_request_endpoint: null },
      accepted,
      "Misconfigured",
      "pushed_authorization_request_endpoint"
    ],
    [
      "an endpoint over http",
      { ...required, pushed_authorization_request_endpoint: "http://id.example.com/par" },
      accepted,
      "Misconfigured",
      "must be https"
    ],
    [
      "a refusal",
      required,
      { status: 400, body: { error: "invalid_request", error_description: "no such scope" } },
      "Misconfigured",
      "no such scope"
    ],
    [
      "a refused client",
      required,
      { status: 401, body: { error: "invalid_client" } },
      "Misconfigured",
      "invalid_client"
    ],
    ["an error with 200", required, { body: { error: "invalid_scope" } }, "Misconfigured", "invalid_scope"],
    ["a busy server", required, { status: 429, body: "" }, "ServerError", "429"],
    ["a broken server", required, { status: 500, body: "" }, "Unreachable", "500"],
    ["HTML", required, { body: "<html>" }, "Malformed", "is not JSON"],
    ["no request_uri", required, { status: 201, body: { expires_in: 60 } }, "Malformed", "request_uri"],
    [
      "a null request_uri",
      required,
      { status: 201, body: { request_uri: null } },
      "Malformed",
      "request_uri"
    ],
    [
      "an empty request_uri",
      required,
      { status: 201, body: { request_uri: "" } },
      "Malformed",
      "request_uri"
    ],
    [
      "a request_uri with a line break",
      required,
      { status: 201, body: { request_uri: "urn:x\r\ny" } },
      "Malformed",
      "request_uri"
    ]
  ])("%s", ([, document, reply, reason, words]) =>
    Effect.gen(function* () {
      const { attempt } = begin(
        document,
        { client: { clientId: "the-client", auth: ClientAuth.post(Redacted.make("canary-secret")) } },
        reply
      )
      const error = yield* Effect.flip(attempt)
      expect(error).toMatchObject({ _tag: "LoginError", reason })
      expect(error.message).toContain(words)
      expect(inspect(error, { depth: 9 })).not.toContain("canary")
    })
  )
})
