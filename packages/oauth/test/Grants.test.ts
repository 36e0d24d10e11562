import { describe, expect, it } from "@effect/vitest"
import { Credentials, TokenRefresher } from "@latchkey/core"
import { ClientAuth, ClientCredentials, JwtBearer, RefreshToken, TokenExchange } from "@latchkey/oauth"
import { Effect, Layer, Option, Redacted } from "effect"
import type { Context as ProviderContext, Provider as OidcProvider } from "oidc-provider"
import { FetchHttpClient } from "@effect/platform"
import { answering } from "./Memory.js"
import * as Provider from "./Provider.js"

const fetchLayer = FetchHttpClient.layer

/** A secret that must be form-encoded before it goes into a Basic header. */
const secret = "s3cr:t +%/& with enough bytes for HS256 ................"
const resource = "https://api.example.com"

const keyPair = Effect.promise(async () => {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(
    { name: "ECDSA", namedCurve: "P-256" },
    true,
    ["sign", "verify"]
  )
  return {
    privateJwk: Redacted.make({ ...(await crypto.subtle.exportKey("jwk", privateKey)), kty: "EC" }),
    publicJwk: await crypto.subtle.exportKey("jwk", publicKey),
    privateKey,
    publicKey
  }
})

const confidential = (method: string, more: object = {}) => ({
  client_id: `${method} client/1:x`,
  client_secret: secret,
  token_endpoint_auth_method: method,
  redirect_uris: ["https://client.example.com/callback"],
  grant_types: ["authorization_code", "refresh_token", "client_credentials"],
  response_types: ["code"],
  ...more
})

const features = {
  clientCredentials: { enabled: true },
  resourceIndicators: {
    enabled: true,
    defaultResource: () => undefined,
    useGrantedResource: () => true,
    getResourceServerInfo: () => ({ scope: "api:read api:write", accessTokenFormat: "opaque" })
  }
}

const claimsOf = (jwt: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(jwt.split(".")[1]!, "base64url").toString())

describe("client authentication, against a real server", () => {
  const methods: ReadonlyArray<readonly [string, object, () => ClientAuth.ClientAuth]> = [
    ["client_secret_basic", {}, () => ClientAuth.basic(Redacted.make(secret))],
    ["client_secret_post", {}, () => ClientAuth.post(Redacted.make(secret))],
    [
      "client_secret_jwt",
      { token_endpoint_auth_signing_alg: "HS256" },
      () => ClientAuth.clientSecretJwt(Redacted.make(secret))
    ]
  ]

  it.scopedLive.each(methods)("%s", ([method, more, auth]) =>
    Effect.gen(function* () {
      const client = confidential(method, more)
      const server = yield* Provider.start({ clients: [client], features })
      const first = yield* server.grant({ clientId: client.client_id })
      const refresher = yield* RefreshToken.make({
        server: { issuer: server.issuer },
        client: { clientId: client.client_id, auth: auth() }
      })
      const second = yield* refresher.refresh(Option.some(first))
      const third = yield* refresher.refresh(Option.some(second))
      expect(Credentials.sameRefreshToken(second, third)).toBe(false)

      const stranger = yield* RefreshToken.make({
        server: { issuer: server.issuer },
        client: {
          clientId: client.client_id,
          auth: ClientAuth[
            method === "client_secret_post"
              ? "post"
              : method === "client_secret_basic"
                ? "basic"
                : "clientSecretJwt"
          ](Redacted.make("wrong"))
        }
      })
      const error = yield* Effect.flip(stranger.refresh(Option.some(third)))
      expect(error).toMatchObject({ reason: "Misconfigured", oauthError: "invalid_client" })
      // A refused client does not cost the grant.
      yield* refresher.refresh(Option.some(third))
    }).pipe(Effect.provide(fetchLayer))
  )

  const endpoint = { tokenEndpoint: "https://a.example/token" }
  const basicOf = (clientId: string, auth: ClientAuth.ClientAuth) =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ body: { access_token: "a", token_type: "bearer" } })
      const refresher = yield* Effect.provide(
        RefreshToken.make({ server: endpoint, client: { clientId, auth } }),
        layer
      )
      yield* refresher.refresh(Option.some(Credentials.make({ accessToken: "x", refreshToken: "r" })))
      const [scheme, credentials = ""] = asked[0]!.headers["authorization"]!.split(" ")
      expect(scheme).toBe("Basic")
      return Buffer.from(credentials, "base64").toString()
    })

  it.effect.each<readonly [string, string]>([
    ["a-b_c.d~e*f!g'h(i)", "a-b_c.d~e*f!g'h(i)"],
    ["a b", "a+b"],
    ["a+b%c", "a%2Bb%25c"],
    ["a/b=c&d:e", "a%2Fb%3Dc%26d%3Ae"],
    ["gehëim-€", "geh%C3%ABim-%E2%82%AC"]
  ])(
    "client_secret_basic encodes %s, and leaves alone what means itself; basicRaw sends it as it is (F28)",
    ([secret, encoded]) =>
      Effect.gen(function* () {
        expect(yield* basicOf("my-client", ClientAuth.basic(Redacted.make(secret)))).toBe(
          `my-client:${encoded}`
        )
        expect(new URLSearchParams(`s=${encoded}`).get("s")).toBe(secret)
        expect(yield* basicOf("my-client", ClientAuth.basicRaw(Redacted.make(secret)))).toBe(
          `my-client:${secret}`
        )
      })
  )

  it.effect.each(["canary-a+b", "canary%2Fx", "canary-ë€-canary"])(
    "a server that quotes the secret %s of a Basic header does not bring it into an error",
    (canary) =>
      Effect.gen(function* () {
        for (const auth of [ClientAuth.basic, ClientAuth.basicRaw]) {
          const refresher = yield* RefreshToken.make({
            server: endpoint,
            client: { clientId: "c", auth: auth(Redacted.make(canary)) }
          })
          const error = yield* Effect.flip(
            refresher.refresh(
              Option.some(Credentials.make({ accessToken: "x", refreshToken: "refresh-token" }))
            )
          )
          expect(error.message).toContain("wrong: <redacted>")
          expect(error.message).not.toContain("canary")
          expect(error.message).toContain("basicRaw")
        }
      }).pipe(
        Effect.provide(
          answering(({ headers }) => ({
            status: 401,
            body: {
              error: "invalid_client",
              error_description: `wrong: ${Buffer.from(headers["authorization"]!.slice(6), "base64").toString().slice(2)}`
            }
          })).layer
        )
      )
  )

  it.scopedLive.each(["JWK", "CryptoKey"])("private_key_jwt from a %s, with a fresh jti each time", (kind) =>
    Effect.gen(function* () {
      const keys = yield* keyPair
      const client = confidential("private_key_jwt", {
        client_secret: undefined,
        token_endpoint_auth_signing_alg: "ES256",
        jwks: { keys: [{ ...keys.publicJwk, kid: "k1", alg: "ES256", use: "sig" }] }
      })
      const server = yield* Provider.start({ clients: [client], features })
      const first = yield* server.grant({ clientId: client.client_id })
      const refresher = yield* RefreshToken.make({
        server: { issuer: server.issuer },
        client: {
          clientId: client.client_id,
          auth: ClientAuth.privateKeyJwt({
            key: kind === "JWK" ? keys.privateJwk : keys.privateKey,
            kid: "k1"
          })
        }
      })
      const second = yield* refresher.refresh(Option.some(first))
      yield* refresher.refresh(Option.some(second))
      const assertions = server.requests
        .filter((r) => r.line === "POST /token")
        .map((r) => claimsOf(new URLSearchParams(r.body).get("client_assertion")!))
      expect(assertions.map((a) => [a["iss"], a["sub"], a["aud"]])).toEqual([
        [client.client_id, client.client_id, server.issuer],
        [client.client_id, client.client_id, server.issuer]
      ])
      expect(new Set(assertions.map((a) => a["jti"])).size).toBe(2)
    }).pipe(Effect.provide(fetchLayer))
  )

  it.effect.each<readonly [string, ClientAuth.Client, string]>([
    ["no client id", { clientId: "" }, "client.clientId"],
    [
      "a secret with half of a character",
      { clientId: "c", auth: ClientAuth.basic(Redacted.make("a\ud800canary")) },
      "client.auth.secret"
    ],
    [
      "an id with a colon, raw",
      { clientId: "c:d", auth: ClientAuth.basicRaw(Redacted.make("canary")) },
      "client.clientId"
    ],
    ["an empty secret", { clientId: "c", auth: ClientAuth.basic(Redacted.make("")) }, "client.auth.secret"],
    [
      "a public key",
      {
        clientId: "c",
        auth: ClientAuth.privateKeyJwt({ key: Redacted.make({ kty: "EC", crv: "P-256", x: "AA", y: "AA" }) })
      },
      "client.auth.key"
    ],
    [
      "a symmetric key",
      { clientId: "c", auth: ClientAuth.privateKeyJwt({ key: Redacted.make({ kty: "oct", k: "canary" }) }) },
      "client.auth.key"
    ]
  ])("%s is a configuration error", ([, client, setting]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        RefreshToken.make({ server: { tokenEndpoint: "https://a.example/token" }, client })
      )
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting })
      expect(JSON.stringify(error)).not.toContain("canary")
    }).pipe(Effect.provide(answering({}).layer))
  )
})

describe("the refresh grant", () => {
  it.scopedLive(
    "narrows scopes, widens them again, and lets the server refuse what was not granted (F5)",
    () =>
      Effect.gen(function* () {
        const server = yield* Provider.start()
        const first = yield* server.grant({ scope: "openid offline_access email" })
        const refresh = (scopes: ReadonlyArray<string>, before: Credentials.Credentials) =>
          Effect.flatMap(
            RefreshToken.make({
              server: { issuer: server.issuer },
              client: { clientId: Provider.publicClient.client_id },
              scopes
            }),
            (refresher) => refresher.refresh(Option.some(before))
          )
        const narrowed = yield* refresh(["openid"], first)
        expect(narrowed.scopes).toEqual(["openid"])
        const widened = yield* refresh(["openid", "offline_access", "email"], narrowed)
        expect(widened.scopes).toEqual(["openid", "offline_access", "email"])
        const requests = server.tokenRequests()
        const error = yield* Effect.flip(refresh(["openid", "admin"], widened))
        expect(error).toMatchObject({ reason: "Misconfigured", oauthError: "invalid_scope" })
        expect(error.message).toContain("ask for fewer or none, or log in again for more")
        expect(server.tokenRequests()).toBe(requests + 1)
      }).pipe(Effect.provide(fetchLayer))
  )

  const login = ["openid", "offline_access", "email"]
  it.effect.each<readonly [string, Record<string, unknown>]>([
    ["without offline_access", { scope: "openid email" }],
    ["without openid and offline_access (Entra)", { scope: "User.Read email" }],
    [
      "as URLs, in another order (Google)",
      { scope: "https://www.googleapis.com/auth/userinfo.email openid" }
    ],
    ["in another case", { scope: "OpenID Email" }],
    ["empty", { scope: "" }],
    ["left out", {}],
    ["others altogether", { scope: "read" }]
  ])("login scopes are sent again after an answer whose scopes are %s (F5)", ([, told]) =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ body: { access_token: "a", token_type: "Bearer", ...told } })
      const { refresh } = yield* Effect.provide(
        RefreshToken.make({
          server: { tokenEndpoint: "https://a.example/token" },
          client: { clientId: "c" },
          scopes: login
        }),
        layer
      )
      const before = Credentials.make({ accessToken: "x", refreshToken: "r", scopes: login })
      const second = yield* refresh(Option.some(before))
      yield* refresh(Option.some(second))
      expect(asked.map(({ body }) => new URLSearchParams(body).get("scope"))).toEqual([
        login.join(" "),
        login.join(" ")
      ])
    })
  )

  it.effect("sends resources, more parameters and headers; as JSON to servers that want it", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ body: { access_token: "a", token_type: "bearer" } })
      const refresher = yield* Effect.provide(
        RefreshToken.make({
          server: { tokenEndpoint: "https://a.example/token" },
          client: { clientId: "c" },
          encoding: "json",
          resource: [resource, "urn:other"],
          parameters: { tenant: "t1" },
          headers: { "x-version": "7" }
        }),
        layer
      )
      yield* refresher.refresh(Option.some(Credentials.make({ accessToken: "x", refreshToken: 'r"1' })))
      expect(asked[0]!.headers).toMatchObject({ "content-type": "application/json", "x-version": "7" })
      expect(JSON.parse(asked[0]!.body)).toEqual({
        grant_type: "refresh_token",
        refresh_token: 'r"1',
        resource: [resource, "urn:other"],
        tenant: "t1",
        client_id: "c"
      })
    })
  )

  it.effect.each(["relative/path", "https://api.example.com/#part", ""])("no resource %s", (bad) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        RefreshToken.make({
          server: { tokenEndpoint: "https://a.example/token" },
          client: { clientId: "c" },
          resource: bad
        })
      )
      expect(error.setting).toBe("resource")
    }).pipe(Effect.provide(answering({}).layer))
  )

  it.effect("without a refresh token nothing is sent; the rotation policy is the one given", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({})
      const refresher = yield* Effect.provide(
        TokenRefresher.TokenRefresher,
        RefreshToken.layer({
          server: { tokenEndpoint: "https://a.example/token" },
          client: { clientId: "c" },
          rotation: TokenRefresher.reusable
        }).pipe(Layer.provide(layer))
      )
      expect(refresher).toMatchObject({ needsRefreshToken: true, rotation: { _tag: "Reusable" } })
      const error = yield* Effect.flip(refresher.refresh(Option.some(Credentials.make({ accessToken: "x" }))))
      expect(error.reason).toBe("NotSent")
      expect(asked).toEqual([])
    })
  )

  it.scopedLive("an id token for another audience is refused, and the refresh token saved", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start()
      const jwt = (claims: object) =>
        `${Buffer.from('{"alg":"RS256"}').toString("base64url")}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`
      const now = Math.floor(Date.now() / 1000)
      const claims = { iss: server.issuer, aud: "c", sub: "alice", iat: now, exp: now + 60 }
      const answer = (id_token: string) =>
        answering({ body: { access_token: "a", token_type: "bearer", refresh_token: "next", id_token } })
          .layer
      const ask = (idToken: string, more: Partial<RefreshToken.Options> = {}, before = jwt(claims)) =>
        Effect.flatMap(
          RefreshToken.make({
            server: { tokenEndpoint: "https://a.example/token", issuer: server.issuer },
            client: { clientId: "c" },
            ...more
          }),
          (refresher) =>
            Effect.either(
              refresher.refresh(
                Option.some(Credentials.make({ accessToken: "x", refreshToken: "r", idToken: before }))
              )
            )
        ).pipe(Effect.provide(answer(idToken)))

      expect((yield* ask(jwt(claims)))._tag).toBe("Right")
      for (const bad of [
        { aud: "other" },
        { iss: "https://evil.example" },
        { exp: now - 3600 },
        { sub: undefined }
      ]) {
        const refused = yield* ask(jwt({ ...claims, ...bad }))
        expect(refused).toMatchObject({ _tag: "Left", left: { reason: "Malformed" } })
        const saved = refused._tag === "Left" ? refused.left.salvaged : undefined
        expect(Option.map(saved!.refreshToken, Redacted.value)).toEqual(Option.some("next"))
        expect((yield* ask(jwt({ ...claims, ...bad }), { checkIdToken: false }))._tag).toBe("Right")
      }
      const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${jwt(claims).split(".")[1]}.`
      expect((yield* ask(none))._tag).toBe("Left")
      expect((yield* ask("not a jwt"))._tag).toBe("Left")
      // 30: another account, even where nothing else of the token is looked at.
      const swapped = yield* ask(jwt({ ...claims, sub: "mallory" }), { checkIdToken: false })
      expect(swapped).toMatchObject({ _tag: "Left", left: { reason: "Malformed" } })
    }).pipe(Effect.provide(fetchLayer))
  )
})

describe("client credentials", () => {
  it.scopedLive("a token for a resource, needing nothing to begin with", () =>
    Effect.gen(function* () {
      const client = confidential("client_secret_basic", { scope: "api:read api:write" })
      const server = yield* Provider.start({
        clients: [client, Provider.publicClient],
        features,
        configuration: { scopes: ["openid", "offline_access", "api:read", "api:write"] }
      })
      const refresher = yield* ClientCredentials.make({
        server: { issuer: server.issuer },
        client: { clientId: client.client_id, auth: ClientAuth.basic(Redacted.make(secret)) },
        scopes: ["api:read"],
        resource
      })
      expect(refresher.needsRefreshToken).toBe(false)
      const first = yield* refresher.refresh(Option.none())
      expect(first.scopes).toEqual(["api:read"])
      expect(first.refreshToken).toEqual(Option.none())
      expect(Credentials.lifetime(first)).toEqual(Option.some(60_000))
      const second = yield* refresher.refresh(Option.some(first))
      expect(Credentials.sameAccessToken(first, second)).toBe(false)

      const notAllowed = yield* ClientCredentials.make({
        server: { issuer: server.issuer },
        client: { clientId: Provider.publicClient.client_id }
      })
      expect(yield* Effect.flip(notAllowed.refresh(Option.none()))).toMatchObject({ reason: "Misconfigured" })
    }).pipe(Effect.provide(fetchLayer))
  )
})

describe("a scope that is left out of the answer (RFC 6749 §5.1)", () => {
  const endpoint = { server: { tokenEndpoint: "https://a.example/token" }, client: { clientId: "c" } }
  const asking = { ...endpoint, scopes: ["b", "c"] }
  const assertion = Effect.succeed(Redacted.make("signed"))
  const subject = Effect.succeed({ token: Redacted.make("held"), type: TokenExchange.tokenType.jwt })
  const before = Credentials.make({ accessToken: "x", refreshToken: "r", scopes: ["a", "b", "c"] })
  const body = { access_token: "a", token_type: "bearer", issued_token_type: TokenExchange.tokenType.jwt }

  it.effect.each([
    ["client credentials", ClientCredentials.make(asking), {}, ["b", "c"]],
    ["client credentials that ask for none", ClientCredentials.make(endpoint), {}, ["a", "b", "c"]],
    ["client credentials that are told", ClientCredentials.make(asking), { scope: "b" }, ["b"]],
    ["client credentials that are told nothing", ClientCredentials.make(asking), { scope: " " }, ["b", "c"]],
    ["an assertion", JwtBearer.make({ ...asking, assertion }), {}, ["b", "c"]],
    ["an exchange", TokenExchange.make({ ...asking, subject }), {}, ["b", "c"]],
    ["a refresh keeps the grant's", RefreshToken.make(asking), {}, ["a", "b", "c"]]
  ] as const)("is the one that was asked for: %s", ([, refresher, told, scopes]) =>
    Effect.gen(function* () {
      const { refresh } = yield* refresher
      expect((yield* refresh(Option.some(before))).scopes).toEqual(scopes)
    }).pipe(Effect.provide(answering({ body: { ...body, ...told } }).layer))
  )
})

describe("the type of a token", () => {
  const endpoint = { server: { tokenEndpoint: "https://a.example/token" }, client: { clientId: "c" } }
  const before = Credentials.make({ accessToken: "x", refreshToken: "r" })
  const body = { access_token: "a", expires_in: 60, refresh_token: "r2" }
  const refresh = (given: unknown, options: Partial<RefreshToken.Options> = {}) =>
    Effect.flatMap(RefreshToken.make({ ...endpoint, ...options }), ({ refresh }) =>
      refresh(Option.some(before))
    ).pipe(Effect.provide(answering({ body: { ...body, token_type: given } }).layer))

  it.effect.each([undefined, null, ""])(
    "that the answer does not name (%j) is the one in the settings (F34)",
    (type) =>
      Effect.gen(function* () {
        const found = yield* refresh(type, { defaultTokenType: "Bearer" })
        expect(found.tokenType).toBe("Bearer")
        const error = yield* Effect.flip(refresh(type))
        expect(error).toMatchObject({ _tag: "RefreshError", reason: "Malformed" })
        for (const name of ["defaultTokenType", "token.defaultType", "TOKEN_TYPE"]) {
          expect(error.message).toContain(name)
        }
        expect(error._tag === "RefreshError" && Option.isSome(error.salvaged!.refreshToken)).toBe(true)
      })
  )

  it.effect("that the answer names is not replaced, and no setting is named where it is another one", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(refresh("mac", { defaultTokenType: "Bearer" }))
      expect(error.message).toContain("token_type is not one")
      expect(error.message).not.toContain("defaultTokenType")
    })
  )

  const { accessToken, idToken, jwt, saml2 } = TokenExchange.tokenType
  const subject = Effect.succeed({ token: Redacted.make("held"), type: jwt })
  const exchange = (requestedTokenType: string | undefined, issued: string, type: string) =>
    Effect.flatMap(TokenExchange.make({ ...endpoint, subject, requestedTokenType }), ({ refresh }) =>
      refresh(Option.some(before))
    ).pipe(
      Effect.provide(answering({ body: { ...body, issued_token_type: issued, token_type: type } }).layer)
    )

  it.effect.each([
    [idToken, idToken, "N_A"],
    [idToken, idToken, "n_a"],
    [saml2, saml2, "N_A"],
    [undefined, jwt, "N_A"],
    [jwt, jwt, "Bearer"]
  ] as const)("of an exchange for %s that issued %s may be %s (F31)", ([requested, issued, type]) =>
    Effect.gen(function* () {
      const found = yield* exchange(requested, issued, type)
      expect(found.tokenType).toBe(type)
      expect(Redacted.value(found.accessToken)).toBe("a")
    })
  )

  it.effect("N_A is nothing for an access token, nor for a grant that is no exchange", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(exchange(undefined, accessToken, "N_A"))
      expect(error).toMatchObject({ reason: "Malformed" })
      expect(error.message).toContain("N_A")
      expect(yield* Effect.flip(refresh("N_A"))).toMatchObject({ reason: "Malformed" })
    })
  )
})

/** Issues a token for whoever a grant of the server's own says, as those who run servers add grants. */
const ownGrant =
  (
    grantType: string,
    parameters: ReadonlyArray<string>,
    subject: (params: Record<string, string>) => Promise<object>
  ) =>
  (provider: OidcProvider): void => {
    provider.registerGrantType(
      grantType,
      async (ctx: ProviderContext) => {
        const answer = await subject(ctx.oidc.params)
        const token = new provider.ClientCredentials({ client: ctx.oidc.client, scope: "api:read" })
        ctx.body = { access_token: await token.save(), token_type: "Bearer", expires_in: 60, ...answer }
      },
      [...parameters]
    )
  }

describe("the JWT bearer grant", () => {
  it.scopedLive("signs an assertion of its own each time", () =>
    Effect.gen(function* () {
      const keys = yield* keyPair
      const seen: Array<Record<string, unknown>> = []
      const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"
      const client = {
        ...Provider.publicClient,
        grant_types: [grantType],
        response_types: [],
        redirect_uris: []
      }
      const server = yield* Provider.start({
        clients: [client],
        setUp: ownGrant(grantType, ["assertion", "scope"], async ({ assertion = "" }) => {
          const [header, payload, signature] = assertion.split(".")
          const valid = await crypto.subtle.verify(
            { name: "ECDSA", hash: "SHA-256" },
            keys.publicKey,
            Buffer.from(signature!, "base64url"),
            Buffer.from(`${header}.${payload}`)
          )
          if (!valid) throw new Error("bad signature")
          seen.push({
            ...claimsOf(assertion),
            header: JSON.parse(Buffer.from(header!, "base64url").toString())
          })
          return {}
        })
      })
      const refresher = yield* JwtBearer.make({
        server: { tokenEndpoint: `${server.issuer}/token` },
        client: { clientId: client.client_id },
        assertion: {
          key: keys.privateJwk,
          kid: "k1",
          issuer: "robot@example.com",
          subject: "alice@example.com",
          audience: `${server.issuer}/token`,
          lifetime: "5 minutes",
          claims: { scope: "mail" }
        }
      })
      yield* refresher.refresh(Option.none())
      yield* refresher.refresh(Option.none())
      for (const claims of seen) {
        expect(claims).toMatchObject({
          iss: "robot@example.com",
          sub: "alice@example.com",
          aud: `${server.issuer}/token`,
          scope: "mail",
          header: { alg: "ES256", kid: "k1" }
        })
        expect(Number(claims["exp"]) - Number(claims["iat"])).toBe(300)
      }
      expect(new Set(seen.map((claims) => claims["jti"])).size).toBe(2)
    }).pipe(Effect.provide(fetchLayer))
  )

  it.effect("takes an assertion from elsewhere; its failure is the refresh's", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ body: { access_token: "a", token_type: "bearer" } })
      const make = (assertion: JwtBearer.Options["assertion"]) =>
        Effect.provide(
          JwtBearer.make({
            server: { tokenEndpoint: "https://a.example/token" },
            client: { clientId: "c" },
            assertion
          }),
          layer
        )
      const refresher = yield* make(Effect.succeed(Redacted.make("signed.else.where")))
      yield* refresher.refresh(Option.none())
      expect(new URLSearchParams(asked[0]!.body).get("assertion")).toBe("signed.else.where")
      const failure = new TokenRefresher.RefreshError({ reason: "NotSent", message: "no assertion" })
      const failing = yield* make(Effect.fail(failure))
      expect(yield* Effect.flip(failing.refresh(Option.none()))).toBe(failure)
      const invalid = yield* Effect.flip(
        make({ key: Redacted.make({ kty: "EC", crv: "P-256" }), issuer: "i", audience: "https://a.example" })
      )
      expect(invalid.setting).toBe("assertion.key")
      const { privateJwk: key } = yield* keyPair
      const short = make({ key, issuer: "i", audience: "https://a.example", lifetime: "-1 second" })
      expect((yield* Effect.flip(short)).setting).toBe("assertion.lifetime")
    })
  )
})

describe("token exchange", () => {
  const grantType = "urn:ietf:params:oauth:grant-type:token-exchange"
  const client = { ...Provider.publicClient, grant_types: [grantType], response_types: [], redirect_uris: [] }
  const subject = Effect.succeed({ token: Redacted.make("held"), type: TokenExchange.tokenType.accessToken })
  const parameters = [
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "actor_token",
    "actor_token_type",
    "audience",
    "scope"
  ]

  it.scopedLive("sends what is held, and checks what was issued", () =>
    Effect.gen(function* () {
      const seen: Array<Record<string, string>> = []
      let issued: string | undefined = TokenExchange.tokenType.accessToken
      const server = yield* Provider.start({
        clients: [client],
        setUp: ownGrant(grantType, parameters, async (params) => {
          seen.push({ ...params })
          return issued === undefined ? {} : { issued_token_type: issued }
        })
      })
      const make = (more: Partial<TokenExchange.Options> = {}) =>
        TokenExchange.make({
          server: { tokenEndpoint: `${server.issuer}/token` },
          client: { clientId: client.client_id },
          subject,
          ...more
        })
      const refresher = yield* make({
        actor: Effect.succeed({ token: Redacted.make("actor"), type: TokenExchange.tokenType.jwt }),
        audience: "backend"
      })
      yield* refresher.refresh(Option.none())
      expect(seen[0]).toMatchObject({
        subject_token: "held",
        subject_token_type: TokenExchange.tokenType.accessToken,
        actor_token: "actor",
        actor_token_type: TokenExchange.tokenType.jwt,
        audience: "backend"
      })
      issued = undefined
      expect(yield* Effect.flip(refresher.refresh(Option.none()))).toMatchObject({ reason: "Malformed" })
      issued = TokenExchange.tokenType.refreshToken
      expect((yield* Effect.flip(refresher.refresh(Option.none()))).message).toContain("issued_token_type")
      issued = TokenExchange.tokenType.jwt
      yield* refresher.refresh(Option.none())
      const strict = yield* make({ requestedTokenType: TokenExchange.tokenType.accessToken })
      expect(yield* Effect.flip(strict.refresh(Option.none()))).toMatchObject({ reason: "Malformed" })
    }).pipe(Effect.provide(fetchLayer))
  )
})
