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
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as AuthStatus from "./AuthStatus.js"
import type { Credentials } from "./Credentials.js"
import * as Driver from "./Driver.js"
import { jitterShare } from "./grant/BackOff.js"
import type { Decision } from "./grant/Decision.js"
import * as Manager_ from "./Manager.js"
import { RenewalTask } from "./internal/RenewalTask.js"
import * as Profile from "./Profile.js"
import { RefreshLease } from "./RefreshLease.js"
import { Renewal } from "./Renewal.js"
import type * as Snapshot from "./Snapshot.js"
import { TokenConfig } from "./TokenConfig.js"
import type { GrantMismatch, TokenError } from "./TokenError.js"
import type * as TokenEvent from "./TokenEvent.js"
import { TokenRefresher } from "./TokenRefresher.js"
import { type StorageError, TokenStorage } from "./TokenStorage.js"

/**
 * What `explain` tells: the decision as data and in words, what it was made on, and what led to it. Holds no
 * token but in `decision`, where it is redacted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Explanation {
  readonly decision: Decision
  /** Where the decision is to read storage: what comes after, if storage holds what is in memory. */
  readonly ifUnchanged: Option.Option<Decision>
  /** When there may be something else to do, epoch milliseconds; none where nothing changes by itself. */
  readonly looksAgainAt: Option.Option<number>
  /** All of it in one sentence. */
  readonly text: string
  readonly status: AuthStatus.AuthStatus
  readonly location: string
  /** The last events, the oldest first: 32 of a manager, 4 of one in a pool. */
  readonly history: ReadonlyArray<TokenEvent.TokenEvent>
}

/**
 * How credentials are saved.
 *
 * @since 0.1.0
 * @category models
 */
export interface SaveOptions {
  /**
   * Whether they may replace a grant of another server, client, kind or account; no, unless given. What is replaced is
   * not revoked at its server: do that before, if it is to end.
   */
  readonly replace?: boolean | undefined
}

/**
 * What a manager does. Tokens come `Redacted`; instants are epoch milliseconds.
 *
 * Reads (`credentials`, `status`, `snapshot`, `peekAccessToken` …) go to storage when memory is older than
 * the credentials TTL or the token in it has expired; while storage fails, what is in memory is served for
 * as long as its token is valid.
 *
 * @since 0.1.0
 * @category models
 */
export interface Manager {
  /** Where the grant is kept. */
  readonly location: string
  /**
   * A token that is valid now, refreshed first where it is due. In the grace a refresh that fails or is
   * slow is no error: the token that is still valid is served.
   */
  readonly getAccessToken: Effect.Effect<Redacted.Redacted, TokenError>
  /** The same, for a token that lives for at least `minValidity` from now. */
  readonly getAccessTokenFor: (options: {
    readonly minValidity: Duration.DurationInput
  }) => Effect.Effect<Redacted.Redacted, TokenError>
  /** The token if there is one that has not expired; never refreshes. */
  readonly peekAccessToken: Effect.Effect<Option.Option<Redacted.Redacted>, StorageError | GrantMismatch>
  /** The token in memory, if it can be served without a thought: for code outside Effect. No I/O. */
  readonly unsafePeek: () => Option.Option<Redacted.Redacted>
  /**
   * A new token in any case; joins a refresh under way. Passes the cool-down of this process, but neither the wait that
   * the server asked for nor the back-off that all who share the grant keep after a 429 or 503 that named no time.
   */
  readonly refresh: Effect.Effect<Redacted.Redacted, TokenError>
  /**
   * A resource server answered 401 to this token: a new one, refreshed only if that token is still the
   * current one. Fresh tokens that are rejected again and again cool down.
   */
  readonly reject: (token: Redacted.Redacted) => Effect.Effect<Redacted.Redacted, TokenError>
  /** The credentials, expired or not. */
  readonly credentials: Effect.Effect<Option.Option<Credentials>, StorageError | GrantMismatch>
  /**
   * Stores the credentials of a login with the refresher's server and client. A grant of another identity or account is
   * not replaced unless asked for: then it fails with `GrantMismatch`.
   */
  readonly save: (
    credentials: Credentials,
    options?: SaveOptions
  ) => Effect.Effect<void, StorageError | GrantMismatch>
  /** Removes the grant; whether there was one. Revoking it at the server is another matter. */
  readonly clear: Effect.Effect<boolean, StorageError>
  /** Drops what is in memory. A rotation that could not be saved yet is kept. */
  readonly invalidate: Effect.Effect<void>
  /** Whether there is an access token that has not expired, of a grant that is ours to use. */
  readonly isAuthenticated: Effect.Effect<boolean, StorageError>
  /** The same, by the name of those who come from elsewhere. */
  readonly validate: Effect.Effect<boolean, StorageError>
  readonly status: Effect.Effect<AuthStatus.AuthStatus, StorageError>
  /** The last status for as long as nothing changed, up to the status TTL. */
  readonly cachedStatus: Effect.Effect<AuthStatus.AuthStatus, StorageError>
  readonly snapshot: Effect.Effect<Option.Option<Snapshot.Snapshot>, StorageError>
  /** The account's profile from its `ProfileSource`, or from the credentials alone where there is none. */
  readonly profile: Effect.Effect<Profile.Profile, TokenError | Profile.ProfileError>
  /** The last profile, or what the credentials in memory tell; no I/O. */
  readonly cachedProfile: Effect.Effect<Option.Option<Profile.Profile>>
  /** What `getAccessToken` would do now, and why, and what happened last. No I/O. */
  readonly explain: Effect.Effect<Explanation>
  /** What happens from now on; a slow reader misses the oldest. */
  readonly events: Stream.Stream<TokenEvent.TokenEvent>
}

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
  /** Names the token server to `Renewal`, which bounds what is sent to one; the refresher itself unless given. */
  readonly server?: string
}

/** How much longer than a refresh may take the closing of the scope waits for it, in milliseconds. */
const closingSlack = 5000

/**
 * A manager over the services in context, living in the scope.
 *
 * Where there is a `Renewal` in context, the manager renews its grant before it expires, without being asked,
 * and waits for its turn at the server; `server` tells which others it shares that with.
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
    const renewal = yield* Effect.serviceOption(Renewal)
    const lane = Option.map(renewal, ({ scheduler }) => scheduler.laneOf(options.server ?? refresher))
    const grant = Driver.make(
      {
        provider,
        config,
        refresher,
        lease: yield* RefreshLease,
        storageOf: () => storage,
        reportsChanges: options.watch !== false && Option.isSome(storage.changes),
        clock: yield* Effect.clock,
        flights: yield* Driver.makeFlights(config.refreshTimeout + closingSlack),
        historyLength: 32,
        turn: (grant) => (flight) =>
          Option.isSome(renewal) && Option.isSome(lane)
            ? renewal.value.scheduler.lanes.within(lane.value, Driver.isTroubled(grant))(flight)
            : flight,
        publish: () => Effect.void
      },
      account,
      jitterShare(`${account} ${instance}`)
    )
    if (Option.isSome(renewal) && Option.isSome(lane)) {
      const { scheduler, window } = renewal.value
      const turns = { lane: lane.value, storageLane: scheduler.storageLaneOf(storage), window }
      const task = new RenewalTask(grant, turns)
      yield* Effect.acquireRelease(
        Effect.sync(() => scheduler.add(task)),
        () => Effect.sync(() => scheduler.remove(task))
      )
    }
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
