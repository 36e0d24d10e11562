/**
 * The providers of this user, and the identity that an account's grant must have. It is a separate small
 * module because every token needs it.
 *
 * @since 0.1.0
 */
import type { Origin } from "@latchkey/core/TokenRefresher"
import * as Identity from "@latchkey/providers/Identity"
import type { Provider, ProviderError } from "@latchkey/providers/Provider"
import * as Providers from "@latchkey/providers/Providers"
import * as Effect from "effect/Effect"
import type * as Account from "./Account.js"
import { Workspace } from "./Workspace.js"

/**
 * The providers of this user: the built-in ones, those of the file, and the environment's changes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const registry: Effect.Effect<Providers.Registry, never, Workspace> = Effect.flatMap(
  Workspace,
  ({ paths }) => Providers.make({ file: paths.providers, variables: true })
)

/**
 * Returns the provider of an account, with the changes that its login made.
 *
 * @since 0.1.0
 * @category lookup
 */
export const providerWith = (
  provider: string,
  settings: Account.Account["settings"]
): Effect.Effect<Provider, ProviderError, Workspace> =>
  Effect.flatMap(registry, ({ get }) =>
    // Empty changes would make a provider of any name.
    get(provider, Object.keys(settings).length > 0 ? settings : undefined)
  )

/**
 * Returns the identity that the account's grant must have. Unknown if its provider cannot be read, which is
 * reported when the grant must be renewed.
 *
 * @since 0.1.0
 * @category lookup
 */
export const originOf = ({
  grant,
  provider,
  settings
}: Account.Account): Effect.Effect<Origin, never, Workspace> =>
  Effect.match(providerWith(provider, settings), {
    onFailure: (): Origin => ({}),
    onSuccess: grant === "client-credentials" ? Identity.ofClient : Identity.of
  })
