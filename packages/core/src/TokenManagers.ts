/**
 * Many accounts, known only at run time: for a product that holds the tokens of its users.
 *
 * An account is created on first use, shared while in use, and dropped when idle. Idle accounts cost nothing:
 * they are in storage, and a `Renewer` renews them there before they expire.
 *
 * Accounts are isolated: one that fails or is slow does not hold up another. The load on each token server is
 * limited, and accounts whose last refresh failed get at most half of its places.
 *
 * @since 0.1.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as AuthStatus from "./AuthStatus.js"
import * as Flights from "./Flights.js"
import type * as Grant from "./Grant.js"
import type { Result, Server } from "./grant/Round.js"
import * as Pool from "./internal/Pool.js"
import * as ServerLimits from "./internal/ServerLimits.js"
import { count, millisOrForever, rate } from "./internal/Settings.js"
import { ProfileSource } from "./Profile.js"
import { RefreshLease } from "./RefreshLease.js"
import { TokenConfig } from "./TokenConfig.js"
import type { TokenError } from "./TokenError.js"
import type * as TokenEvent from "./TokenEvent.js"
import type * as TokenManager from "./TokenManager.js"
import { TokenRefresher } from "./TokenRefresher.js"
import { type StorageError, TokenStorage } from "./TokenStorage.js"
import { TokenStorages } from "./TokenStorages.js"

/**
 * What can go wrong when an account is set up.
 *
 * @since 0.1.0
 * @category errors
 */
export type SetupError = StorageError | ConfigError.ConfigError

/**
 * An event, and the account that it belongs to.
 *
 * @since 0.1.0
 * @category models
 */
export interface AccountEvent {
  readonly account: string
  readonly event: TokenEvent.TokenEvent
}

/**
 * The pool.
 *
 * @since 0.1.0
 * @category models
 */
export interface Managers {
  /** Returns the account's manager. All callers share it, and it is kept while the scope is open. */
  readonly get: (account: string) => Effect.Effect<TokenManager.Manager, SetupError, Scope.Scope>
  /** Returns a valid token of the account. */
  readonly getAccessToken: (account: string) => Effect.Effect<Redacted.Redacted, TokenError | SetupError>
  /** Returns the account's token in memory if it can be served without I/O. For code outside Effect. */
  readonly unsafePeek: (account: string) => Option.Option<Redacted.Redacted>
  /**
   * Returns the status of each account. Default: those in memory. Refreshes nothing, and keeps no account in
   * memory.
   */
  readonly status: (
    accounts?: Iterable<string>
  ) => Effect.Effect<ReadonlyMap<string, Either.Either<AuthStatus.AuthStatus, StorageError | SetupError>>>
  /** The accounts in memory. */
  readonly accounts: Effect.Effect<ReadonlyArray<string>>
  /** Emits the events of all accounts from now on. A slow reader misses the oldest. */
  readonly events: Stream.Stream<AccountEvent>
  /** @internal */
  readonly renew: (account: string, early: number) => Effect.Effect<Result>
  /** @internal */
  readonly serverOf: (account: string) => Server
}

/**
 * @since 0.1.0
 * @category tags
 */
export class TokenManagers extends Context.Tag("@latchkey/core/TokenManagers")<TokenManagers, Managers>() {}

/**
 * The options of both kinds of pool.
 *
 * @since 0.1.0
 * @category models
 */
export interface PoolOptions {
  /** Names the provider in snapshots, profiles and metrics. Default: `oauth`. */
  readonly provider?: string
  /** How long an unused account stays in memory. Default: a minute. */
  readonly idleTimeToLive?: Duration.DurationInput
  /**
   * How many accounts stay in memory. Beyond that, the least recently used are dropped, unless they are in
   * use. Default: 10,000.
   */
  readonly maxAccounts?: number
  /** How many refreshes for callers run at a time at one server. Default: 16. */
  readonly perServer?: number
  /** How many refreshes begin per second at one server, including those of a `Renewer`. Default: no limit. */
  readonly perSecond?: number
  /**
   * Names an account's token server, for the limits on what is sent to it. Default: accounts that share a
   * refresher share a server.
   */
  readonly server?: (account: string) => string
}

/**
 * The options of a pool in which each account has its own services.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<R> extends PoolOptions {
  /** The services of one account, built once while the account is in memory. */
  readonly services: (
    account: string
  ) => Layer.Layer<TokenStorage | RefreshLease | TokenRefresher | TokenConfig, SetupError, R>
}

/**
 * The options of a pool in which all accounts use the services in context.
 *
 * @since 0.1.0
 * @category models
 */
export interface SharedOptions extends PoolOptions {
  /**
   * The refresher of an account, if not all use the one in context. Use it for one refresher per provider,
   * for example.
   */
  readonly refresher?: (account: string) => Context.Tag.Service<TokenRefresher>
}

/**
 * Creates a pool whose accounts share storage, lease, policy and refresher. It uses one connection and one
 * subscription to changes, and builds nothing per account.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeShared = (
  options: SharedOptions = {}
): Effect.Effect<
  Managers,
  ConfigError.ConfigError,
  TokenStorages | RefreshLease | TokenRefresher | TokenConfig | Scope.Scope
> =>
  Effect.gen(function* () {
    const storages = yield* TokenStorages
    const services = {
      refresher: yield* TokenRefresher,
      lease: yield* RefreshLease,
      config: yield* TokenConfig
    }
    const reportsChanges = Option.isSome(storages.changes)
    const storageOf = (account: string) => Either.getOrThrow(storages.of(account))
    const refresherOf = (account: string) => options.refresher?.(account) ?? services.refresher
    const { managers, noteChange } = yield* makePool(options, refresherOf, (settingOf) => {
      // Weak, so that an entry ends with a refresher that was made for one account.
      const settings = new WeakMap<object, Map<string | undefined, Pool.Setting>>()
      return (account) =>
        Either.map(storages.of(account), () => {
          const refresher = refresherOf(account)
          const server = options.server?.(account)
          const known = settings.get(refresher) ?? new Map<string | undefined, Pool.Setting>()
          const setting =
            known.get(server) ?? settingOf({ ...services, refresher, storageOf, reportsChanges }, server)
          settings.set(refresher, known.set(server, setting))
          return setting
        })
    })
    if (Option.isSome(storages.changes)) {
      yield* Flights.watchChanges(storages.changes.value, {
        changed: noteChange,
        missed: noteChange(Option.none()),
        failed: (error) =>
          Effect.logWarning("latchkey: storage does not report changes at the moment", error.message)
      }).pipe(Effect.forkScoped)
    }
    return managers
  })

/**
 * Creates a pool in which each account has its own services. For very many accounts, {@link makeShared} takes
 * less memory.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <R>(
  options: Options<R>
): Effect.Effect<Managers, ConfigError.ConfigError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const context = withoutScope(yield* Effect.context<R>())
    const { managers } = yield* makePool(
      options,
      // Each account has its own refresher, so without a name it has its own server.
      (account) => account,
      (settingOf) => (account) =>
        Effect.gen(function* () {
          const services = yield* Layer.build(options.services(account))
          const storage = Context.get(services, TokenStorage)
          return settingOf(
            {
              refresher: Context.get(services, TokenRefresher),
              lease: Context.get(services, RefreshLease),
              config: Context.get(services, TokenConfig),
              storageOf: () => storage,
              reportsChanges: Option.isSome(storage.changes)
            },
            options.server?.(account)
          )
          // In the scope of the account, not of the pool: it ends when the account is dropped.
        }).pipe(Effect.provide(context))
    )
    return managers
  })

const withoutScope = <R>(context: Context.Context<R>): Context.Context<R> =>
  Context.omit(Scope.Scope)(context as Context.Context<R | Scope.Scope>) as Context.Context<R>

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <R>(options: Options<R>): Layer.Layer<TokenManagers, ConfigError.ConfigError, R> =>
  Layer.scoped(TokenManagers, make(options))

/**
 * {@link makeShared} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerShared = (
  options: SharedOptions = {}
): Layer.Layer<
  TokenManagers,
  ConfigError.ConfigError,
  TokenStorages | RefreshLease | TokenRefresher | TokenConfig
> => Layer.scoped(TokenManagers, makeShared(options))

type Services = Pick<Grant.GrantContext, "refresher" | "lease" | "config" | "storageOf" | "reportsChanges">

/**
 * The settings of the grants of one server. Accounts that share a refresher share a server, unless it is
 * named.
 */
type SettingOf = (services: Services, server: string | undefined) => Pool.Setting

const makePool = (
  options: PoolOptions,
  refresherOf: (account: string) => Server,
  setupOf: (settingOf: SettingOf) => Pool.Setup
) =>
  Effect.gen(function* () {
    const idleTimeToLive = yield* millisOrForever("idleTimeToLive", options.idleTimeToLive ?? "1 minute")
    const limitsOf = ServerLimits.make(
      yield* count("perServer", options.perServer ?? 16),
      yield* rate("perSecond", options.perSecond ?? Infinity)
    )
    const instance = `${yield* Random.next}`
    const provider = options.provider ?? "oauth"
    const pool = yield* Pool.make({
      idleTimeToLive,
      maxAccounts: yield* count("maxAccounts", options.maxAccounts ?? 10_000),
      serverOf: (account) => options.server?.(account) ?? refresherOf(account),
      manager: { provider, profiles: yield* Effect.serviceOption(ProfileSource) },
      setupOf: (common) =>
        setupOf((services, server) => {
          const limits = limitsOf(server ?? services.refresher)
          return {
            context: {
              ...services,
              ...common,
              provider,
              turn: (grant) => limits.caller(Flights.isTroubled(grant)),
              renewalTurn: () => limits.renewal
            },
            instance: services.config.instance ?? instance
          }
        })
    })
    const { noteChange, ...managers } = pool
    return { managers: managers satisfies Managers, noteChange }
  })
