/**
 * The identity that an account's grant must have. Every token needs it, so it imports little.
 *
 * @since 0.1.0
 */
import type { Origin } from "@latchkey/core/TokenRefresher"
import * as BuiltIn from "@latchkey/providers/BuiltIn"
import * as Identity from "@latchkey/providers/Identity"
import type { Encoded } from "@latchkey/providers/ProviderSettings"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs/promises"
import type * as Account from "./Account.js"
import { Workspace } from "./Workspace.js"

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
  Effect.gen(function* () {
    const builtIn = Object.keys(settings).length === 0 ? yield* unchanged(provider) : Option.none()
    if (Option.isSome(builtIn)) {
      const { client, user } = Identity.ofSettings(builtIn.value)
      return grant === "client-credentials" ? client : user
    }
    const { providerWith } = yield* Effect.promise(() => import("./ProviderRegistry.js"))
    return yield* Effect.match(providerWith(provider, settings), {
      onFailure: (): Origin => ({}),
      onSuccess: grant === "client-credentials" ? Identity.ofClient : Identity.of
    })
  })

/**
 * The settings of a built-in provider, if neither the user's file nor the environment can change its
 * identity. The check of all settings takes longer to load than a valid token takes to print.
 */
const unchanged = (provider: string): Effect.Effect<Option.Option<Encoded>, never, Workspace> =>
  Effect.gen(function* () {
    const found: Readonly<Record<string, Encoded>> = BuiltIn.providers
    const builtIn = Object.hasOwn(found, provider) ? Option.fromNullable(found[provider]) : Option.none()
    if (Option.isNone(builtIn)) return builtIn
    const { paths } = yield* Workspace
    const hasFile = yield* Effect.promise(() =>
      fs.access(paths.providers).then(
        () => true,
        (error: NodeJS.ErrnoException) => error.code !== "ENOENT"
      )
    )
    if (hasFile) return Option.none()
    const isSet = yield* Effect.exists(Identity.variables(provider), (name) =>
      Effect.match(Config.string(name), {
        onFailure: (error) => error._op !== "MissingData",
        onSuccess: () => true
      })
    )
    return isSet ? Option.none() : builtIn
  })
