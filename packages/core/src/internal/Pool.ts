/** Many grants by account: created on first use, shared while in use, dropped when idle. */
import * as Clock from "effect/Clock"
import type * as ConfigError from "effect/ConfigError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AuthStatus } from "../AuthStatus.js"
import * as Callers from "../Callers.js"
import * as Flights from "../Flights.js"
import * as Grant from "../Grant.js"
import { jitterShare } from "../grant/BackOff.js"
import { anyValid } from "../grant/Decision.js"
import * as Round from "../grant/Round.js"
import * as Manager from "../Manager.js"
import type { TokenError } from "../TokenError.js"
import type { TokenEvent } from "../TokenEvent.js"
import type { StorageError } from "../TokenStorage.js"
import * as KeepRenewed from "./KeepRenewed.js"

/** What can go wrong when an account is set up. */
export type SetupError = StorageError | ConfigError.ConfigError

/** The context that the grants of some accounts share. */
export interface Setting {
  readonly context: Grant.GrantContext
  readonly instance: string
}

/** A grant, the number of its holders, and the scope of the services built for it alone. */
interface Pooled {
  readonly grant: Grant.Grant
  readonly own: Scope.CloseableScope | undefined
  holders: number
  usedAt: number
}

/** Returns what an account's grant works with: at once if everything exists, or built in the scope. */
export type Setup = (
  account: string
) => Either.Either<Setting, SetupError> | Effect.Effect<Setting, SetupError, Scope.Scope>

/** What all grants of a pool have in common. */
type Common = Pick<Grant.GrantContext, "clock" | "flights" | "historyLength" | "publish">

export interface Parts {
  readonly setupOf: (common: Common) => Setup
  readonly manager: Manager.Options
  /** The token server of an account, as its name or an object that stands for it. */
  readonly serverOf: (account: string) => Round.Server
  /** How long an unused account is kept, in milliseconds, and how many accounts are kept at most. */
  readonly idleTimeToLive: number
  readonly maxAccounts: number
}

export interface Pool {
  readonly get: (account: string) => Effect.Effect<Manager.Manager, SetupError, Scope.Scope>
  readonly getAccessToken: (account: string) => Effect.Effect<Redacted.Redacted, TokenError | SetupError>
  readonly unsafePeek: (account: string) => Option.Option<Redacted.Redacted>
  readonly status: (
    accounts?: Iterable<string>
  ) => Effect.Effect<ReadonlyMap<string, Either.Either<AuthStatus, StorageError | SetupError>>>
  /**
   * Renews the account if it is due, `early` milliseconds before its grace. Unless the account is in use, it
   * is in memory only during the renewal.
   */
  readonly renew: (account: string, early: number) => Effect.Effect<Round.Result>
  readonly serverOf: (account: string) => Round.Server
  readonly accounts: Effect.Effect<ReadonlyArray<string>>
  readonly events: Stream.Stream<{ readonly account: string; readonly event: TokenEvent }>
  /** Handles a change by another writer: to this account's grant, or to any if none is named. */
  readonly noteChange: (account: Option.Option<string>) => Effect.Effect<void>
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** How many accounts are set up, or ended, concurrently. */
const setupConcurrency = 16

/** How many accounts are checked concurrently. A database answers for all of them at once. */
const lookConcurrency = 128

/** How many events a slow reader of all accounts' events may be behind. */
const eventBacklog = 4096

/** How long, in milliseconds, the closing scope waits for running refreshes. */
const closingPatience = 35_000

const makeGrant = ({ context, instance }: Setting, account: string): Grant.Grant =>
  Grant.make(context, account, jitterShare(`${account} ${instance}`))

export const make = (parts: Parts): Effect.Effect<Pool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { idleTimeToLive, manager, maxAccounts } = parts
    const clock = yield* Effect.clock
    const grants = new Map<string, Pooled>()
    const building = new Map<string, Deferred.Deferred<Pooled, SetupError>>()
    const hub = yield* PubSub.sliding<{ readonly account: string; readonly event: TokenEvent }>(eventBacklog)
    // Finalizers run in reverse order: the flights end first, then the services built for the grants.
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        Effect.forEach([...grants.values()], end, { concurrency: setupConcurrency, discard: true }),
        PubSub.shutdown(hub)
      )
    )
    const flights = yield* Flights.makeFlights(closingPatience)
    const setup = parts.setupOf({
      clock,
      flights,
      historyLength: 4,
      publish: (account, event) => Grant.offer(hub, { account, event })
    })

    let trimAt = maxAccounts

    const add = (setting: Setting, account: string, own?: Scope.CloseableScope): Pooled => {
      const grant = makeGrant(setting, account)
      const pooled: Pooled = { grant, own, holders: 0, usedAt: clock.unsafeCurrentTimeMillis() }
      grants.set(account, pooled)
      if (grants.size > trimAt) {
        trimAt = Infinity
        flights.fork(trim)
      }
      return pooled
    }

    const isUnused = ({ grant, holders }: Pooled): boolean => holders === 0 && Flights.isQuiet(grant)

    const drop = (unused: ReadonlyArray<Pooled>): Effect.Effect<void> => {
      for (const { grant } of unused) grants.delete(grant.account)
      return Effect.forEach(unused, end, { discard: true })
    }

    /**
     * Drops the least recently used grants. If the others are in use, it does not look again until there are
     * a tenth more.
     */
    const trim = Effect.suspend(() => {
      const unused = [...grants.values()].filter(isUnused).sort((a, b) => a.usedAt - b.usedAt)
      const surplus = unused.slice(0, Math.max(0, grants.size - maxAccounts))
      trimAt = Math.ceil(Math.max(maxAccounts, grants.size - surplus.length) * 1.1)
      return drop(surplus)
    })

    /** Builds in one fiber for all callers, so that no caller's interruption stops it. */
    const build = (account: string, setting: Effect.Effect<Setting, SetupError, Scope.Scope>) =>
      Effect.clockWith((callersClock) => {
        const other = building.get(account)
        if (other !== undefined) return Deferred.await(other)
        const built = Deferred.unsafeMake<Pooled, SetupError>(FiberId.none)
        building.set(account, built)
        const work = Effect.flatMap(Scope.make(), (own) =>
          Scope.extend(setting, own).pipe(
            Effect.map((made) => add(made, account, own)),
            Effect.tap(({ grant }) =>
              grant.context.reportsChanges ? Effect.forkIn(Manager.watch(grant), own) : Effect.void
            ),
            Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
          )
        )
        const done = Effect.onExit(Effect.withClock(work, callersClock), (exit) =>
          Effect.sync(() => {
            building.delete(account)
            Deferred.unsafeDone(built, exit)
          })
        )
        flights.fork(Effect.ignore(done))
        return Deferred.await(built)
      })

    const find = (account: string): Effect.Effect<Pooled, SetupError> =>
      Effect.suspend(() => {
        const known = grants.get(account)
        if (known !== undefined) return Effect.succeed(known)
        const setting = setup(account)
        if (!Either.isEither(setting)) return build(account, setting)
        return Either.isLeft(setting)
          ? Effect.fail(setting.left)
          : Effect.succeed(add(setting.right, account))
      })

    /** Holds the account's grant until it is released. Only the wait for it can be interrupted. */
    const hold = (account: string, restore: Restore): Effect.Effect<Pooled, SetupError> =>
      Effect.flatMap(restore(find(account)), (pooled) =>
        Effect.suspend(() => {
          // The grant may have been dropped meanwhile.
          if (grants.get(account) !== pooled) return hold(account, restore)
          pooled.holders++
          return Effect.succeed(pooled)
        })
      )

    const release = (pooled: Pooled): Effect.Effect<void> =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        pooled.holders--
        pooled.usedAt = now
      })

    const sweep = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      drop(
        [...grants.values()].filter(
          // A last use in the future was recorded before the clock was set back.
          (pooled) => isUnused(pooled) && (now < pooled.usedAt || now - pooled.usedAt >= idleTimeToLive)
        )
      )
    )

    /** Returns the grant in memory. A look counts as a use. */
    const use = (account: string, now: number): Grant.Grant | undefined => {
      const pooled = grants.get(account)
      if (pooled !== undefined) pooled.usedAt = now
      return pooled?.grant
    }

    const refreshed = (account: string) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(hold(account, restore), (pooled) =>
          Effect.ensuring(restore(Callers.resolve(pooled.grant, anyValid)), release(pooled))
        )
      )

    /** Returns the status of an account without keeping the account in memory. */
    const statusOf = (account: string): Effect.Effect<AuthStatus, SetupError | StorageError> =>
      Effect.suspend(() => {
        const pooled = grants.get(account)
        if (pooled !== undefined) return Manager.status(pooled.grant)
        const once = (setting: Setting) => {
          const grant = makeGrant(setting, account)
          return Effect.ensuring(Manager.status(grant), Flights.leave(grant))
        }
        const setting = setup(account)
        if (!Either.isEither(setting)) return Effect.scoped(Effect.flatMap(setting, once))
        return Either.isLeft(setting) ? Effect.fail(setting.left) : once(setting.right)
      })

    if (idleTimeToLive < Infinity) {
      yield* Effect.forkScoped(Effect.schedule(sweep, Schedule.spaced(idleTimeToLive / 4)))
    }
    return {
      get: (account) =>
        Effect.uninterruptibleMask((restore) =>
          hold(account, restore).pipe(
            Effect.tap((pooled) => Effect.addFinalizer(() => release(pooled))),
            Effect.map(({ grant }) => Manager.make(grant, manager))
          )
        ),
      getAccessToken: (account) =>
        Effect.clockWith((callersClock) => {
          const now = callersClock.unsafeCurrentTimeMillis()
          const grant = use(account, now)
          return grant !== undefined && Callers.isOpen(grant, now) ? grant.answer : refreshed(account)
        }),
      unsafePeek: (account) => {
        const now = clock.unsafeCurrentTimeMillis()
        const grant = use(account, now)
        return grant === undefined ? Option.none() : Manager.peek(grant, now)
      },
      status: (accounts) =>
        Effect.suspend(() => {
          const all = new Map<string, Either.Either<AuthStatus, StorageError | SetupError>>()
          const look = (account: string) =>
            Effect.map(Effect.either(statusOf(account)), (status) => void all.set(account, status))
          return Effect.as(
            Effect.forEach(accounts ?? grants.keys(), look, { concurrency: lookConcurrency, discard: true }),
            all
          )
        }),
      renew: (account, early) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.suspend(() => {
            const wasHere = grants.has(account)
            return Effect.flatMap(hold(account, restore), (pooled) => {
              const { usedAt } = pooled
              const letGo = Effect.suspend(() => {
                pooled.holders--
                const isDone = !wasHere && pooled.usedAt === usedAt && isUnused(pooled)
                return isDone ? drop([pooled]) : Effect.void
              })
              return Effect.ensuring(restore(KeepRenewed.once(pooled.grant, early)), letGo)
            })
          })
        ).pipe(Effect.orElseSucceed(() => Round.stuck)),
      serverOf: parts.serverOf,
      accounts: Effect.sync(() => [...grants.keys()]),
      events: Stream.fromPubSub(hub),
      noteChange: (account) =>
        Effect.suspend(() => {
          const changed = Option.match(account, {
            onNone: () => [...grants.values()],
            onSome: (name) => Option.toArray(Option.fromNullable(grants.get(name)))
          })
          return Effect.forEach(changed, ({ grant }) => Grant.tell(grant, { _tag: "Changed" }), {
            discard: true
          })
        })
    }
  })

/** Ends a grant in this process. */
const end = ({ grant, own }: Pooled): Effect.Effect<void> =>
  Effect.andThen(Flights.leave(grant), own === undefined ? Effect.void : Scope.close(own, Exit.void))
