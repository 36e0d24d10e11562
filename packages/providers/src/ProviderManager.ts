/**
 * A provider's grant, ready to use: its manager over its own file, or over a storage of your program.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { ProfileSource } from "@latchkey/core/Profile"
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { TokenConfig } from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import type { TokenRefresher } from "@latchkey/core/TokenRefresher"
import type { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Agent from "./Agent.js"
import * as OwnStorage from "./OwnStorage.js"
import * as Profiles from "./Profiles.js"
import type { Provider, ProviderError } from "./Provider.js"
import * as Refresher from "./Refresher.js"
import * as Snapshots from "./Snapshots.js"

/**
 * The provider's part of a manager: how its grants are renewed, and their identity.
 *
 * @since 0.1.0
 * @category layers
 */
export const services = (
  provider: Provider
): Layer.Layer<TokenRefresher | ProfileSource, ProviderError | OAuthConfigError, HttpClient> =>
  Layer.merge(Refresher.layer(provider), Profiles.layer(provider))

/**
 * The names of a provider's manager.
 *
 * @since 0.1.0
 * @category getters
 */
export const options = (provider: Provider): TokenManager.Options => ({
  provider: provider.name,
  snapshotExtras: (credentials) => Snapshots.extras(provider, credentials)
})

/**
 * Options of {@link layer}.
 *
 * @since 3.1.0
 * @category models
 */
export interface LayerOptions extends OwnStorage.Options {
  /** The name of the account at an agent. Default: `default`. */
  readonly account?: string | undefined
}

/**
 * Provides the manager of the grant in the provider's own file, or in another file of the same form.
 *
 * If `LATCHKEY_AGENT` is set and no `path` is given, the tokens come from that agent, and no file is read: see `Agent`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  provider: Provider,
  { account = "default", ...own }: LayerOptions = {}
): Layer.Layer<
  TokenManager.TokenManager,
  StorageError | ProviderError | OAuthConfigError | ConfigError.ConfigError,
  TokenConfig | HttpClient
> => {
  const overFile = TokenManager.layer(options(provider)).pipe(
    Layer.provide([OwnStorage.layer(provider, own), services(provider)])
  )
  if (own.path !== undefined) return overFile
  return Layer.unwrapEffect(
    Effect.map(
      Agent.config,
      Option.match({
        onNone: () => overFile,
        onSome: (agent) => Agent.layer(agent, `${provider.id}/${account}`, options(provider))
      })
    )
  )
}

/**
 * Provides the manager over a storage and a lease of your program.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStored = (
  provider: Provider
): Layer.Layer<
  TokenManager.TokenManager,
  ProviderError | OAuthConfigError,
  TokenStorage | RefreshLease | TokenConfig | HttpClient
> => TokenManager.layer(options(provider)).pipe(Layer.provide(services(provider)))
