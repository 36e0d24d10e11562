/**
 * Revokes a provider's grants (RFC 7009).
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import * as Revocation from "@latchkey/oauth/Revocation"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Wire from "./internal/wire.js"
import { type Provider, ProviderError } from "./Provider.js"

/**
 * Whether the provider may support revocation: it names the endpoint, or is discovered and may have one.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isOffered = ({ server }: Provider): boolean =>
  !("tokenEndpoint" in server) || server.revocationEndpoint !== undefined

/**
 * Revokes the provider's grants. Fails with `NotOffered` if the provider has no way to do so. Then the user
 * must end the grant in the account's settings at the provider, and Latchkey can only remove the credentials.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  provider: Provider
): Effect.Effect<Context.Tag.Service<Revocation.Revocation>, ProviderError | OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    if (!isOffered(provider)) {
      return yield* new ProviderError({
        reason: "NotOffered",
        provider: provider.id,
        message: `${provider.displayName} names no revocation endpoint: end the grant in the account's settings there.`
      })
    }
    const client = yield* Wire.clientOf(provider)
    return yield* Revocation.make({ server: provider.server, client })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  provider: Provider
): Layer.Layer<Revocation.Revocation, ProviderError | OAuthConfigError, HttpClient> =>
  Layer.effect(Revocation.Revocation, make(provider))
