/**
 * Where the grants of many accounts are stored: a port that gives each account its {@link TokenStorage} over
 * one connection, reports the changes of all of them in one stream, and finds the accounts that are due for
 * renewal.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type * as Entry from "./Entry.js"
import { deadMark, openIntent } from "./grant/Marks.js"
import { userGrant } from "./GrantIdentity.js"
import { memoryCells, type StorageError, type TokenStorage } from "./TokenStorage.js"

/**
 * What an index of accounts knows about a stored grant, so that it is found without being read.
 *
 * - `Renewable`: it is due at `dueAt`. If `dueAt` is none, it lasts until it is replaced.
 * - `Dead`: the server ended it. Someone must log in again.
 * - `Fixed`: it has no refresh token and ends with its access token.
 *
 * @since 0.1.0
 * @category models
 */
export interface AtRest {
  readonly state: "Renewable" | "Dead" | "Fixed"
  /**
   * When the access token expires, or when the server wants it renewed, if that is earlier. Not before the
   * end of a wait that the server asked for. Epoch milliseconds. None if there is nothing to renew.
   */
  readonly dueAt: Option.Option<number>
}

/**
 * An account and its place in the index.
 *
 * @since 0.1.0
 * @category models
 */
export interface Account extends AtRest {
  readonly account: string
}

/**
 * An account that is due. Pass the last one of a page to get the next page.
 *
 * @since 0.1.0
 * @category models
 */
export interface DueAccount {
  readonly account: string
  readonly dueAt: number
}

/**
 * Which accounts `due` returns.
 *
 * @since 0.1.0
 * @category models
 */
export interface DueOptions {
  /** Epoch milliseconds, exclusive. */
  readonly before: number
  readonly limit: number
  /** The last account of the previous page. Default: the first page. */
  readonly after?: DueAccount | undefined
}

/**
 * Returns the place of an entry in the index. Implementations of the port write it together with the entry.
 *
 * @since 0.1.0
 * @category getters
 */
export const atRest = (entry: Entry.Entry): AtRest => {
  const { credentials, identity, serverWait } = entry
  if (Option.isSome(deadMark(entry))) return { state: "Dead", dueAt: Option.none() }
  const needsNoRefreshToken = Option.exists(identity, ({ grantType }) => grantType !== userGrant)
  if (Option.isNone(credentials.refreshToken) && !needsNoRefreshToken) {
    return { state: "Fixed", dueAt: Option.none() }
  }
  const ends = [credentials.expiresAt, credentials.refreshAt].flatMap(Option.toArray)
  // The response to a refresh was lost: the sooner the request is repeated, the better.
  const lostAt = Option.map(openIntent(entry), ({ at }) => at)
  const first = Math.min(...ends, ...Option.toArray(lostAt))
  const wait = Option.match(serverWait, { onNone: () => -Infinity, onSome: ({ until }) => until })
  const dueAt = Math.max(first, wait)
  return {
    state: "Renewable",
    dueAt: Number.isFinite(dueAt) && Number.isFinite(first) ? Option.some(Math.ceil(dueAt)) : Option.none()
  }
}

/**
 * The port. All of it may be used concurrently.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenStorages extends Context.Tag("@latchkey/core/TokenStorages")<
  TokenStorages,
  {
    /** Where the grants are stored, for people and for messages, without secrets. */
    readonly location: string
    /**
     * Returns the storage of one account: a view that costs nothing to create and holds nothing. Create it
     * anew whenever you need it. Fails if the backend cannot store an account of that name.
     */
    readonly of: (account: string) => Either.Either<Context.Tag.Service<TokenStorage>, StorageError>
    /**
     * Emits the account that a writer may have changed, or none if any account may have changed. The stream
     * itself is none if the backend cannot report changes.
     */
    readonly changes: Option.Option<Stream.Stream<Option.Option<string>, StorageError>>
    /**
     * Returns the accounts that are due, earliest first. Dead accounts and those with nothing to renew are
     * never due.
     */
    readonly due: (options: DueOptions) => Effect.Effect<ReadonlyArray<DueAccount>, StorageError>
    /**
     * Emits the accounts that hold a grant, in the backend's order of names, read in pages. The stream begins
     * after the name `after`, whether that is stored or not.
     */
    readonly accounts: (after?: string) => Stream.Stream<Account, StorageError>
    /** How many accounts hold a grant. */
    readonly count: Effect.Effect<number, StorageError>
  }
>() {}

type Service = Context.Tag.Service<TokenStorages>

/**
 * Wraps each account's storage, to encrypt its contents, for example. The index stays that of the inner
 * storages, so what a wrapper commits must have the same place in the index as the entry. See {@link atRest}.
 *
 * @since 0.1.0
 * @category combinators
 */
export const mapStorage = (
  self: Service,
  wrap: (storage: Context.Tag.Service<TokenStorage>, account: string) => Context.Tag.Service<TokenStorage>
): Service => ({
  location: self.location,
  of: (account) => Either.map(self.of(account), (storage) => wrap(storage, account)),
  changes: self.changes,
  due: self.due,
  accounts: self.accounts,
  count: self.count
})

/**
 * Keeps the grants in memory, for tests and for grants that need not outlive the process.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory = (
  initial: Iterable<readonly [account: string, entry: Entry.Entry]> = []
): Effect.Effect<Service> =>
  Effect.map(PubSub.unbounded<Option.Option<string>>(), (changed) => {
    const changes = Stream.fromPubSub(changed)
    const cells = memoryCells(initial, (account) => changed.unsafeOffer(Option.some(account)))
    const all = (): ReadonlyArray<Account> =>
      Array.from(cells.entries(), ([account, entry]) => ({ account, ...atRest(entry) }))
    return {
      location: "memory",
      of: (account) => {
        const own = Stream.filter(changes, (name) => Option.getOrNull(name) === account)
        return Either.right(cells.of(account, `memory, account ${account}`, Stream.as(own, undefined)))
      },
      changes: Option.some(changes),
      due: (options) => Effect.sync(() => dueOf(all(), options)),
      accounts: (after) =>
        Stream.suspend(() => {
          const asked = all().filter(({ account }) => after === undefined || account > after)
          return Stream.fromIterable(Arr.sort(asked, byName))
        }),
      count: Effect.sync(() => cells.size())
    }
  })

const byName = Order.mapInput(Order.string, ({ account }: { readonly account: string }) => account)
const byDueTime = Order.combine(
  Order.mapInput(Order.number, ({ dueAt }: DueAccount) => dueAt),
  byName
)

/**
 * Finds the due accounts among all accounts, for implementations without an index.
 *
 * @since 0.1.0
 * @category utils
 */
export const dueOf = (
  accounts: Iterable<Account>,
  { after, before, limit }: DueOptions
): ReadonlyArray<DueAccount> => {
  const isLater = (found: DueAccount) => after === undefined || Order.greaterThan(byDueTime)(found, after)
  const due = Array.from(accounts).flatMap(({ account, dueAt }) =>
    Option.toArray(Option.map(dueAt, (at): DueAccount => ({ account, dueAt: at })))
  )
  const asked = due.filter((found) => found.dueAt < before && isLater(found))
  return Arr.take(Arr.sort(asked, byDueTime), limit)
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<TokenStorages> = Layer.effect(TokenStorages, makeMemory())
