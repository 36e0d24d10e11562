/**
 * What is known of an account beside its grant: whose it is and where the grant lives. Nothing secret.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { type Failure, usage } from "./Failure.js"

/**
 * The name of the account that a provider has unless another is given.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultName = "default"

const Provider = Schema.String.pipe(Schema.pattern(/^[a-z][a-z0-9-]{0,63}$/))

const Name = Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/))

/**
 * Where the key is that a grant in the store is encrypted with: `keychain`, that of the operating system;
 * `environment`, `AUTH__ENCRYPTION_KEYS`; `none`, it is kept in clear, in a file for its owner alone.
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
 * Where a grant lives: in the embedded store, or where the provider's own program keeps it.
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
 * Where the client's secret comes from, unless the provider's settings have it: never from an argument.
 * `stored` is one that was typed in at the login, and is kept as the grant is.
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
 * One account. `grant` says how it gets a new token; `settings` is what the login was told beyond what the
 * provider says of itself, in the form of `@latchkey/providers`.
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
 * What an account is called where there are others: `provider/name`.
 *
 * @since 0.1.0
 * @category getters
 */
export const idOf = (account: Pick<Account, "provider" | "name">): string =>
  `${account.provider}/${account.name}`

/**
 * A name for a new account, or what is wrong with it.
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
 * The id of a provider, or what is wrong with it.
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
 * How a user logs in to an account of a known provider.
 *
 * @since 0.1.0
 * @category getters
 */
export const loginTo = (provider: string, name = defaultName): string =>
  `latchkey login ${provider}` + (name === defaultName ? "" : ` --account ${name}`)

/**
 * How a user logs in to a server that is not among the providers.
 *
 * @since 0.1.0
 * @category getters
 */
export const loginToUnknown = (provider: string, name = defaultName): string =>
  `${loginTo(provider, name)} --issuer URL --client-id ID`

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80))

/**
 * The account that a user means: `provider/name`, a provider (its default account, or its only one), or a
 * name that only one account has. None and several are failures that list what there is; with the ids of the
 * `providers`, the failure says how to log in.
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

/** What was typed may be a new provider, a known one that nobody has logged in to, or an account with a slip in it. */
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
  // One that a login named by its issuer is known, but each of its accounts has settings of its own.
  const unknown = all.some((account) => account.provider === provider)
    ? ""
    : ` ${quoted(provider)} is not a known provider: there are ${providers.join(", ")}.`
  return usage(found + unknown, loginToUnknown(provider, name) + list)
}
