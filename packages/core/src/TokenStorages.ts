/**
 * Where the grants of many accounts are kept: a port that gives each account's {@link TokenStorage} over one connection,
 * reports the changes of all of them in one stream, and finds the accounts that are due for renewal.
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
 * What an index of accounts knows about a stored grant, so that it need not be read to be found.
 *
 * - `Renewable`: it is renewed at `dueAt`, or lasts until it is replaced where `dueAt` is none.
 * - `Dead`: the server ended it; someone must log in again.
 * - `Fixed`: it has no refresh token and ends with its access token.
 *
 * @since 0.1.0
 * @category models
 */
export interface AtRest {
  readonly state: "Renewable" | "Dead" | "Fixed"
  /**
   * When the access token ends, or when the server wants it renewed, if that is earlier; not before the end of a wait that
   * the server asked for. Epoch milliseconds; none where there is nothing to renew.
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
 * An account that is due: the last one of a page is where the next page begins.
 *
 * @since 0.1.0
 * @category models
 */
export interface DueAccount {
  readonly account: string
  readonly dueAt: number
}

/**
 * Which accounts are asked for.
 *
 * @since 0.1.0
 * @category models
 */
export interface DueOptions {
  /** Epoch milliseconds; accounts that are due at that very time are left out. */
  readonly before: number
  readonly limit: number
  /** The last account of the page before; the first page by default. */
  readonly after?: DueAccount | undefined
}

/**
 * The place of an entry in the index. Implementations of the port write it together with the entry.
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
  // The answer to a refresh was lost: the sooner the request is repeated, the better.
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
    /** Where they are, for people and for messages; without secrets. */
    readonly location: string
    /**
     * The storage of one account: a view that costs nothing to make, holds nothing and is made anew whenever
     * it is needed. Fails where the account cannot be a name there.
     */
    readonly of: (account: string) => Either.Either<Context.Tag.Service<TokenStorage>, StorageError>
    /**
     * Emits the account that a writer may have changed, or none where any may have been; none where the backend
     * cannot tell.
     */
    readonly changes: Option.Option<Stream.Stream<Option.Option<string>, StorageError>>
    /** The accounts that are due, the earliest first. Those that are dead or have nothing to renew are never due. */
    readonly due: (options: DueOptions) => Effect.Effect<ReadonlyArray<DueAccount>, StorageError>
    /**
     * The accounts that hold a grant, ordered by name as the backend orders names, and read in pages. `after` is a name, stored
     * or not: the stream begins behind it.
     */
    readonly accounts: (after?: string) => Stream.Stream<Account, StorageError>
    /** How many accounts hold a grant. */
    readonly count: Effect.Effect<number, StorageError>
  }
>() {}

type Service = Context.Tag.Service<TokenStorages>

/**
 * Each account's storage wrapped, to encrypt what is in it, say. The index stays that of the inner storages: what a wrapper
 * commits there must have the place that the entry has, see {@link atRest}.
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
 * What is due among all accounts, for implementations that have no index.
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
