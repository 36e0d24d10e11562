import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry } from "@latchkey/core"
import { ClientAuth, ClientCredentials, DPoP, RefreshToken, UserInfo } from "@latchkey/oauth"
import { Effect, Either, Option, Redacted, TestClock } from "effect"
import { inspect } from "node:util"
import { answering, type Reply } from "./Memory.js"
import * as Provider from "./Provider.js"

const tokenEndpoint = "https://auth.example.com/token?tenant=1"

const part = (jwt: string, index: number): Record<string, unknown> =>
  JSON.parse(Buffer.from(jwt.split(".")[index]!, "base64url").toString())

/** The base64url of the SHA-256 of a text. */
const digest = (text: string) =>
  Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (bytes) => Buffer.from(bytes).toString("base64url")
  )

/** RFC 7638. */
const thumbprint = (key: DPoP.Key) => {
  const { crv, kty, x, y } = Redacted.value(key.jwk)
  return digest(JSON.stringify({ crv, kty, x, y }))
}

const bound = (key: DPoP.Key) =>
  DPoP.attach(Credentials.make({ accessToken: "access", refreshToken: "refresh", tokenType: "DPoP" }), key)

const refreshing = (options: Partial<RefreshToken.Options>, ...replies: ReadonlyArray<Reply>) => {
  const { asked, layer } = answering(...replies)
  return Effect.map(
    Effect.provide(
      RefreshToken.make({ server: { tokenEndpoint }, client: { clientId: "c" }, ...options }),
      layer
    ),
    (refresher) => ({ refresher, asked })
  )
}

const token = { access_token: "new", token_type: "DPoP", refresh_token: "next" }

describe("against a real server", () => {
  const requiring = {
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
    userinfo: { enabled: true },
    clientCredentials: { enabled: true }
  }

  it.scopedLive("a bound grant is refreshed with its key, through storage and back", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start({ features: requiring })
      const key = yield* DPoP.generate()
      const first = DPoP.attach(yield* server.grant({ jkt: yield* thumbprint(key) }), key)
      const refresher = yield* RefreshToken.make({
        server: { issuer: server.issuer },
        client: { clientId: Provider.publicClient.client_id }
      })
      const second = yield* refresher.refresh(Option.some(first))
      expect(second.tokenType).toBe("DPoP")
      // The server wanted its nonce once; from then on it was there.
      expect(server.tokenRequests()).toBe(2)
      const stored = JSON.parse(JSON.stringify(Entry.toJson(Entry.first(second))))
      const restored = Either.getOrThrow(Entry.fromJson(stored, Date.now())).credentials
      const third = yield* refresher.refresh(Option.some(restored))
      expect(Credentials.sameRefreshToken(second, third)).toBe(false)
      expect(server.tokenRequests()).toBe(3)
      const proofs = server.requests.flatMap((r) =>
        r.line === "POST /token" ? [String(r.headers["dpop"])] : []
      )
      expect(new Set(proofs.map((p) => part(p, 1)["jti"])).size).toBe(3)

      const source = yield* UserInfo.make({ server: { issuer: server.issuer }, provider: "test" })
      expect((yield* source.fetch(third)).accountId).toEqual(Option.some("alice"))
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive("another key, or none, is refused, and the grant lives on", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start({ features: requiring })
      const key = yield* DPoP.generate()
      const first = yield* server.grant({ jkt: yield* thumbprint(key) })
      const refresher = yield* RefreshToken.make({
        server: { issuer: server.issuer },
        client: { clientId: Provider.publicClient.client_id }
      })
      const lost = yield* Effect.flip(refresher.refresh(Option.some(first)))
      expect(lost.reason).toBe("Misconfigured")
      expect(lost.message).toContain("log in again")
      expect(server.tokenRequests()).toBe(0)

      const other = DPoP.attach(first, yield* DPoP.generate())
      expect((yield* Effect.flip(refresher.refresh(Option.some(other)))).reason).toBe("GrantDead")
      yield* refresher.refresh(Option.some(DPoP.attach(first, key)))
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive("client credentials are bound where it is wanted, to the same key again and again", () =>
    Effect.gen(function* () {
      const client = {
        client_id: "robot",
        client_secret: "secret",
        redirect_uris: [],
        response_types: [],
        grant_types: ["client_credentials"]
      }
      const server = yield* Provider.start({ features: requiring, clients: [client] })
      const refresher = yield* ClientCredentials.make({
        server: { issuer: server.issuer },
        client: { clientId: "robot", auth: ClientAuth.basic(Redacted.make("secret")) },
        dpop: true
      })
      const first = yield* refresher.refresh(Option.none())
      const second = yield* refresher.refresh(Option.some(first))
      expect([first.tokenType, second.tokenType]).toEqual(["DPoP", "DPoP"])
      const [a, b] = [yield* DPoP.keyOf(first), yield* DPoP.keyOf(second)]
      expect(Redacted.value(Option.getOrThrow(a).jwk)).toEqual(Redacted.value(Option.getOrThrow(b).jwk))
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})

describe("a proof for the authorization server", () => {
  it.effect("is for the method and the URL without its query, at the time of Clock, and verifies", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000_000_000)
      const key = yield* DPoP.generate()
      const { asked, refresher } = yield* refreshing({}, { body: token })
      yield* refresher.refresh(Option.some(bound(key)))
      const proof = asked[0]!.headers["dpop"]!
      const { d: _, ...publicJwk } = Redacted.value(key.jwk)
      expect(part(proof, 0)).toMatchObject({
        typ: "dpop+jwt",
        alg: "ES256",
        jwk: { x: publicJwk.x, y: publicJwk.y }
      })
      expect(JSON.stringify(part(proof, 0))).not.toContain('"d"')
      expect(part(proof, 1)).toMatchObject({ htm: "POST", htu: "https://auth.example.com/token" })
      expect(Math.abs(Number(part(proof, 1)["iat"]) - 1_000_000_000)).toBeLessThanOrEqual(2)
      expect(part(proof, 1)["ath"]).toBeUndefined()
      const [header, payload, signature] = proof.split(".")
      const verified = yield* Effect.promise(() =>
        crypto.subtle.verify(
          { name: "ECDSA", hash: "SHA-256" },
          key.keyPair.publicKey,
          Buffer.from(signature!, "base64url"),
          Buffer.from(`${header}.${payload}`)
        )
      )
      expect(verified).toBe(true)
    })
  )

  const wantsNonce = (nonce: string): Reply => ({
    status: 400,
    headers: { "dpop-nonce": nonce },
    body: { error: "use_dpop_nonce" }
  })

  it.effect("is made anew, once, with the nonce asked for", () =>
    Effect.gen(function* () {
      const { asked, refresher } = yield* refreshing({}, wantsNonce("n1"), { body: token })
      yield* refresher.refresh(Option.some(bound(yield* DPoP.generate())))
      const proofs = asked.map((a) => part(a.headers["dpop"]!, 1))
      expect(proofs.map((p) => p["nonce"])).toEqual([undefined, "n1"])
      expect(proofs[0]!["jti"]).not.toBe(proofs[1]!["jti"])

      const insisting = yield* refreshing({}, wantsNonce("n1"), wantsNonce("n2"), { body: token })
      const credentials = bound(yield* DPoP.generate())
      const error = yield* Effect.flip(insisting.refresher.refresh(Option.some(credentials)))
      expect(error.reason).toBe("Transient")
      expect(insisting.asked.length).toBe(2)
      yield* insisting.refresher.refresh(Option.some(credentials))
      expect(part(insisting.asked[2]!.headers["dpop"]!, 1)["nonce"]).toBe("n2")
    })
  )

  it.effect("nothing is repeated without a nonce, or without a proof", () =>
    Effect.gen(function* () {
      const bare = { status: 400, body: { error: "use_dpop_nonce" } }
      const first = yield* refreshing({}, bare)
      yield* Effect.flip(first.refresher.refresh(Option.some(bound(yield* DPoP.generate()))))
      expect(first.asked.length).toBe(1)
      const second = yield* refreshing({}, wantsNonce("n"))
      yield* Effect.flip(
        second.refresher.refresh(Option.some(Credentials.make({ accessToken: "a", refreshToken: "r" })))
      )
      expect(second.asked.length).toBe(1)
    })
  )

  it.effect("a Bearer token in return is refused, and the refresh token saved with the key", () =>
    Effect.gen(function* () {
      const key = yield* DPoP.generate()
      const { refresher } = yield* refreshing({ dpop: true }, { body: { ...token, token_type: "Bearer" } })
      const unbound = Credentials.make({ accessToken: "a", refreshToken: "r" })
      for (const previous of [bound(key), unbound]) {
        const error = yield* Effect.flip(refresher.refresh(Option.some(previous)))
        expect(error.reason).toBe("Malformed")
        expect(Option.map(error.salvaged!.refreshToken, Redacted.value)).toEqual(Option.some("next"))
        expect(Option.isSome(yield* DPoP.keyOf(error.salvaged!))).toBe(true)
      }
    })
  )

  it.effect("a field of the server's does not take the key's place", () =>
    Effect.gen(function* () {
      const key = yield* DPoP.generate()
      const { refresher } = yield* refreshing({}, { body: { ...token, [DPoP.extrasField]: { kty: "EC" } } })
      const credentials = yield* refresher.refresh(Option.some(bound(key)))
      expect(Redacted.value(credentials.extras)[DPoP.extrasField]).toEqual(Redacted.value(key.jwk))
    })
  )
})

describe("a proof for a resource server", () => {
  it.effect("has the token's hash and that server's own nonce", () =>
    Effect.gen(function* () {
      const key = yield* DPoP.generate()
      const nonces = yield* DPoP.makeNonces
      const url = "https://api.example.com/things?id=1#x"
      const make = DPoP.proof({ key, nonces, method: "GET", url, accessToken: Redacted.make("access") })
      const first = part(yield* make, 1)
      expect(first).toMatchObject({
        htm: "GET",
        htu: "https://api.example.com/things",
        ath: yield* digest("access")
      })
      expect(first["nonce"]).toBeUndefined()
      expect(nonces.keep("https://other.example.com", { "dpop-nonce": "theirs" })).toBe(true)
      expect(nonces.keep(url, {})).toBe(false)
      expect(part(yield* make, 1)["nonce"]).toBeUndefined()
      nonces.keep(url, { "dpop-nonce": "mine" })
      const second = part(yield* make, 1)
      expect(second["nonce"]).toBe("mine")
      expect(second["jti"]).not.toBe(first["jti"])
    })
  )

  it.effect("nonces of ever more servers do not pile up", () =>
    Effect.gen(function* () {
      const nonces = yield* DPoP.makeNonces
      for (let i = 0; i < 200; i++) nonces.keep(`https://s${i}.example.com/`, { "dpop-nonce": `n${i}` })
      expect(nonces.get("https://s0.example.com/x")).toBeUndefined()
      expect(nonces.get("https://s199.example.com/x")).toBe("n199")
    })
  )

  it.effect("user info: the nonces of the two servers are apart, and asked for by a challenge", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering(
        {
          status: 401,
          headers: { "dpop-nonce": "rs", "www-authenticate": 'DPoP error="use_dpop_nonce"' },
          body: ""
        },
        { body: { sub: "alice" } }
      )
      const source = yield* Effect.provide(
        UserInfo.make({
          server: { tokenEndpoint: "https://x.example/t", userinfoEndpoint: "https://x.example/me" },
          provider: "p"
        }),
        layer
      )
      const profile = yield* source.fetch(bound(yield* DPoP.generate()))
      expect(profile.accountId).toEqual(Option.some("alice"))
      expect(asked.map((a) => a.headers["authorization"])).toEqual(["DPoP access", "DPoP access"])
      expect(asked.map((a) => part(a.headers["dpop"]!, 1)["nonce"])).toEqual([undefined, "rs"])
    })
  )
})

describe("the key", () => {
  it.effect.each(["ES256", "ES384", "ES512", "Ed25519", "PS256", "RS256"] as const)(
    "%s survives its JWK",
    (alg) =>
      Effect.gen(function* () {
        const key = yield* DPoP.generate(alg)
        const again = yield* DPoP.fromJwk(Redacted.make(JSON.parse(JSON.stringify(Redacted.value(key.jwk)))))
        const nonces = yield* DPoP.makeNonces
        const url = "https://api.example.com/"
        const proof = yield* DPoP.proof({
          key: again,
          nonces,
          method: "GET",
          url,
          accessToken: Redacted.make("a")
        })
        expect(part(proof, 0)).toMatchObject({ alg })
      })
  )

  it.effect("is not shown", () =>
    Effect.gen(function* () {
      const key = yield* DPoP.generate()
      const { d } = Redacted.value(key.jwk)
      const credentials = bound(key)
      for (const shown of [
        inspect(key, { depth: 9 }),
        JSON.stringify(key),
        inspect(credentials, { depth: 9 }),
        JSON.stringify(credentials)
      ]) {
        expect(shown).not.toContain(String(d))
      }
    })
  )

  it.effect.each<readonly [string, unknown]>([
    ["a text", "key"],
    ["a public key", { kty: "EC", crv: "P-256", x: "AA", y: "AA" }],
    ["a symmetric one", { kty: "oct", k: "AA" }],
    ["null", null]
  ])("stored as %s is an error that says to log in", ([, stored]) =>
    Effect.gen(function* () {
      const credentials = Credentials.make({
        accessToken: "a",
        tokenType: "DPoP",
        extras: { dpop_jwk: stored }
      })
      const error = yield* Effect.flip(DPoP.keyOf(credentials))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: DPoP.extrasField })
    })
  )

  it.effect("is none where the grant is not bound", () =>
    Effect.gen(function* () {
      expect(yield* DPoP.keyOf(Credentials.make({ accessToken: "a" }))).toEqual(Option.none())
    })
  )
})
