/**
 * What is known about an account besides its grant: its provider and client, and where the grant is stored.
 * Nothing secret.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { type Failure, usage } from "./Failure.js"

/**
 * The default name of a provider's account.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultName = "default"

const Provider = Schema.String.pipe(Schema.pattern(/^[a-z][a-z0-9-]{0,63}$/))

const Name = Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/))

/**
 * The source of the key that encrypts a grant in the store.
 *
 * - `keychain`: the keychain of the operating system.
 * - `environment`: `AUTH__ENCRYPTION_KEYS`.
 * - `none`: the grant is stored in clear text, in a file that only its owner can read.
 *
 * @since 0.1.0
 * @category models
 */
export const Encryption = Schema.Literal("keychain", "environment", "none")

/**
 * @since 0.1.0
 * @category models
 */
export type Encryption = typeof Encryption.Type

/**
 * Where a grant is stored: in the embedded store, or where the provider's own program keeps it.
 *
 * @since 0.1.0
 * @category models
 */
export const Home = Schema.Union(
  Schema.Struct({ kind: Schema.Literal("store"), encryption: Encryption }),
  Schema.Struct({ kind: Schema.Literal("provider") })
)

/**
 * @since 0.1.0
 * @category models
 */
export type Home = typeof Home.Type

/**
 * Where the client's secret comes from, unless the provider's settings have it. It is never an argument.
 * `stored`: it was typed in at the login, and is stored like the grant.
 *
 * @since 0.1.0
 * @category models
 */
export const ClientSecret = Schema.Union(
  Schema.Struct({ from: Schema.Literal("stored") }),
  Schema.Struct({ from: Schema.Literal("variable"), name: Schema.NonEmptyString }),
  Schema.Struct({ from: Schema.Literal("file"), path: Schema.NonEmptyString })
)

/**
 * @since 0.1.0
 * @category models
 */
export type ClientSecret = typeof ClientSecret.Type

/**
 * One account. `grant` says how it gets a new token. `settings` are the changes that the login made to the
 * provider's own settings, in the form of `@latchkey/providers`.
 *
 * @since 0.1.0
 * @category models
 */
export const Account = Schema.Struct({
  latchkey: Schema.Literal(1),
  provider: Provider,
  name: Name,
  grant: Schema.Literal("refresh", "client-credentials"),
  home: Home,
  clientSecret: Schema.optional(ClientSecret),
  settings: Schema.Record({ key: Schema.String, value: Schema.Unknown })
})

/**
 * @since 0.1.0
 * @category models
 */
export type Account = typeof Account.Type

/**
 * The name that distinguishes an account from others: `provider/name`.
 *
 * @since 0.1.0
 * @category getters
 */
export const idOf = (account: Pick<Account, "provider" | "name">): string =>
  `${account.provider}/${account.name}`

/**
 * Checks the name of a new account.
 *
 * @since 0.1.0
 * @category constructors
 */
export const checkName = (name: string): Either.Either<string, Failure> =>
  Schema.is(Name)(name)
    ? Either.right(name)
    : Either.left(
        usage(
          "The name of an account is 1 to 64 letters, digits and . _ @ + -, a letter or digit first.",
          "latchkey login PROVIDER --account NAME"
        )
      )

/**
 * Checks the ID of a provider.
 *
 * @since 0.1.0
 * @category constructors
 */
export const checkProvider = (id: string): Either.Either<string, Failure> =>
  Schema.is(Provider)(id)
    ? Either.right(id)
    : Either.left(
        usage(
          `${quoted(id)} cannot be the name of a provider: that is 1 to 64 lower-case letters, digits and hyphens, a letter first.`,
          loginToUnknown("NAME")
        )
      )

/**
 * The command that logs in to an account of a known provider.
 *
 * @since 0.1.0
 * @category getters
 */
export const loginTo = (provider: string, name = defaultName): string =>
  `latchkey login ${provider}` + (name === defaultName ? "" : ` --account ${name}`)

/**
 * The command that logs in to a server that is not among the providers.
 *
 * @since 0.1.0
 * @category getters
 */
export const loginToUnknown = (provider: string, name = defaultName): string =>
  `${loginTo(provider, name)} --issuer URL --client-id ID`

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80))

/**
 * Finds the account that the user means: `provider/name`, a provider (its default account, or its only one),
 * or a name that only one account has. If there is none or several, the failure lists the candidates. With
 * the IDs of the `providers`, the failure also says how to log in.
 *
 * @since 0.1.0
 * @category lookup
 */
export const find = <A extends Pick<Account, "provider" | "name">>(
  text: string,
  all: ReadonlyArray<A>,
  providers: ReadonlyArray<string> = []
): Either.Either<A, Failure> => {
  const exact = all.find((account) => idOf(account) === text)
  if (exact !== undefined) return Either.right(exact)
  const named = all.filter((account) => account.name === text)
  const ofProvider = all.filter((account) => account.provider === text)
  const standard = ofProvider.find((account) => account.name === defaultName)
  const candidates = [...(standard === undefined ? ofProvider : [standard]), ...named]
  const [only, ...others] = [...new Set(candidates)]
  if (only !== undefined && others.length === 0) return Either.right(only)
  if (only === undefined) return Either.left(absent(text, all, providers))
  return Either.left(
    usage(
      `${JSON.stringify(text)} could be any of ${[only, ...others].map(idOf).join(", ")}.`,
      `say which, as PROVIDER/NAME`
    )
  )
}

/** The text may be a new provider, a known one without a login, or an account with a typing error. */
const absent = (
  text: string,
  all: ReadonlyArray<Pick<Account, "provider" | "name">>,
  providers: ReadonlyArray<string>
): Failure => {
  const [provider = "", name = defaultName, ...rest] = text.split("/")
  const found =
    all.length === 0
      ? `There is no account ${quoted(text)}, and no other account yet.`
      : `There is no account ${quoted(text)}. There are: ${all.map(idOf).join(", ")}.`
  const list = all.length === 0 ? "" : "; or latchkey list"
  const isAccount = Schema.is(Provider)(provider) && Schema.is(Name)(name) && rest.length === 0
  if (!isAccount || providers.length === 0) {
    return usage(found, all.length === 0 ? "latchkey login PROVIDER" : "latchkey list")
  }
  if (providers.includes(provider)) {
    return usage(found, loginTo(provider, name))
  }
  // A provider from a login by issuer is known, but each of its accounts has its own settings.
  const unknown = all.some((account) => account.provider === provider)
    ? ""
    : ` ${quoted(provider)} is not a known provider: there are ${providers.join(", ")}.`
  return usage(found + unknown, loginToUnknown(provider, name) + list)
}
