import { NodeHttpClient } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Entry, RefreshLease, TokenConfig, TokenManager, TokenSets, TokenStorage } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { Effect, Layer, Option, Redacted } from "effect"
import * as Provider from "./Provider.js"

const resources = ["https://a.example.com", "https://b.example.com"]

const audience = (token: Redacted.Redacted): unknown => {
  const [, claims = ""] = Redacted.value(token).split(".")
  return (JSON.parse(Buffer.from(claims, "base64url").toString()) as { readonly aud: unknown }).aud
}

describe("one grant, several parameter sets, against a real server that rotates", () => {
  it.scopedLive("each set has tokens of its own audience, from one refresh token that no two redeem", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start({
        features: {
          resourceIndicators: {
            enabled: true,
            useGrantedResource: () => false,
            getResourceServerInfo: (_: unknown, resource: string) => ({
              scope: "api:read",
              audience: resource,
              accessTokenTTL: 60,
              accessTokenFormat: "jwt"
            })
          }
        }
      })
      const first = yield* server.grant({ scope: "openid offline_access api:read", resources })
      const storage = yield* TokenStorage.makeMemory(Option.some(Entry.first(first)))
      const options = {
        server: { issuer: server.issuer },
        client: { clientId: Provider.publicClient.client_id }
      }
      const services = yield* Layer.build(
        Layer.mergeAll(
          Layer.succeed(TokenStorage.TokenStorage, storage),
          RefreshLease.layerProcess,
          TokenConfig.layer(),
          NodeHttpClient.layer
        )
      )
      const sets = yield* Effect.provide(
        TokenSets.make({
          account: "one",
          refresher: ({ resource, scopes }) => RefreshToken.make({ ...options, resource, scopes })
        }),
        services
      )
      const asked = Array.from({ length: 40 }, (_, i) => resources[i % 2]!)
      const tokens = yield* Effect.forEach(
        asked,
        (resource) => sets.getAccessToken({ resource: [resource] }),
        {
          concurrency: "unbounded"
        }
      )
      expect(tokens.map(audience)).toEqual(asked)
      expect(new Set(tokens.map(Redacted.value)).size).toBe(2)
      expect(server.tokenRequests()).toBe(2)

      const manager = yield* TokenManager.make({ account: "one" }).pipe(
        Effect.provide(Layer.provide(RefreshToken.layer(options), NodeHttpClient.layer)),
        Effect.provide(services)
      )
      yield* manager.refresh
      expect(server.tokenRequests()).toBe(3)
      expect(audience(yield* sets.getAccessToken({ resource: [resources[0]!] }))).toBe(resources[0])
      expect(server.tokenRequests()).toBe(3)
    })
  )
})
