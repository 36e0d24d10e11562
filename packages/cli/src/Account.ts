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
 * The account that a user means: `provider/name`, a provider (its default account, or its only one), or a
 * name that only one account has. None and several are failures that list what there is. `login` is the command that
 * makes the account, where its provider is known.
 *
 * @since 0.1.0
 * @category lookup
 */
export const find = <A extends Pick<Account, "provider" | "name">>(
  text: string,
  all: ReadonlyArray<A>,
  login?: string
): Either.Either<A, Failure> => {
  const exact = all.find((account) => idOf(account) === text)
  if (exact !== undefined) return Either.right(exact)
  const named = all.filter((account) => account.name === text)
  const ofProvider = all.filter((account) => account.provider === text)
  const standard = ofProvider.find((account) => account.name === defaultName)
  const candidates = [...(standard === undefined ? ofProvider : [standard]), ...named]
  const [only, ...others] = [...new Set(candidates)]
  if (only !== undefined && others.length === 0) return Either.right(only)
  if (only === undefined) {
    const shown = JSON.stringify(text.slice(0, 80))
    return Either.left(
      all.length === 0
        ? usage(`There is no account ${shown}, nor any other yet.`, login ?? "latchkey login PROVIDER")
        : usage(
            `There is no account ${shown}. There are: ${all.map(idOf).join(", ")}.`,
            login ?? "latchkey list"
          )
    )
  }
  return Either.left(
    usage(
      `${JSON.stringify(text)} could be any of ${[only, ...others].map(idOf).join(", ")}.`,
      `say which, as PROVIDER/NAME`
    )
  )
}
