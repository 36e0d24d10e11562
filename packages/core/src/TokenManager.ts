/**
 * The manager of one grant: ask it for a token and get a valid one.
 *
 * A thin shell: it reads, asks `Decision`, and obeys. However many fibers ask, one refresh runs at a time;
 * it belongs to the layer's scope, so that interrupting a caller, the first one included, never interrupts
 * it. Closing the scope waits for it.
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
 * The manager of a program that has one. For several, {@link Tag}.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenManager extends Context.Tag("@latchkey/core/TokenManager")<TokenManager, Manager>() {}

/**
 * A tag for one of several managers: `class Github extends TokenManager.Tag("app/Github")<Github>() {}`.
 *
 * @since 0.1.0
 * @category tags
 */
export const Tag =
  <const Id extends string>(id: Id) =>
  <Self>(): Context.TagClass<Self, Id, Manager> =>
    Context.Tag(id)<Self, Manager>()

/**
 * How a manager is told apart from others.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Names the provider in snapshots and profiles; `oauth` unless given. */
  readonly provider?: string
  /** Names the grant to the lease; all who share the grant must agree. The storage's location unless given. */
  readonly account?: string
  /** What snapshots show of the provider's own beyond the tokens; nothing that is secret. */
  readonly snapshotExtras?: (credentials: Credentials) => Snapshot.Snapshot["extras"]
  /** Whether to listen to storage for changes by others, where it can tell; true unless given. */
  readonly watch?: boolean
  /**
   * Whether the grant is renewed before its grace, without being asked, so that callers never wait for it; false unless
   * given. It begins up to two minutes before the grace, at a moment of this account and instance.
   */
  readonly renew?: boolean
}

/** How much longer than a refresh may take the closing of the scope waits for it, in milliseconds. */
const closingSlack = 5000

/**
 * A manager over the services in context, living in the scope.
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
 * A manager under a tag of its own.
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
 * The manager of a program that has one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<TokenManager, never, TokenStorage | RefreshLease | TokenRefresher | TokenConfig> =>
  layerFor(TokenManager, options)
