/**
 * The manager of one grant. It returns an access token that is valid now.
 *
 * However many fibers call it, one refresh runs at a time. The refresh belongs to the layer's scope, so
 * interrupting a caller, even the first, never interrupts it. Closing the scope waits for it. All policy
 * lives in the pure `Decision` module.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { Credentials } from "./Credentials.js"
import * as Flights from "./Flights.js"
import * as Grant from "./Grant.js"
import { jitterShare } from "./grant/BackOff.js"
import * as KeepRenewed from "./internal/KeepRenewed.js"
import * as Manager_ from "./Manager.js"
import type { Manager } from "./Manager.js"
import * as Profile from "./Profile.js"
import { RefreshLease } from "./RefreshLease.js"
import type * as Snapshot from "./Snapshot.js"
import { TokenConfig } from "./TokenConfig.js"
import { TokenRefresher } from "./TokenRefresher.js"
import { TokenStorage } from "./TokenStorage.js"

export type { Explanation, Manager, SaveOptions } from "./Manager.js"

/**
 * The manager of a program that has one. If you have several, see {@link Tag}.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenManager extends Context.Tag("@latchkey/core/TokenManager")<TokenManager, Manager>() {}

/**
 * Creates a tag for one of several managers:
 * `class Github extends TokenManager.Tag("app/Github")<Github>() {}`.
 *
 * @since 0.1.0
 * @category tags
 */
export const Tag =
  <const Id extends string>(id: Id) =>
  <Self>(): Context.TagClass<Self, Id, Manager> =>
    Context.Tag(id)<Self, Manager>()

/**
 * The names and settings of a manager.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Names the provider in snapshots and profiles. Default: `oauth`. */
  readonly provider?: string
  /**
   * Names the grant in the lease. Everyone who shares the grant must use the same name. Default: the
   * storage's location.
   */
  readonly account?: string
  /** What snapshots show of the provider besides the tokens. It must hold no secret. */
  readonly snapshotExtras?: (credentials: Credentials) => Snapshot.Snapshot["extras"]
  /** Whether to subscribe to storage for changes by others, if the storage can report them. Default: true. */
  readonly watch?: boolean
  /**
   * Whether to renew the grant in the background before its grace, so that callers never wait for it.
   * Default: false. Renewal begins up to two minutes before the grace, at a time that depends on the account
   * and the instance.
   */
  readonly renew?: boolean
}

/** How much longer than a refresh may take the closing scope waits for it, in milliseconds. */
const closingSlack = 5000

/**
 * Creates a manager over the services in context. It lives in the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<Manager, never, TokenStorage | RefreshLease | TokenRefresher | TokenConfig | Scope.Scope> =>
  Effect.gen(function* () {
    const storage = yield* TokenStorage
    const config = yield* TokenConfig
    const provider = options.provider ?? "oauth"
    const account = options.account ?? storage.location
    const instance = config.instance ?? `${yield* Random.next}`
    const refresher = yield* TokenRefresher
    const grant = Grant.make(
      {
        provider,
        config,
        refresher,
        lease: yield* RefreshLease,
        storageOf: () => storage,
        reportsChanges: options.watch !== false && Option.isSome(storage.changes),
        clock: yield* Effect.clock,
        flights: yield* Flights.makeFlights(config.refreshTimeout + closingSlack),
        historyLength: 32,
        publish: () => Effect.void
      },
      account,
      jitterShare(`${account} ${instance}`)
    )
    if (options.renew === true) yield* Effect.forkScoped(Effect.interruptible(KeepRenewed.forever(grant)))
    if (grant.context.reportsChanges) yield* Effect.forkScoped(Manager_.watch(grant))
    const profiles = yield* Effect.serviceOption(Profile.ProfileSource)
    return Manager_.make(grant, {
      provider,
      profiles,
      ...(options.snapshotExtras && { snapshotExtras: options.snapshotExtras })
    })
  })

/**
 * Provides a manager under its own tag.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFor = <Self, Id extends string>(
  tag: Context.TagClass<Self, Id, Manager>,
  options: Options = {}
): Layer.Layer<Self, never, TokenStorage | RefreshLease | TokenRefresher | TokenConfig> =>
  Layer.scoped(tag, make(options))

/**
 * Provides the manager of a program that has one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<TokenManager, never, TokenStorage | RefreshLease | TokenRefresher | TokenConfig> =>
  layerFor(TokenManager, options)
