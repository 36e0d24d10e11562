/**
 * The manager of one grant: ask it for a token and get a valid one.
 *
 * A thin shell: it reads, asks `Decision`, and obeys. However many fibers ask, one refresh runs at a time;
 * it belongs to the layer's scope, so that interrupting a caller, the first one included, never interrupts
 * it. Closing the scope waits for it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AuthStatus from "./AuthStatus.js"
import type { Credentials } from "./Credentials.js"
import * as Decision from "./Decision.js"
import * as Entry from "./Entry.js"
import * as Fingerprint from "./Fingerprint.js"
import * as Access from "./internal/Access.js"
import { GrantState } from "./internal/GrantState.js"
import * as RefreshTransaction from "./internal/RefreshTransaction.js"
import * as Saver from "./internal/Saver.js"
import * as Sight from "./internal/Sight.js"
import * as SingleFlight from "./internal/SingleFlight.js"
import * as Profile from "./Profile.js"
import { RefreshLease } from "./RefreshLease.js"
import * as Snapshot from "./Snapshot.js"
import { TokenConfig } from "./TokenConfig.js"
import { RefreshUnavailable, type TokenError } from "./TokenError.js"
import * as TokenEvent from "./TokenEvent.js"
import { TokenRefresher } from "./TokenRefresher.js"
import { StorageError, TokenStorage } from "./TokenStorage.js"

/**
 * What `explain` tells: the decision as data and in words, and what it was made on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Explanation {
  readonly decision: Decision.Decision
  readonly text: string
  readonly status: AuthStatus.AuthStatus
  readonly location: string
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
  readonly peekAccessToken: Effect.Effect<Option.Option<Redacted.Redacted>, StorageError>
  /** The token in memory, if it can be served without a thought: for code outside Effect. No I/O. */
  readonly unsafePeek: () => Option.Option<Redacted.Redacted>
  /** A new token in any case; joins a refresh under way. Passes our own cool-down, not the server's. */
  readonly refresh: Effect.Effect<Redacted.Redacted, TokenError>
  /**
   * A resource server answered 401 to this token: a new one, refreshed only if that token is still the
   * current one. Fresh tokens that are rejected again and again cool down.
   */
  readonly reject: (token: Redacted.Redacted) => Effect.Effect<Redacted.Redacted, TokenError>
  /** The credentials, expired or not. */
  readonly credentials: Effect.Effect<Option.Option<Credentials>, StorageError>
  /** Stores the credentials of a login, whatever was there before. */
  readonly save: (credentials: Credentials) => Effect.Effect<void, StorageError>
  /** Removes the grant; whether there was one. Revoking it at the server is another matter. */
  readonly clear: Effect.Effect<boolean, StorageError>
  /** Drops what is in memory. A rotation that could not be saved yet is kept. */
  readonly invalidate: Effect.Effect<void>
  /** Whether there is an access token that has not expired. */
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
  /** What `getAccessToken` would do now, and why. No I/O. */
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
  /** Whether to listen to storage for changes by others, where it can tell; true unless given. */
  readonly watch?: boolean
}

type Parts = RefreshTransaction.Parts

/** How many events a slow reader may be behind. */
const eventBacklog = 256

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
    const refresher = yield* TokenRefresher
    const config = yield* TokenConfig
    const profiles = yield* Effect.serviceOption(Profile.ProfileSource)
    const clock = yield* Effect.clock
    const provider = options.provider ?? "oauth"
    const account = options.account ?? storage.location
    const instance = config.instance ?? `${yield* Random.next}`
    const jitterShare = Decision.jitterShare(`${account} ${instance}`)
    const state = new GrantState(config, refresher.needsRefreshToken, jitterShare)

    const hub = yield* Effect.acquireRelease(
      PubSub.sliding<TokenEvent.TokenEvent>(eventBacklog),
      PubSub.shutdown
    )
    const sight = yield* Sight.make({ provider, account, state })
    const lease = sight.watchLease(yield* RefreshLease)
    const emit = (event: TokenEvent.TokenEvent) =>
      Effect.zipRight(PubSub.publish(hub, event), sight.record(event))
    const parts: Parts = { account, state, storage, lease, refresher, config, emit }

    const saver = yield* Saver.make(parts)
    const flight = { patience: config.refreshTimeout + closingSlack }
    const loads = yield* SingleFlight.make<void, StorageError, void>({
      ...flight,
      run: () => RefreshTransaction.reload(parts),
      onClosed: closedStorage(storage.location)
    })
    const refreshes = yield* SingleFlight.make<void, TokenError, RefreshTransaction.Trigger>({
      ...flight,
      run: (trigger) =>
        Effect.ensuring(sight.watchRefresh(RefreshTransaction.run(parts, trigger)), saver.ensureSaved),
      onClosed: closedManager
    })
    const access = Access.make(parts, loads, refreshes)
    if (options.watch !== false) yield* Effect.forkScoped(watch(parts))

    const look = <A>(view: (now: number) => A): Effect.Effect<A, StorageError> =>
      Effect.zipRight(access.look, Effect.map(Clock.currentTimeMillis, view))

    const isAuthenticated = look((now) =>
      Option.exists(state.credentials, (c) => !Decision.isExpired(c, now))
    )
    const currentStatus = (now: number) => AuthStatus.of(state.credentials, now, state.warnings(now))
    const status = look((now) => {
      const current = currentStatus(now)
      state.status = Option.some({ status: current, at: now })
      return current
    })

    return {
      location: storage.location,
      getAccessToken: access.getAccessToken,
      getAccessTokenFor: ({ minValidity }) =>
        access.resolve({ force: false, minValidity: Duration.toMillis(minValidity) }),
      refresh: access.resolve({ force: true, minValidity: 0 }),
      peekAccessToken: look((now) =>
        Option.filterMap(state.credentials, (c) =>
          Decision.isExpired(c, now) ? Option.none() : Option.some(c.accessToken)
        )
      ),
      unsafePeek: () => {
        const now = clock.unsafeCurrentTimeMillis()
        return now < state.door.until && now >= state.door.from ? state.door.token : Option.none()
      },
      reject: (token) =>
        Effect.flatMap(
          look((now) => ({ at: now, current: state.reject(token, now) })),
          ({ at, current }) =>
            current
              ? Effect.zipRight(
                  emit(TokenEvent.Rejected({ at, token: Fingerprint.of(token) })),
                  access.resolve(Decision.anyValid)
                )
              : access.getAccessToken
        ),
      credentials: look(() => state.credentials),
      save: (credentials) => save(parts, credentials),
      clear: clear(parts),
      invalidate: Effect.sync(() => state.invalidate()),
      isAuthenticated,
      validate: isAuthenticated,
      status,
      cachedStatus: Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Option.match(state.cachedStatus(now, config.statusTtl), {
          onNone: () => status,
          onSome: Effect.succeed
        })
      ),
      snapshot: look(() => Option.map(state.credentials, (c) => Snapshot.fromCredentials(c, { provider }))),
      profile: Effect.gen(function* () {
        yield* access.getAccessToken
        const credentials = Option.getOrThrow(state.credentials)
        const profile = yield* Option.match(profiles, {
          onNone: () => Effect.succeed(Profile.fromCredentials(provider, credentials)),
          onSome: (source) => source.fetch(credentials)
        })
        state.profile = Option.some(profile)
        return profile
      }),
      cachedProfile: Effect.sync(() =>
        Option.orElse(state.profile, () =>
          Option.map(state.credentials, (c) =>
            Option.match(profiles, {
              onNone: () => Profile.fromCredentials(provider, c),
              onSome: (source) => source.quick(c)
            })
          )
        )
      ),
      explain: Effect.map(Clock.currentTimeMillis, (now) => {
        const decision = state.decide(now, Decision.anyValid)
        return {
          decision,
          text: Decision.describe(decision, now),
          status: currentStatus(now),
          location: storage.location
        }
      }),
      events: Stream.fromPubSub(hub)
    }
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

const closedMessage = "The manager's scope is closed: ask within the life of its layer."

const closedManager: Effect.Effect<never, RefreshUnavailable> = Effect.flatMap(
  Clock.currentTimeMillis,
  (now) => new RefreshUnavailable({ reason: "Closed", retryAt: now, message: closedMessage })
)

const closedStorage = (location: string): StorageError =>
  new StorageError({ reason: "Unavailable", operation: "load", location, message: closedMessage })

/** Another writer's change makes what is in memory stale. */
const watch = ({ emit, state, storage }: Parts): Effect.Effect<void> =>
  Option.match(storage.changes, {
    onNone: () => Effect.void,
    onSome: (changes) =>
      changes.pipe(
        Stream.runForEach(() => Effect.sync(() => state.stale())),
        Effect.catchAll((error) =>
          Effect.flatMap(Clock.currentTimeMillis, (at) =>
            emit(TokenEvent.StorageFailed({ at, reason: error.reason, operation: error.operation }))
          )
        )
      )
  })

/** How often a save is tried again over another writer's change. */
const maxSaveConflicts = 10

const save = (parts: Parts, credentials: Credentials, conflicts = 0): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    const { emit, state, storage } = parts
    const loaded = yield* storage.load
    const entry = Entry.saved(
      Option.map(loaded, (l) => l.entry),
      credentials
    )
    const saved = yield* storage
      .commit(
        entry,
        Option.map(loaded, (l) => l.version)
      )
      .pipe(
        Effect.flatMap((version) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            state.noteSaved(entry, version, now)
            return Option.some(now)
          })
        ),
        Effect.uninterruptible,
        Effect.catchTag("CommitRefused", (refused) =>
          conflicts < maxSaveConflicts
            ? Effect.succeedNone
            : Effect.fail(
                new StorageError({
                  reason: "Unavailable",
                  operation: "commit",
                  location: storage.location,
                  message: `${refused.message} Other writers were faster ${maxSaveConflicts} times.`
                })
              )
        )
      )
    if (Option.isNone(saved)) return yield* save(parts, credentials, conflicts + 1)
    yield* emit(
      TokenEvent.Saved({
        at: saved.value,
        generation: entry.generation,
        token: Fingerprint.of(credentials.accessToken)
      })
    )
  })

const clear = ({ emit, state, storage }: Parts): Effect.Effect<boolean, StorageError> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const existed = (yield* storage.remove) || Option.isSome(state.unsaved)
      state.reset()
      yield* emit(TokenEvent.Cleared({ at: yield* Clock.currentTimeMillis, existed }))
      return existed
    })
  )
