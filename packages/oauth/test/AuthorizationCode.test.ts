import { describe, expect, it } from "@effect/vitest"
import { AuthorizationCode, DPoP } from "@latchkey/oauth"
import { Effect, Encoding, Option, Redacted, TestClock } from "effect"
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import { answering, type Asked, type Reply } from "./Memory.js"

const start = 1_700_000_000_000
const issuer = "https://example.com"
const redirectUri = "http://127.0.0.1:4711/callback"

const server = {
  issuer,
  authorizationEndpoint: "https://example.com/authorize?tenant=t-1",
  tokenEndpoint: "https://example.com/token"
}
const options: AuthorizationCode.Options = {
  server,
  client: { clientId: "the-client" },
  scopes: ["openid", "offline_access"]
}

type Replies = ReadonlyArray<Reply | ((asked: Asked) => Reply)>

const granted: Reply = {
  body: { access_token: "at-1", refresh_token: "rt-1", token_type: "Bearer", expires_in: 60 }
}

const idToken = (claims: Record<string, unknown>): string =>
  [
    { alg: "RS256" },
    { iss: issuer, aud: "the-client", sub: "alice", iat: start / 1000, exp: start / 1000 + 60, ...claims }
  ]
    .map((part) => Encoding.encodeBase64Url(JSON.stringify(part)))
    .concat("c2lnbmF0dXJl")
    .join(".")

/** Begins a login at `start`, with a server that answers the token request so. */
const begin = (over: Partial<AuthorizationCode.Options> = {}, ...replies: Replies) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const { asked, layer } = answering(...(replies.length === 0 ? [granted] : replies))
    const attempt = yield* Effect.provide(
      AuthorizationCode.begin({ ...options, ...over }, redirectUri),
      layer
    )
    const parameters = attempt.url.searchParams
    const answer = (fields: Record<string, string>) =>
      attempt.redeem(new URLSearchParams({ state: parameters.get("state")!, ...fields }))
    return { attempt, parameters, asked, answer }
  })

describe("the URL", () => {
  it.effect("asks for a code, with a challenge of the method S256", () =>
    Effect.gen(function* () {
      const { attempt, parameters } = yield* begin()
      expect(`${attempt.url.origin}${attempt.url.pathname}`).toBe("https://example.com/authorize")
      expect(Object.fromEntries(parameters)).toEqual({
        tenant: "t-1",
        response_type: "code",
        client_id: "the-client",
        redirect_uri: redirectUri,
        scope: "openid offline_access",
        prompt: "consent",
        state: expect.stringMatching(/^[\w-]{43}$/) as unknown,
        nonce: expect.stringMatching(/^[\w-]{43}$/) as unknown,
        code_challenge: expect.stringMatching(/^[\w-]{43}$/) as unknown,
        code_challenge_method: "S256"
      })
    })
  )

  it.effect("is another one each time", () =>
    Effect.gen(function* () {
      const all = yield* Effect.forEach([1, 2, 3], () => begin())
      for (const name of ["state", "nonce", "code_challenge"]) {
        expect(new Set(all.map(({ parameters }) => parameters.get(name))).size).toBe(3)
      }
    })
  )

  it.effect("has a nonce for OpenID Connect alone, resources, and what else is asked for", () =>
    Effect.gen(function* () {
      const { parameters } = yield* begin({
        scopes: [],
        resource: ["https://a.example", "https://b.example/x"],
        authorizationParameters: { prompt: "consent", code: "true" }
      })
      expect(parameters.has("nonce")).toBe(false)
      expect(parameters.has("scope")).toBe(false)
      expect(parameters.getAll("resource")).toEqual(["https://a.example", "https://b.example/x"])
      expect(parameters.get("prompt")).toBe("consent")
      expect(parameters.get("code")).toBe("true")
    })
  )

  it.effect.each([
    [{ authorizationParameters: { code_challenge_method: "plain" } }, "authorizationParameters"],
    [{ authorizationParameters: { state: "mine" } }, "authorizationParameters"],
    [{ resource: "https://a.example/#x" }, "resource"],
    [{ client: { clientId: "" } }, "client.clientId"],
    [
      { server: { ...server, authorizationEndpoint: "http://example.com/authorize" } },
      "server.authorizationEndpoint"
    ]
  ] as const)("is not made of settings that cannot work: %j", ([over, setting]) =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(begin(over))).toMatchObject({ _tag: "OAuthConfigError", setting })
    })
  )

  it.effect.each(["/callback", "https://a.example/#part", "https://a.example/#"])(
    "does not lead back to %s",
    (uri) =>
      Effect.gen(function* () {
        const begun = Effect.provide(AuthorizationCode.begin(options, uri), answering({}).layer)
        expect(yield* Effect.flip(begun)).toMatchObject({ _tag: "OAuthConfigError", setting: "redirectUri" })
      })
  )

  it.effect("is not made for a server that takes no S256, or has no page to log in", () =>
    Effect.gen(function* () {
      const discovered = (metadata: Record<string, unknown>) =>
        begin(
          { server: { issuer, discovery: "oidc" } },
          { body: { issuer, token_endpoint: server.tokenEndpoint, ...metadata } }
        )
      const page = { authorization_endpoint: "https://example.com/authorize" }
      const plain = yield* Effect.flip(discovered({ ...page, code_challenge_methods_supported: ["plain"] }))
      expect(plain).toMatchObject({ _tag: "LoginError", reason: "Misconfigured" })
      expect(plain.message).toContain("S256")
      expect(yield* Effect.flip(discovered({}))).toMatchObject({
        _tag: "LoginError",
        reason: "Misconfigured"
      })
      yield* discovered({ ...page, code_challenge_methods_supported: ["plain", "S256"] })
      yield* discovered(page)
    })
  )
})

describe("the redemption", () => {
  it.effect("sends the code with its verifier, and gives credentials to be saved", () =>
    Effect.gen(function* () {
      const { answer, asked, parameters } = yield* begin()
      const credentials = yield* answer({ code: "the-code", iss: issuer })
      const sent = new URLSearchParams(asked[0]!.body)
      const verifier = sent.get("code_verifier")!
      expect(asked[0]).toMatchObject({ method: "POST", url: server.tokenEndpoint })
      expect(Object.fromEntries(sent)).toEqual({
        grant_type: "authorization_code",
        client_id: "the-client",
        code: "the-code",
        redirect_uri: redirectUri,
        code_verifier: verifier
      })
      expect(verifier).toMatch(/^[\w.~-]{43,128}$/)
      expect(createHash("sha256").update(verifier).digest("base64url")).toBe(parameters.get("code_challenge"))
      expect(Redacted.value(credentials.accessToken)).toBe("at-1")
      expect(credentials.scopes).toEqual(["openid", "offline_access"])
      expect(credentials.obtainedAt).toEqual(Option.some(start))
      expect(credentials.expiresAt).toEqual(Option.some(start + 60_000))
    })
  )

  it.effect("as JSON and with the state, for servers that want it so", () =>
    Effect.gen(function* () {
      const { answer, asked, parameters } = yield* begin({ encoding: "json", sendState: true })
      yield* answer({ code: "the-code" })
      expect(asked[0]!.headers["content-type"]).toContain("application/json")
      expect(JSON.parse(asked[0]!.body)).toMatchObject({
        grant_type: "authorization_code",
        code: "the-code",
        state: parameters.get("state")
      })
    })
  )

  /** A login whose answer holds an id token with these claims beside the usual ones. */
  const withIdToken = (
    claims: (nonce: string | null) => Record<string, unknown>,
    over: Partial<AuthorizationCode.Options> = {}
  ) =>
    Effect.gen(function* () {
      let nonce: string | null = null
      const { answer, parameters } = yield* begin(over, () => ({
        body: { access_token: "at-1", token_type: "Bearer", id_token: idToken(claims(nonce)) }
      }))
      nonce = parameters.get("nonce")
      return yield* answer({ code: "the-code" })
    })

  it.effect("takes the account from the id token that answers this login", () =>
    Effect.gen(function* () {
      const credentials = yield* withIdToken((nonce) => ({ nonce }))
      expect(credentials.accountId).toEqual(Option.some("alice"))
      expect(Option.isSome(credentials.idToken)).toBe(true)
      const named = yield* withIdToken((nonce) => ({ nonce }), { accountId: () => Option.some("acct-1") })
      expect(named.accountId).toEqual(Option.some("acct-1"))
      const plain = yield* withIdToken(() => ({}), { scopes: ["api:read"] })
      expect(plain.accountId).toEqual(Option.some("alice"))
    })
  )

  it.effect("refuses an id token that answers something else", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<[(nonce: string | null) => Record<string, unknown>, string]> = [
        [() => ({ nonce: "another" }), "nonce"],
        [() => ({}), "nonce"],
        [(nonce) => ({ nonce, aud: "another-client" }), "aud"],
        [(nonce) => ({ nonce, iss: "https://evil.example" }), "iss"],
        [(nonce) => ({ nonce, exp: start / 1000 - 3600 }), "exp"]
      ]
      for (const [claims, word] of cases) {
        const error = yield* Effect.flip(withIdToken(claims))
        expect(error).toMatchObject({ _tag: "LoginError", reason: "Malformed" })
        expect(error.message).toContain(word)
      }
    })
  )

  it.effect("refuses a login longer ago than max_age, where that was asked", () =>
    Effect.gen(function* () {
      const asked = { authorizationParameters: { max_age: "60" } }
      const at = (ago: number) => (nonce: string | null) => ({ nonce, auth_time: start / 1000 - ago })
      yield* withIdToken(at(120), asked)
      yield* withIdToken(at(121))
      for (const claims of [at(121), (nonce: string | null) => ({ nonce })]) {
        expect(yield* Effect.flip(withIdToken(claims, asked))).toMatchObject({
          reason: "Malformed",
          message: expect.stringContaining("max_age") as unknown
        })
      }
    })
  )

  it.effect("binds the grant to a new key where that is asked for, and the key comes with it", () =>
    Effect.gen(function* () {
      const bound: Reply = { body: { access_token: "at-1", token_type: "DPoP", refresh_token: "rt-1" } }
      const { answer, asked } = yield* begin({ dpop: true }, bound)
      const credentials = yield* answer({ code: "c" })
      const key = Option.getOrThrow(yield* DPoP.keyOf(credentials))
      const [header] = asked[0]!.headers["dpop"]!.split(".")
      const { jwk } = JSON.parse(Buffer.from(header!, "base64url").toString())
      const { x, y } = Redacted.value(key.jwk)
      expect(jwk).toMatchObject({ x, y })
      expect(jwk).not.toHaveProperty("d")

      const fallen = yield* begin({ dpop: true })
      expect(yield* Effect.flip(fallen.answer({ code: "c" }))).toMatchObject({ reason: "Malformed" })
    })
  )

  it.effect("says what the server said of a code, and repeats no secret of it", () =>
    Effect.gen(function* () {
      const replies: ReadonlyArray<readonly [Reply | "echo", string]> = [
        [{ status: 400, body: { error: "invalid_grant" } }, "Expired"],
        [{ status: 400, body: { error: "access_denied" } }, "Denied"],
        [{ status: 401, body: { error: "invalid_client" } }, "Misconfigured"],
        [{ status: 503, body: { error: "temporarily_unavailable" } }, "ServerError"],
        [{ status: 502, body: "<h1>bad gateway" }, "Unreachable"],
        [{ body: "<html>" }, "Malformed"],
        ["echo", "Misconfigured"]
      ]
      for (const [reply, reason] of replies) {
        const echo = (sent: { readonly body: string }): Reply => ({
          status: 400,
          body: { error: "invalid_request", error_description: `\u001b[1m${decodeURIComponent(sent.body)}` }
        })
        const { answer, asked } = yield* begin({}, reply === "echo" ? echo : reply)
        const error = yield* Effect.flip(answer({ code: "secret-code" }))
        expect(error).toMatchObject({ _tag: "LoginError", reason })
        const shown = `${inspect(error, { depth: 9 })} ${JSON.stringify(error)} ${error.message}`
        for (const secret of [
          "secret-code",
          new URLSearchParams(asked[0]!.body).get("code_verifier")!,
          "\u001b"
        ]) {
          expect(shown).not.toContain(secret)
        }
      }
    })
  )
})

describe("the answer", () => {
  it.effect("of another login is refused before anything is sent, and spoils nothing", () =>
    Effect.gen(function* () {
      const { answer, asked, attempt, parameters } = yield* begin()
      const state = parameters.get("state")!
      for (const query of [
        "code=c",
        "code=c&state=",
        "code=c&state=x",
        `code=c&state=${state}&state=${state}`
      ]) {
        const error = yield* Effect.flip(attempt.redeem(new URLSearchParams(query)))
        expect(error).toMatchObject({ _tag: "LoginError", reason: "StateMismatch" })
        expect(error.message).not.toContain(state)
      }
      expect(asked).toEqual([])
      yield* answer({ code: "c" })
      expect(asked).toHaveLength(1)
    })
  )

  it.effect("is good once, whatever became of it", () =>
    Effect.gen(function* () {
      for (const first of [{ code: "c" }, { error: "access_denied" }]) {
        const { answer, asked } = yield* begin()
        yield* Effect.exit(answer(first as Record<string, string>))
        const sent = asked.length
        expect(yield* Effect.flip(answer({ code: "c" }))).toMatchObject({
          reason: "StateMismatch",
          message: expect.stringContaining("already used") as unknown
        })
        expect(asked.length).toBe(sent)
      }
    })
  )

  it.effect("names the issuer that was asked (RFC 9207)", () =>
    Effect.gen(function* () {
      const outcome = (
        fields: Record<string, string>,
        over: Partial<AuthorizationCode.Options> = {},
        ...replies: ReadonlyArray<Reply>
      ) =>
        Effect.flatMap(begin(over, ...replies), ({ answer }) =>
          Effect.match(answer(fields), {
            onFailure: (error) => error.reason,
            onSuccess: () => "ok"
          })
        )
      expect(yield* outcome({ code: "c" })).toBe("ok")
      expect(yield* outcome({ code: "c", iss: issuer })).toBe("ok")
      for (const iss of ["https://evil.example", `${issuer}/`, ""]) {
        expect(yield* outcome({ code: "c", iss })).toBe("IssuerMismatch")
        expect(yield* outcome({ error: "access_denied", iss })).toBe("IssuerMismatch")
      }
      const { issuer: _issuer, ...unnamed } = server
      expect(yield* outcome({ code: "c", iss: "https://any.example" }, { server: unnamed })).toBe("ok")

      const discovered = { server: { issuer, discovery: "oidc" as const } }
      const metadata: Reply = {
        body: {
          issuer,
          token_endpoint: server.tokenEndpoint,
          authorization_endpoint: server.authorizationEndpoint,
          authorization_response_iss_parameter_supported: true
        }
      }
      expect(yield* outcome({ code: "c" }, discovered, metadata, granted)).toBe("IssuerMismatch")
      expect(yield* outcome({ error: "access_denied" }, discovered, metadata)).toBe("IssuerMismatch")
      expect(yield* outcome({ code: "c", iss: issuer }, discovered, metadata, granted)).toBe("ok")
    })
  )

  it.effect("that is an error says which", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<[string, string]> = [
        ["access_denied", "Denied"],
        ["login_required", "Denied"],
        ["consent_required", "Denied"],
        ["server_error", "ServerError"],
        ["temporarily_unavailable", "ServerError"],
        ["invalid_scope", "Misconfigured"],
        ["unauthorized_client", "Misconfigured"],
        ["unsupported_response_type", "Misconfigured"]
      ]
      for (const [code, reason] of cases) {
        const { answer, asked } = yield* begin()
        const error = yield* Effect.flip(answer({ error: code, error_description: "because <b>" }))
        expect(error).toMatchObject({ _tag: "LoginError", reason, oauthError: code })
        expect(error.message).toContain("because <b>")
        expect(asked).toEqual([])
      }
    })
  )

  it.effect("has its words cut and escaped", () =>
    Effect.gen(function* () {
      const { answer } = yield* begin()
      const error = yield* Effect.flip(
        answer({ error: "\u001b]0;x", error_description: `\u0007${"long words ".repeat(100)}` })
      )
      expect(error.message).toContain("\\u001b]0;x")
      expect(error.message).toContain("\\u0007long words")
      expect(error.message.length).toBeLessThan(400)
    })
  )

  it.effect("that is none is refused before anything is sent", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<[string, string]> = [
        ["", "has a code that is missing"],
        ["code=", "has a code that is blank"],
        ["code=a%0d%0ab", "has a code that has a control character"],
        ["code=a&code=b", "repeats the parameter code"],
        ["code=a&iss=x&iss=y", "repeats the parameter iss"],
        ["error=a&error=b", "repeats the parameter error"],
        ["response=a.b.c", "is a JWT"]
      ]
      for (const [query, problem] of cases) {
        const { asked, attempt, parameters } = yield* begin()
        const error = yield* Effect.flip(
          attempt.redeem(new URLSearchParams(`${query}&state=${parameters.get("state")}`))
        )
        expect(error).toMatchObject({ _tag: "LoginError", reason: "Malformed" })
        expect(error.message).toContain(problem)
        expect(asked).toEqual([])
      }
    })
  )
})
