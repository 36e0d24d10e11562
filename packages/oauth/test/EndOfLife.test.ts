import { FetchHttpClient, HttpClient, HttpClientResponse } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Profile } from "@latchkey/core"
import { ClientAuth, Introspection, RefreshToken, Revocation, UserInfo } from "@latchkey/oauth"
import { Config, ConfigProvider, Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { inspect } from "node:util"
import { answering, type Asked, type Reply } from "./Memory.js"
import * as Provider from "./Provider.js"
import * as Edition from "../../core/test/support/Edition.js"

const client = {
  client_id: "confidential",
  client_secret: "secret",
  redirect_uris: ["https://client.example.com/callback"],
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"]
}
const auth = { clientId: client.client_id, auth: ClientAuth.basic(Redacted.make("secret")) }

const features = {
  introspection: { enabled: true, allowedPolicy: () => true },
  revocation: { enabled: true, allowedPolicy: () => true },
  userinfo: { enabled: true }
}

const credentials = Credentials.make({ accessToken: "the-access", refreshToken: "the-refresh" })

const server = {
  tokenEndpoint: "https://a.example/token",
  revocationEndpoint: "https://a.example/revoke",
  introspectionEndpoint: "https://a.example/introspect",
  userinfoEndpoint: "https://a.example/me"
}

describe("against a real server", () => {
  it.scopedLive("introspection, user info, and then revocation ends the grant", () =>
    Effect.gen(function* () {
      const real = yield* Provider.start({ clients: [client], features })
      const at = { server: { issuer: real.issuer }, client: auth }
      const first = yield* real.grant({
        clientId: client.client_id,
        scope: "openid offline_access email profile"
      })
      const grant = yield* (yield* RefreshToken.make(at)).refresh(Option.some(first))
      const { introspect } = yield* Introspection.make(at)
      const { revoke } = yield* Revocation.make(at)
      const source = yield* UserInfo.make({ server: at.server, provider: "test" })

      const info = yield* introspect(grant.accessToken, "access_token")
      expect(info).toMatchObject({
        active: true,
        subject: Option.some("alice"),
        clientId: Option.some(client.client_id),
        scopes: ["openid", "offline_access", "email", "profile"]
      })
      const expiry = Option.getOrThrow(info.expiresAt)
      expect(Math.abs(expiry - Option.getOrThrow(grant.expiresAt))).toBeLessThanOrEqual(2000)
      expect((yield* introspect(Redacted.make("never issued"))).active).toBe(false)

      const profile = yield* source.fetch(grant)
      expect(profile).toEqual(
        Profile.make({
          provider: "test",
          accountId: "alice",
          email: "alice@example.com",
          displayName: "alice",
          extras: { email_verified: true }
        })
      )
      expect(source.quick(grant).accountId).toEqual(Option.some("alice"))

      yield* revoke(grant)
      const revocations = real.requests.filter((r) => r.line === "POST /token/revocation")
      expect(revocations.map((r) => new URLSearchParams(r.body).get("token_type_hint"))).toEqual([
        "refresh_token",
        "access_token"
      ])
      expect((yield* introspect(Option.getOrThrow(grant.refreshToken))).active).toBe(false)
      expect((yield* introspect(grant.accessToken)).active).toBe(false)
      const dead = yield* Effect.flip((yield* RefreshToken.make(at)).refresh(Option.some(grant)))
      expect(dead.reason).toBe("GrantDead")
      expect((yield* Effect.flip(source.fetch(grant))).reason).toBe("Rejected")
      // RFC 7009 §2.2: once more does no harm.
      yield* revoke(grant)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})

describe("revocation", () => {
  const revoking = (options: Partial<Revocation.Options>, ...replies: ReadonlyArray<Reply>) => {
    const { asked, layer } = answering(...replies)
    return Effect.map(
      Effect.provide(Revocation.make({ server, client: auth, ...options }), layer),
      ({ revoke }) => ({ revoke: revoke(credentials), asked })
    )
  }
  const busy = (seconds: string): Reply => ({ status: 503, headers: { "retry-after": seconds }, body: "" })

  it.effect("503: it is alive, and asked again when the server says", () =>
    Effect.gen(function* () {
      const { revoke, asked } = yield* revoking({}, busy("7"), { body: "" })
      const fiber = yield* Effect.fork(revoke)
      yield* TestClock.adjust("6 seconds")
      expect(asked.length).toBe(1)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      expect(asked.map((a) => new URLSearchParams(a.body).get("token"))).toEqual([
        "the-refresh",
        "the-refresh",
        "the-access"
      ])
    })
  )

  it.effect("three times at most, and never for longer than it may wait", () =>
    Effect.gen(function* () {
      const tired = yield* revoking({}, { status: 503, body: "" })
      const fiber = yield* Effect.fork(Effect.flip(tired.revoke))
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "OAuthError", status: 503 })
      expect(tired.asked.length).toBe(3)

      const long = yield* revoking({ maxWait: "1 minute" }, busy("61"))
      expect((yield* Effect.flip(long.revoke)).status).toBe(503)
      expect(long.asked.length).toBe(1)
    })
  )

  it.effect.each<readonly [Partial<Revocation.Options>, string]>([
    [{ maxWait: -1 }, "maxWait"],
    [{ maxWait: JSON.parse('"soon"') as "1 second" }, "maxWait"],
    [{ attempts: 0 }, "attempts"],
    [{ attempts: Number.NaN }, "attempts"]
  ])("39 a setting that cannot work is named: %j", ([options, setting]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(revoking(options, { body: "" }))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting })
    })
  )

  it.effect("what is no use to repeat is not", () =>
    Effect.gen(function* () {
      const { revoke, asked } = yield* revoking({}, { status: 401, body: { error: "invalid_client" } })
      expect((yield* Effect.flip(revoke)).reason).toBe("Misconfigured")
      expect(asked.length).toBe(1)
    })
  )

  it.effect("a server that revokes no access tokens has ended the grant all the same", () =>
    Effect.gen(function* () {
      const no = { status: 400, body: { error: "unsupported_token_type" } }
      yield* (yield* revoking({}, { body: "" }, no)).revoke
      const refused = yield* revoking({}, no)
      expect((yield* Effect.flip(refused.revoke)).oauthError).toBe("unsupported_token_type")
    })
  )

  const error = (code: string, status = 400): Reply => ({ status, body: { error: code } })
  const fine: Reply = { body: "" }

  it.effect.each<readonly [string, Reply, Reply]>([
    ["the access token died with the refresh token", fine, error("invalid_token")],
    ["it is said with a 401", fine, error("invalid_token", 401)],
    ["it is said as invalid_grant", fine, error("invalid_grant")],
    ["the refresh token was invalid already", error("invalid_token"), fine],
    ["the refresh token was an ended grant", error("invalid_grant"), fine],
    ["both were", error("invalid_token"), error("invalid_token")],
    ["access tokens cannot be revoked", fine, error("unsupported_token_type")],
    [
      "access tokens cannot, after an invalid refresh token",
      error("invalid_grant"),
      error("unsupported_token_type")
    ],
    ["the access token is not found", fine, { status: 404, body: "" }],
    ["the access token is refused for another reason", fine, error("invalid_request")]
  ])("ends the grant though %s (F23)", ([, refresh, access]) =>
    Effect.gen(function* () {
      const { revoke, asked } = yield* revoking({}, refresh, access)
      yield* revoke
      yield* Effect.sync(() => expect(asked).toHaveLength(2))
    }).pipe(Edition.silent)
  )

  it.effect.each<readonly [string, Reply]>([
    ["the kind of token is not supported", error("unsupported_token_type")],
    ["the client is refused", error("invalid_client", 401)],
    ["there is nothing at the endpoint", { status: 404, body: "" }],
    ["a failure is called invalid_token", error("invalid_token", 503)]
  ])("fails if the refresh token may be alive: %s", ([, reply]) =>
    Effect.gen(function* () {
      const { revoke, asked } = yield* revoking({ attempts: 1 }, reply, fine)
      expect(yield* Effect.flip(revoke)).toMatchObject({ _tag: "OAuthError", status: reply.status })
      expect(asked).toHaveLength(1)
    })
  )

  it.effect("fails if the access token may be revoked later, and logs what it leaves alive, without it", () =>
    Effect.gen(function* () {
      const busyThen = yield* revoking({ attempts: 1 }, fine, { status: 503, body: "" })
      expect((yield* Effect.flip(busyThen.revoke)).status).toBe(503)
      const lines: Array<string> = []
      const logger = Edition.logging(({ message }) => void lines.push(String(message)))
      const echo = { error: "unsupported_token_type", error_description: "no: the-access" }
      const { revoke } = yield* revoking({}, fine, { status: 400, body: echo })
      yield* logger(revoke)
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain("stays valid until it expires")
      expect(lines[0]).not.toContain("the-access")
    })
  )

  it.effect("of an access token alone succeeds if it is invalid, and fails if it is refused", () =>
    Effect.gen(function* () {
      const alone = (reply: Reply) =>
        Effect.flatMap(Revocation.make({ server, client: auth }), ({ revoke }) =>
          revoke(Credentials.make({ accessToken: "the-access" }))
        ).pipe(Effect.provide(answering(reply).layer))
      yield* alone(fine)
      yield* alone(error("invalid_token"))
      expect(yield* Effect.flip(alone(error("unsupported_token_type")))).toMatchObject({
        reason: "Misconfigured"
      })
    })
  )

  it.effect("a server without the endpoint is a configuration error; nothing is sent", () =>
    Effect.gen(function* () {
      const { revoke, asked } = yield* revoking({ server: { tokenEndpoint: server.tokenEndpoint } }, {})
      const error = yield* Effect.flip(revoke)
      expect(error.reason).toBe("Misconfigured")
      expect(error.message).toContain("revocation_endpoint")
      expect(asked).toEqual([])
    })
  )
})

describe("introspection", () => {
  const now = 1_700_000_000_000
  const introspecting = (options: Partial<Introspection.Options>, ...replies: ReadonlyArray<Reply>) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      const { asked, layer } = answering(...replies)
      const { introspect } = yield* Effect.provide(
        Introspection.make({ server, client: auth, ...options }),
        layer
      )
      return { asked, introspect: introspect(Redacted.make("token")) }
    })

  it.effect("is not kept unless asked for", () =>
    Effect.gen(function* () {
      const { asked, introspect } = yield* introspecting({}, { body: { active: true } })
      expect(yield* introspect).toMatchObject({ active: true, scopes: [], subject: Option.none() })
      yield* introspect
      expect(asked.length).toBe(2)
    })
  )

  it.effect("is kept for its time, and never past exp", () =>
    Effect.gen(function* () {
      const { asked, introspect } = yield* introspecting(
        { cacheTtl: "1 minute" },
        { body: { active: true, exp: now / 1000 + 30 } }
      )
      yield* introspect
      yield* TestClock.adjust("29 seconds")
      yield* introspect
      expect(asked.length).toBe(1)
      yield* TestClock.adjust("1 second")
      expect((yield* introspect).active).toBe(false)
      expect(asked.length).toBe(2)
      // What is not active is asked about again.
      yield* introspect
      expect(asked.length).toBe(3)
    })
  )

  it.effect("is not kept for longer where the clock is set back", () =>
    Effect.gen(function* () {
      const { asked, introspect } = yield* introspecting({ cacheTtl: "1 minute" }, { body: { active: true } })
      yield* introspect
      yield* TestClock.setTime(now - 1_000_000)
      yield* introspect
      yield* introspect
      expect(asked.length).toBe(2)
    })
  )

  it.effect("39 cannot be kept for less than no time", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(introspecting({ cacheTtl: -1 }, { body: { active: true } }))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "cacheTtl" })
    })
  )

  it.effect.each<readonly [string, Reply, string]>([
    ["no active", { body: {} }, "Malformed"],
    ["active in words", { body: { active: "true" } }, "Malformed"],
    ["exp in words", { body: { active: true, exp: "soon" } }, "Malformed"],
    ["HTML", { body: "<html>" }, "Malformed"],
    ["401", { status: 401, body: { error: "invalid_client" } }, "Misconfigured"],
    ["503", { status: 503, body: { error: "temporarily_unavailable" } }, "Transient"]
  ])("%s", ([, reply, reason]) =>
    Effect.gen(function* () {
      const { introspect } = yield* introspecting({}, reply)
      expect((yield* Effect.flip(introspect)).reason).toBe(reason)
    })
  )
})

describe("user info", () => {
  const asking = (reply: Reply, grant = credentials) => {
    const { asked, layer } = answering(reply)
    return Effect.map(
      Effect.either(
        Effect.provide(
          Effect.flatMap(UserInfo.make({ server, provider: "p" }), (source) => source.fetch(grant)),
          layer
        )
      ),
      (result) => ({ result, asked })
    )
  }
  const idToken = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`

  it.effect("the token goes in the header, never in the URL", () =>
    Effect.gen(function* () {
      const { asked } = yield* asking({ body: { sub: "alice" } })
      expect(asked[0]).toMatchObject({ method: "GET", url: server.userinfoEndpoint, body: "" })
      expect(asked[0]!.headers["authorization"]).toBe("Bearer the-access")
    })
  )

  it.effect("a token of a type that is not understood is not sent as another (RFC 6749 §7.1)", () =>
    Effect.gen(function* () {
      for (const [tokenType, sent] of [
        ["mac", 0],
        ["bearer", 1],
        ["BEARER", 1]
      ] as const) {
        const grant = Credentials.make({ accessToken: "a", tokenType })
        const { asked, result } = yield* asking({ body: { sub: "alice" } }, grant)
        expect(asked.length, tokenType).toBe(sent)
        if (sent === 0) expect(result).toMatchObject({ _tag: "Left", left: { reason: "Rejected" } })
      }
    })
  )

  it.effect("is refused for another subject than the id token's", () =>
    Effect.gen(function* () {
      const grant = Credentials.make({ accessToken: "a", idToken: idToken({ sub: "alice" }) })
      const { result } = yield* asking({ body: { sub: "mallory" } }, grant)
      expect(result).toMatchObject({ _tag: "Left", left: { _tag: "ProfileError", reason: "Malformed" } })
    })
  )

  it.effect.each<readonly [string, Reply, string]>([
    ["401", { status: 401, body: "" }, "Rejected"],
    ["403", { status: 403, body: "" }, "Rejected"],
    ["503", { status: 503, body: "" }, "Unavailable"],
    ["429", { status: 429, body: "" }, "Unavailable"],
    ["404", { status: 404, body: "" }, "Malformed"],
    ["HTML", { body: "<html>" }, "Malformed"],
    ["a redirect", { status: 302, headers: { location: "https://b.example" }, body: "" }, "Malformed"]
  ])("%s", ([, reply, reason]) =>
    Effect.gen(function* () {
      const { result } = yield* asking(reply)
      expect(result).toMatchObject({ _tag: "Left", left: { _tag: "ProfileError", reason } })
    })
  )

  it.effect("quick reads the id token, or the credentials, and asks nobody", () =>
    Effect.gen(function* () {
      const nobody = Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, Response.error())))
      )
      const source = yield* Effect.provide(UserInfo.make({ server, provider: "p" }), nobody)
      const claims = { sub: "alice", email: "alice@example.com", name: "Älice", plan: "pro" }
      const quick = source.quick(Credentials.make({ accessToken: "a", idToken: idToken(claims) }))
      expect(quick).toEqual(
        Profile.make({
          provider: "p",
          accountId: "alice",
          email: "alice@example.com",
          displayName: "Älice",
          extras: { plan: "pro" }
        })
      )
      for (const bad of ["nonsense", "a.b.c", `a.${Buffer.from("[]").toString("base64url")}.c`]) {
        const grant = Credentials.make({ accessToken: "a", idToken: bad, accountId: "bob" })
        expect(source.quick(grant)).toEqual(Profile.make({ provider: "p", accountId: "bob" }))
      }
    })
  )
})

it.effect("no error repeats a token or a secret that the server threw back", () =>
  Effect.gen(function* () {
    const echo = (asked: Asked): Reply => {
      const { authorization = "" } = asked.headers
      const basic = Buffer.from(authorization.split(" ")[1] ?? "", "base64").toString()
      const said = `${asked.body} ${authorization} ${basic} the-access the-refresh sesame`
      return { status: 400, body: { error: `bad ${said}`, error_description: said } }
    }
    const client = { clientId: "id", auth: ClientAuth.basic(Redacted.make("sesame")) }
    const errors = yield* Effect.all([
      Effect.flatMap(Revocation.make({ server, client }), ({ revoke }) => Effect.flip(revoke(credentials))),
      Effect.flatMap(Introspection.make({ server, client }), ({ introspect }) =>
        Effect.flip(introspect(Option.getOrThrow(credentials.refreshToken)))
      ),
      Effect.flatMap(UserInfo.make({ server, provider: "p" }), (s) => Effect.flip(s.fetch(credentials)))
    ]).pipe(Effect.provide(answering(echo).layer))
    const own = ["the-refresh", "the-refresh", "the-access"]
    errors.forEach((error, i) => {
      const shown = `${error.message} ${JSON.stringify(error)} ${inspect(error, { depth: 9 })}`
      expect(shown).toContain("<redacted>")
      expect(shown).not.toContain(own[i])
      if (i < 2) expect(shown).not.toContain("sesame")
    })
  })
)

it.effect("all of them by configuration", () =>
  Effect.gen(function* () {
    const { asked, layer } = answering({ body: { active: true, sub: "alice" } })
    const common = {
      server: Config.succeed(server),
      client: {
        clientId: Config.string("CLIENT_ID"),
        auth: Config.map(Config.redacted("CLIENT_SECRET"), ClientAuth.post)
      }
    }
    const services = Layer.mergeAll(
      Revocation.layerConfig(common),
      Introspection.layerConfig(common),
      UserInfo.layerConfig({ server: common.server, provider: Config.succeed("p") })
    ).pipe(
      Layer.provide(layer),
      Layer.provide(
        Layer.setConfigProvider(
          ConfigProvider.fromMap(
            new Map([
              ["CLIENT_ID", "id"],
              ["CLIENT_SECRET", "from the environment"]
            ])
          )
        )
      )
    )
    yield* Effect.gen(function* () {
      yield* (yield* Introspection.Introspection).introspect(Redacted.make("t"))
      yield* (yield* Profile.ProfileSource).fetch(credentials)
      yield* (yield* Revocation.Revocation).revoke(credentials)
    }).pipe(Effect.provide(services))
    expect(asked.map((a) => a.url)).toEqual([
      server.introspectionEndpoint,
      server.userinfoEndpoint,
      server.revocationEndpoint,
      server.revocationEndpoint
    ])
    expect(new URLSearchParams(asked[0]!.body).get("client_secret")).toBe("from the environment")
  })
)
