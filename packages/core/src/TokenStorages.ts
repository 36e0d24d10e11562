/**
 * Where the grants of many accounts are kept: a port that gives each account's {@link TokenStorage} over
 * one connection, and tells of the changes of all of them in one stream.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type * as Entry from "./Entry.js"
import { memoryCells, type StorageError, type TokenStorage } from "./TokenStorage.js"

/**
 * The port.
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
  }
>() {}

type Service = Context.Tag.Service<TokenStorages>

/**
 * Each account's storage wrapped, to encrypt what is in it, say.
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
  changes: self.changes
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
    const storageOf = memoryCells(initial, (account) => changed.unsafeOffer(Option.some(account)))
    return {
      location: "memory",
      of: (account) => {
        const own = Stream.filter(changes, (name) => Option.getOrNull(name) === account)
        return Either.right(storageOf(account, `memory, account ${account}`, Stream.as(own, undefined)))
      },
      changes: Option.some(changes)
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<TokenStorages> = Layer.effect(TokenStorages, makeMemory())
