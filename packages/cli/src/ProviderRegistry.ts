/**
 * The providers of this user. It is a separate module because most tokens do not need it.
 *
 * @since 3.1.0
 */
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
