/**
 * Signatures for a server while our clock is wrong. They are dated by the clock that the server shows in
 * `Date`: at once if an earlier response showed it, otherwise after the server has refused a wrong date.
 */
import { describe, expect, it } from "@effect/vitest"
import type { TokenRefresher } from "@latchkey/core"
import { Credentials } from "@latchkey/core"
import {
  ClientAuth,
  ClientCredentials,
  DPoP,
  Introspection,
  JwtBearer,
  RefreshToken,
  Revocation,
  UserInfo
} from "@latchkey/oauth"
import { Effect, Option, Redacted, TestClock } from "effect"
import { answering, type Asked, type Reply } from "./Memory.js"

const start = 1_700_000_000_000
const second = 1000

const claimsOf = (jwt: string): { readonly iat: number; readonly nbf?: number; readonly exp?: number } =>
  JSON.parse(Buffer.from(jwt.split(".")[1]!, "base64url").toString())

/** Whether it is of the server's time, to the second. */
const isTimely = (jwt: string, serverTime: number): boolean => {
  const { exp, iat, nbf } = claimsOf(jwt)
  const now = Math.floor(serverTime / second)
  return (
    iat <= now && iat > now - 5 && !(nbf !== undefined && nbf > now) && !(exp !== undefined && exp <= now)
  )
}

const tokens = { access_token: "a", token_type: "Bearer", expires_in: 60, refresh_token: "r2" }

/** A server whose clock is ahead of ours by so much, and that forgives nothing. */
const strict = (ahead: number, refusal: Reply = { status: 401, body: { error: "invalid_client" } }) => {
  const serverTime = start + ahead
  const date = new Date(serverTime).toUTCString()
  return answering(({ body, headers, url }: Asked): Reply => {
    const form = new URLSearchParams(body)
    const signed = [form.get("client_assertion"), form.get("assertion"), headers["dpop"]].filter(
      (s) => s != null
    )
    const isGood = signed.every((jwt) => isTimely(jwt, serverTime))
    const answer: Reply = url.endsWith("/introspect")
      ? { body: { active: true } }
      : url.endsWith("/userinfo")
        ? { body: { sub: "me" } }
        : { body: { ...tokens, ...(headers["dpop"] !== undefined && { token_type: "DPoP" }) } }
    const reply = isGood ? answer : refusal
    return { ...reply, headers: { date, ...reply.headers } }
  })
}

const server = {
  tokenEndpoint: "https://a.example/token",
  revocationEndpoint: "https://a.example/revoke",
  introspectionEndpoint: "https://a.example/introspect",
  userinfoEndpoint: "https://a.example/userinfo"
}
const secret = Redacted.make("a secret of 32 bytes, or even more")
const client = { clientId: "c", auth: ClientAuth.clientSecretJwt(secret) }
const held = Credentials.make({ accessToken: "a0", refreshToken: "r1" })

const privateKey = Effect.promise(async () => {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, [
    "sign",
    "verify"
  ])
  return pair.privateKey
})
const withPrivateKey = Effect.map(privateKey, (key) => ({
  clientId: "c",
  auth: ClientAuth.privateKeyJwt({ key })
}))
const refreshing = (refresher: TokenRefresher.TokenRefresher["Type"], from = Option.some(held)) =>
  refresher.refresh(from)
const bound = Effect.map(DPoP.generate(), (key) =>
  DPoP.attach(new Credentials.Credentials({ ...held, tokenType: "DPoP" }), key)
)

const noGrant: Reply = { status: 400, body: { error: "invalid_grant" } }
const noProof: Reply = { status: 400, body: { error: "invalid_dpop_proof" } }
const noUser: Reply = { status: 401, headers: { "www-authenticate": 'DPoP error="invalid_dpop_proof"' } }

/** Each prepares, and gives what sends one request. */
const senders = {
  "client credentials by a private key": [
    undefined,
    Effect.flatMap(withPrivateKey, (by) =>
      Effect.map(ClientCredentials.make({ server, client: by }), (r) => refreshing(r, Option.none()))
    )
  ],
  "a refresh by a secret that signs": [
    undefined,
    Effect.map(RefreshToken.make({ server, client }), (r) => refreshing(r))
  ],
  "a signed assertion": [
    noGrant,
    Effect.flatMap(privateKey, (key) =>
      Effect.map(
        JwtBearer.make({
          server,
          client: { clientId: "c" },
          assertion: { key, issuer: "me", audience: "https://a.example" }
        }),
        (r) => refreshing(r, Option.none())
      )
    )
  ],
  "a refresh with a proof": [
    noProof,
    Effect.flatMap(bound, (grant) =>
      Effect.map(RefreshToken.make({ server, client: { clientId: "c" } }), (r) =>
        refreshing(r, Option.some(grant))
      )
    )
  ],
  revocation: [undefined, Effect.map(Revocation.make({ server, client }), (r) => r.revoke(held))],
  introspection: [
    undefined,
    Effect.map(Introspection.make({ server, client }), (r) => r.introspect(Redacted.make("x")))
  ],
  "user info with a proof": [
    noUser,
    Effect.flatMap(bound, (grant) =>
      Effect.map(UserInfo.make({ server, provider: "p" }), (source) => source.fetch(grant))
    )
  ]
} as const

const apart = [-7200, -600, 600, 7200, 86_400 * 365] as const

describe("a clock that is not the server's (F30)", () => {
  for (const [name, [refusal, prepare]] of Object.entries(senders)) {
    it.effect.each(apart)(
      `${name}: sent once more, and at once right the next time, with a server %d s ahead`,
      (ahead) => {
        const { asked, layer } = strict(ahead * second, refusal)
        return Effect.gen(function* () {
          yield* TestClock.setTime(start)
          const send: Effect.Effect<unknown, unknown> = yield* prepare
          yield* send
          const first = asked.length
          yield* send
          expect(asked.length - first).toBe(first - 1)
        }).pipe(Effect.provide(layer))
      }
    )

    it.effect(`${name}: not repeated where the clocks agree`, () => {
      const refuses = { status: 401, headers: { date: new Date(start).toUTCString() }, ...refusal }
      const { asked, layer } = answering({ body: { error: "invalid_client" }, ...refuses })
      return Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const send: Effect.Effect<unknown, unknown> = yield* prepare
        yield* Effect.flip(send)
        expect(asked.length).toBe(1)
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect.each([
    ["invalid_grant", client],
    ["invalid_client", { clientId: "c", auth: ClientAuth.basic(secret) }]
  ] as const)("a refresh is not repeated for %s where nothing that was signed is refused", ([error, by]) => {
    const date = new Date(start + 600 * second).toUTCString()
    const { asked, layer } = answering({ status: 400, headers: { date }, body: { error } })
    return Effect.gen(function* () {
      yield* TestClock.setTime(start)
      yield* Effect.flip(refreshing(yield* RefreshToken.make({ server, client: by })))
      expect(asked.length).toBe(1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("is measured anew once our clock is set right", () => {
    const { asked, layer } = strict(0)
    return Effect.gen(function* () {
      yield* TestClock.setTime(start + 600 * second)
      const refresher = yield* RefreshToken.make({ server, client })
      yield* refreshing(refresher)
      yield* TestClock.setTime(start)
      yield* refreshing(refresher)
      expect(asked.length).toBe(4)
      yield* refreshing(refresher)
      expect(asked.length).toBe(5)
    }).pipe(Effect.provide(layer))
  })
})
