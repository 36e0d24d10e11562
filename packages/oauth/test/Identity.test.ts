/** The identity of the grants that a refresher redeems, known before anything is sent. */
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  Entry,
  GrantIdentity,
  RefreshLease,
  TokenConfig,
  TokenManager,
  TokenStorage
} from "@latchkey/core"
import {
  BearerClient,
  ClientCredentials,
  JwtBearer,
  RefreshToken,
  Server,
  TokenExchange
} from "@latchkey/oauth"
import { Effect, Layer, Option, Redacted } from "effect"
import { answering } from "./Memory.js"

const client = { clientId: "app" }
const issuer = "https://id.example.com"
const tokenEndpoint = `${issuer}/token`
const jwk = Effect.promise(async () => {
  const { privateKey } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify"
  ])
  return privateKey
})
const token = Effect.succeed({ token: Redacted.make("subject"), type: TokenExchange.tokenType.accessToken })

describe("the identity of a refresher", () => {
  it.effect("is the issuer, or the token endpoint that was set, and the client; nothing is sent for it", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ status: 500 })
      const key = yield* jwk
      const found = yield* Effect.all({
        discovered: RefreshToken.make({ server: { issuer }, client }),
        byHand: RefreshToken.make({ server: { tokenEndpoint }, client }),
        both: RefreshToken.make({
          server: { tokenEndpoint, issuer, formerly: ["https://old.example/token"] },
          client
        }),
        shared: Effect.flatMap(Server.make({ issuer, formerly: ["https://old.example"] }), (server) =>
          RefreshToken.make({ server, client })
        ),
        clientCredentials: ClientCredentials.make({ server: { issuer }, client }),
        exchange: TokenExchange.make({ server: { issuer }, client, subject: token }),
        assertion: JwtBearer.make({
          server: { issuer },
          client,
          assertion: { key, issuer: "robot", subject: "ada", audience: issuer }
        }),
        robot: JwtBearer.make({
          server: { issuer },
          client,
          assertion: { key, issuer: "robot", audience: issuer }
        }),
        signedElsewhere: JwtBearer.make({
          server: { issuer },
          client,
          assertion: Effect.succeed(Redacted.make("a.b.c"))
        })
      }).pipe(Effect.provide(layer))
      const user = { clientId: "app" }
      const bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
      const identities = Object.fromEntries(Object.entries(found).map(([name, one]) => [name, one.identity]))
      expect(identities).toEqual({
        discovered: GrantIdentity.make({ ...user, issuer }),
        byHand: GrantIdentity.make({ ...user, tokenEndpoint }),
        both: GrantIdentity.make({ ...user, issuer, tokenEndpoint }),
        shared: GrantIdentity.make({ ...user, issuer }),
        clientCredentials: GrantIdentity.make({ ...user, issuer, grantType: "client_credentials" }),
        exchange: GrantIdentity.make({
          ...user,
          issuer,
          grantType: "urn:ietf:params:oauth:grant-type:token-exchange"
        }),
        assertion: GrantIdentity.make({ ...user, issuer, grantType: bearer, subject: "ada" }),
        robot: GrantIdentity.make({ ...user, issuer, grantType: bearer, subject: "robot" }),
        signedElsewhere: GrantIdentity.make({ ...user, issuer, grantType: bearer })
      })
      expect(found.both.formerly).toEqual(["https://old.example/token"])
      expect(found.shared.formerly).toEqual(["https://old.example"])
      expect(asked).toEqual([])
    })
  )
})

describe("the bearer client", () => {
  it.scoped("sends no token of another server's grant, and gives the error with its type", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({ body: {} })
      const stored = Entry.bind(
        Entry.first(Credentials.make({ accessToken: "at", refreshToken: "rt" })),
        Option.some(GrantIdentity.make({ issuer: "https://elsewhere.example", clientId: "app" }))
      )
      const storage = yield* TokenStorage.makeMemory(Option.some(stored))
      const manager = TokenManager.layer().pipe(
        Layer.provide([
          RefreshToken.layer({ server: { issuer }, client }),
          Layer.succeed(TokenStorage.TokenStorage, storage),
          RefreshLease.layerProcess,
          TokenConfig.layer()
        ])
      )
      const error = yield* Effect.gen(function* () {
        const http = yield* BearerClient.BearerClient
        return yield* Effect.flip(http.get("https://api.example.com/me"))
      }).pipe(
        Effect.provide(BearerClient.layer({ origins: ["https://api.example.com"] })),
        Effect.provide(manager),
        Effect.provide(layer)
      )
      expect(error).toMatchObject({
        _tag: "GrantMismatch",
        reason: "Server",
        stored: "https://elsewhere.example",
        current: issuer
      })
      expect(asked).toEqual([])
    })
  )
})
