/**
 * The accounts of this user. Each has its own small file, so that two logins at once do not interfere.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import * as Account from "./Account.js"
import { type Failure, storage, usage } from "./Failure.js"
import * as PrivateText from "./internal/PrivateText.js"
import type { Paths } from "./Paths.js"

const decode = Schema.decodeUnknownEither(Schema.parseJson(Account.Account))
const encode = Schema.encodeSync(Schema.parseJson(Account.Account, { space: 2 }))

const fileOf = (paths: Paths, account: Pick<Account.Account, "provider" | "name">): string =>
  Path.join(paths.accounts, account.provider, `${account.name}.json`)

const failed = (problem: PrivateText.FileProblem): Failure =>
  storage("Accounts", PrivateText.describe(problem), "latchkey doctor")

/**
 * Returns the account of exactly this provider and name, or none. Fails with the file's name if the file is
 * not an account.
 *
 * @since 0.1.0
 * @category operations
 */
export const get = (
  paths: Paths,
  account: Pick<Account.Account, "provider" | "name">
): Effect.Effect<Option.Option<Account.Account>, Failure> => {
  const file = fileOf(paths, account)
  return Effect.flatMap(Effect.mapError(PrivateText.read(file), failed), (text) =>
    Option.isNone(text)
      ? Effect.succeedNone
      : Effect.asSome(
          Either.flatMap(
            Either.mapLeft(decode(text.value), () => malformed(file)),
            belongs(file, account)
          )
        )
  )
}

/** A file that was copied under another name would refer to another account's grant. */
const belongs =
  (file: string, { name, provider }: Pick<Account.Account, "provider" | "name">) =>
  (read: Account.Account): Either.Either<Account.Account, Failure> =>
    read.provider === provider && read.name === name ? Either.right(read) : Either.left(malformed(file))

const malformed = (file: string): Failure =>
  storage(
    "Accounts",
    `${file} is not a valid account file: it was changed, or a later version wrote it.`,
    `upgrade latchkey; or move the file away, and log in again`
  )

/**
 * Returns all accounts, by provider and name, and the problems of those that cannot be read.
 *
 * @since 0.1.0
 * @category operations
 */
export const list = (
  paths: Paths
): Effect.Effect<
  { readonly accounts: ReadonlyArray<Account.Account>; readonly broken: ReadonlyArray<Failure> },
  Failure
> =>
  Effect.gen(function* () {
    const providers = yield* Effect.mapError(PrivateText.list(paths.accounts), failed)
    const found = yield* Effect.forEach([...providers].sort(), (provider) =>
      Effect.flatMap(
        Effect.mapError(PrivateText.list(Path.join(paths.accounts, provider)), failed),
        (files) =>
          Effect.forEach(files.filter((file) => file.endsWith(".json")).sort(), (file) =>
            Effect.either(get(paths, { provider, name: file.slice(0, -".json".length) }))
          )
      )
    )
    const all = found.flat()
    return {
      accounts: all.flatMap((one) => (Either.isRight(one) ? Option.toArray(one.right) : [])),
      broken: all.flatMap((one) => (Either.isLeft(one) ? [one.left] : []))
    }
  })

/**
 * Refuses a name that differs from another one only in case: on some systems both would be one file.
 *
 * @since 0.1.0
 * @category operations
 */
export const checkCase = (
  paths: Paths,
  account: Pick<Account.Account, "provider" | "name">
): Effect.Effect<void, Failure> =>
  Effect.flatMap(list(paths), ({ accounts }) => {
    const alike = accounts.find(
      ({ name, provider }) =>
        provider === account.provider &&
        name !== account.name &&
        name.toLowerCase() === account.name.toLowerCase()
    )
    return alike === undefined
      ? Effect.void
      : usage(
          `There is already an account ${Account.idOf(alike)}, whose name differs only in upper and lower case.`,
          "use that account, or another name"
        )
  })

/**
 * Stores an account.
 *
 * @since 0.1.0
 * @category operations
 */
export const put = (paths: Paths, account: Account.Account): Effect.Effect<void, Failure> =>
  Effect.mapError(PrivateText.write(fileOf(paths, account), `${encode(account)}\n`), failed)

/**
 * Removes an account, but not its grant.
 *
 * @since 0.1.0
 * @category operations
 */
export const remove = (
  paths: Paths,
  account: Pick<Account.Account, "provider" | "name">
): Effect.Effect<void, Failure> => Effect.mapError(PrivateText.remove(fileOf(paths, account)), failed)
