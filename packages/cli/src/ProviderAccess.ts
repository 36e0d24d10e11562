/**
 * The provider of an account, and the grant that the provider's own program keeps. How a grant is renewed is
 * in `ProviderWire`, which takes longer to load.
 *
 * @since 0.1.0
 */
import * as OwnStorage from "@latchkey/providers/OwnStorage"
import type { Provider, ProviderError } from "@latchkey/providers/Provider"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import * as Account from "./Account.js"
import * as ClientSecret from "./ClientSecret.js"
import * as Failure from "./Failure.js"
import * as Paths from "./Paths.js"
import { providerWith, registry } from "./ProviderRegistry.js"
import type { Session } from "./Store.js"
import { Workspace } from "./Workspace.js"

export {
  /**
   * The providers of this user: the built-in ones, those of the file, and the environment's changes.
   *
   * @since 0.1.0
   * @category constructors
   */
  registry
} from "./ProviderRegistry.js"

/**
 * Describes a problem with a provider or its client for the user.
 *
 * @since 0.1.0
 * @category conversions
 */
export const failed = (error: ProviderError | OAuthConfigError | ConfigError.ConfigError): Failure.Failure =>
  error._tag === "ProviderError"
    ? Failure.configuration(error.message, advice[error.reason](error.provider), error.reason)
    : error._tag === "OAuthConfigError"
      ? Failure.configuration(error.message, "latchkey doctor")
      : Failure.configuration(Failure.configProblem(error))

const advice: Readonly<Record<ProviderError["reason"], (provider: string) => string>> = {
  Unknown: (provider) => Account.loginToUnknown(provider),
  Malformed: () => "latchkey doctor",
  NoClient: () => "latchkey login --help",
  NotOffered: () => "latchkey login --help"
}

/**
 * Returns the provider of an account with the settings of its login, but without the client's secret. Only a
 * request needs the secret, so a missing variable or file does not affect commands that send nothing.
 *
 * @since 0.1.0
 * @category lookup
 */
export const providerOf = (account: Account.Account): Effect.Effect<Provider, Failure.Failure, Workspace> =>
  withSettings(account, account.settings)

/**
 * Returns the provider of an account for requests: with the client's secret, if there is one.
 *
 * @since 0.1.0
 * @category lookup
 */
export const providerWithSecret = (
  account: Account.Account
): Effect.Effect<Provider, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.flatMap(ClientSecret.read(account), (secret) =>
    withSettings(account, ClientSecret.withSecret(account.settings, secret))
  )

const withSettings = ({ provider }: Account.Account, settings: Account.Account["settings"]) =>
  Effect.mapError(providerWith(provider, settings), failed)

/**
 * Returns accounts without a login here, whose providers' own programs have one: the default account of each
 * provider whose credential file or keychain item exists, or only that of the named provider.
 *
 * @since 0.1.0
 * @category lookup
 */
export const discovered = (
  known: ReadonlyArray<Account.Account>,
  only?: string
): Effect.Effect<
  { readonly accounts: ReadonlyArray<Account.Account>; readonly broken: ReadonlyArray<Failure.Failure> },
  never,
  Workspace
> =>
  Effect.gen(function* () {
    const { all, get } = yield* registry
    const providers = yield* Effect.either(
      only === undefined ? all : Effect.map(Effect.either(get(only)), (one) => [one])
    )
    if (Either.isLeft(providers)) return { accounts: [], broken: [failed(providers.left)] }
    const ids = new Set(known.map(Account.idOf))
    const accounts: Array<Account.Account> = []
    const broken: Array<Failure.Failure> = []
    for (const one of providers.right) {
      if (Either.isLeft(one)) {
        broken.push(failed(one.left))
        continue
      }
      const account = ownAccount(one.right.id)
      if (ids.has(Account.idOf(account))) continue
      const exists = yield* Effect.either(OwnStorage.exists(one.right))
      // Without a home directory there is no such file.
      if (Either.isLeft(exists) && isHomeless(exists.left)) continue
      if (Either.isLeft(exists)) broken.push(failed(exists.left))
      else if (exists.right) accounts.push(account)
    }
    return { accounts, broken }
  })

const isHomeless = (error: ProviderError | ConfigError.ConfigError): boolean =>
  error._tag !== "ProviderError" && ConfigError.isMissingData(error) && error.path.includes("HOME")

/**
 * The default account of a provider that stores its grant itself.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ownAccount = (provider: string): Account.Account => ({
  latchkey: 1,
  provider,
  name: Account.defaultName,
  grant: "refresh",
  home: { kind: "provider" },
  settings: {}
})

/**
 * Opens the provider's own file as storage.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  account: Account.Account
): Effect.Effect<Pick<Session, "storage" | "lease" | "place">, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const { paths } = yield* Workspace
    const provider = yield* providerOf(account)
    const { lease, storage } = yield* Effect.mapError(OwnStorage.make(provider), (error) =>
      error._tag === "StorageError"
        ? Failure.storage(error.reason, error.message, "latchkey doctor")
        : failed(error)
    )
    return { storage, lease, place: Paths.shorten(paths, storage.location) }
  })
