/**
 * What a storage that knows the leases of its grant must do: refuse a write by a holder after another one was
 * granted the lease. See {@link Law} for how to run the laws.
 *
 * @since 0.1.0
 */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { TokenStorage } from "@latchkey/core/TokenStorage"
import * as Entry from "@latchkey/core/Entry"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { check, checkRefused, type Law, law } from "./Law.js"
import { acquireStalled, takeOver } from "./LeaseLaws.js"
import * as Sample from "./Sample.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Handle {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<RefreshLease>
}

/**
 * Two handles on one store and its leases. `account` is the name of the grant in its leases.
 *
 * @since 0.1.0
 * @category models
 */
export interface Backend {
  readonly first: Handle
  readonly second: Handle
  readonly account: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E> {
  readonly make: Effect.Effect<Backend, E, Scope.Scope>
  /** How long the leases last. Default: 1 second. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category laws
 */
export const laws = <E>(options: Options<E>): ReadonlyArray<Law> => {
  const define = law(options.make)
  const ttl = Duration.decode(options.ttl ?? "1 second")
  return [
    define("what is written under a lease keeps its fence", ({ first, second, account }) =>
      Effect.gen(function* () {
        const { fence } = yield* first.lease.acquire(account, ttl)
        yield* first.storage.commit(fenced("a", fence), Option.none())
        const loaded = Option.map(yield* second.storage.load, ({ entry }) => entry.fence)
        yield* check(Option.contains(loaded, fence), "the fence did not come back")
      })
    ),
    define("a lapsed holder's commit is refused as soon as another has the lease", (backend) =>
      Effect.gen(function* () {
        const { first, second, account } = backend
        const start = yield* second.storage.commit(Sample.plain("start"), Option.none())
        const { lease } = yield* acquireStalled(first.lease, account, ttl)
        yield* takeOver(second.lease, account, ttl)
        const late = first.storage.commit(fenced("late", lease.fence), Option.some(start))
        yield* checkRefused("the lapsed holder", late, ["Fenced"])
        const loaded = Option.map(yield* second.storage.load, ({ version }) => version)
        yield* check(Option.contains(loaded, start), "the refused commit changed the store")
      })
    ),
    define("the same where the store was empty", ({ first, second, account }) =>
      Effect.gen(function* () {
        const { lease } = yield* acquireStalled(first.lease, account, ttl)
        yield* takeOver(second.lease, account, ttl)
        const late = first.storage.commit(fenced("late", lease.fence), Option.none())
        yield* checkRefused("the lapsed holder", late, ["Fenced"])
        yield* check(Option.isNone(yield* second.storage.load), "the refused commit left something")
      })
    ),
    define("and stays refused after the new holder has written and gone", ({ first, second, account }) =>
      Effect.gen(function* () {
        const { lease } = yield* acquireStalled(first.lease, account, ttl)
        const next = yield* Effect.scoped(
          Effect.gen(function* () {
            const { fence } = yield* takeOver(second.lease, account, ttl)
            return yield* second.storage.commit(fenced("next", fence), Option.none())
          })
        )
        const late = first.storage.commit(fenced("late", lease.fence), Option.some(next))
        yield* checkRefused("the lapsed holder", late, ["Fenced"])
      })
    ),
    define("a login goes through a lease, and the holder after it", ({ first, second, account }) =>
      Effect.gen(function* () {
        const { fence } = yield* first.lease.acquire(account, ttl)
        const login = yield* second.storage.commit(Sample.plain("login"), Option.none())
        yield* first.storage.commit(fenced("refreshed", fence), Option.some(login))
      })
    )
  ]
}

const fenced = (name: string, fence: number): Entry.Entry => new Entry.Entry({ ...Sample.plain(name), fence })
