/** The service of one grant: a plain object of effects over the driver. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as AuthStatus from "./AuthStatus.js"
import type { Credentials } from "./Credentials.js"
import * as Callers from "./Callers.js"
import * as Flights from "./Flights.js"
import * as Grant from "./Grant.js"
import * as Entry from "./Entry.js"
import * as Decision from "./grant/Decision.js"
import * as Describe from "./grant/Describe.js"
import { mismatchOfLogin } from "./grant/Mismatch.js"
import * as State from "./grant/State.js"
import * as View from "./grant/View.js"
import * as Profile from "./Profile.js"
import * as Snapshot from "./Snapshot.js"
import { grantMismatch, type GrantMismatch, type TokenError } from "./TokenError.js"
import { identityOf } from "./TokenRefresher.js"
import { StorageError } from "./TokenStorage.js"
import type * as TokenEvent from "./TokenEvent.js"

/**
 * What `explain` returns: the decision as data and in words, its inputs, and what led to it. The only token
 * in it is in `decision`, where it is redacted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Explanation {
  readonly decision: Decision.Decision
  /** If the decision is to read storage: what follows if storage holds the same as memory. */
  readonly ifUnchanged: Option.Option<Decision.Decision>
  /** When there may be something else to do, in epoch milliseconds. None if nothing changes by itself. */
  readonly looksAgainAt: Option.Option<number>
  /** The whole explanation in one sentence. */
  readonly text: string
  readonly status: AuthStatus.AuthStatus
  readonly location: string
  /** The last events, oldest first: 32 for a manager, 4 for one in a pool. */
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
   * Whether they may replace a grant of another server, client, kind or account. Default: no. The replaced
   * grant is not revoked at its server. Revoke it before, if it should end.
   */
  readonly replace?: boolean | undefined
}

/**
 * What a manager does. Tokens are `Redacted`. Instants are epoch milliseconds.
 *
 * Reads (`credentials`, `status`, `snapshot`, `peekAccessToken` …) go to storage if memory is older than the
 * credentials TTL or the token in it has expired. While storage fails, memory is served for as long as its
 * token is valid.
 *
 * @since 0.1.0
 * @category models
 */
export interface Manager {
  /** Where the grant is stored. */
  readonly location: string
  /**
   * Returns a token that is valid now, and refreshes first if the token is due. If a refresh fails or is slow
   * within the grace, it returns the token that is still valid.
   */
  readonly getAccessToken: Effect.Effect<Redacted.Redacted, TokenError>
  /** Like `getAccessToken`, for a token that stays valid for at least `minValidity` from now. */
  readonly getAccessTokenFor: (options: {
    readonly minValidity: Duration.DurationInput
  }) => Effect.Effect<Redacted.Redacted, TokenError>
  /** Returns the token if there is one that has not expired. Never refreshes. */
  readonly peekAccessToken: Effect.Effect<Option.Option<Redacted.Redacted>, StorageError | GrantMismatch>
  /** Returns the token in memory if it can be served without a decision. For code outside Effect. No I/O. */
  readonly unsafePeek: () => Option.Option<Redacted.Redacted>
  /**
   * Returns a new token in any case. Joins a refresh that is running. It ignores the cool-down of this
   * process. It respects the wait that the server asked for, and the back-off that everyone who shares the
   * grant keeps after a 429 or 503 that named no time.
   */
  readonly refresh: Effect.Effect<Redacted.Redacted, TokenError>
  /**
   * Call this after a resource server answered 401 to this token. Returns another token, and refreshes only
   * if the given one is still current. Fresh tokens that are rejected repeatedly start a cool-down.
   */
  readonly reject: (token: Redacted.Redacted) => Effect.Effect<Redacted.Redacted, TokenError>
  /** Returns the credentials, expired or not. */
  readonly credentials: Effect.Effect<Option.Option<Credentials>, StorageError | GrantMismatch>
  /**
   * Stores the credentials of a login, with the refresher's server and client. Fails with `GrantMismatch` if
   * it would replace a grant of another identity or account, unless `replace` is set.
   */
  readonly save: (
    credentials: Credentials,
    options?: SaveOptions
  ) => Effect.Effect<void, StorageError | GrantMismatch>
  /** Removes the grant. Returns whether there was one. It does not revoke the grant at the server. */
  readonly clear: Effect.Effect<boolean, StorageError>
  /** Drops what is in memory. Keeps a rotation that could not be saved yet. */
  readonly invalidate: Effect.Effect<void>
  /** Whether there is an access token that has not expired, from a grant that this client may use. */
  readonly isAuthenticated: Effect.Effect<boolean, StorageError>
  /** The same as `isAuthenticated`, under the name that other libraries use. */
  readonly validate: Effect.Effect<boolean, StorageError>
  readonly status: Effect.Effect<AuthStatus.AuthStatus, StorageError>
  /** Returns the last status while nothing has changed, for at most the status TTL. */
  readonly cachedStatus: Effect.Effect<AuthStatus.AuthStatus, StorageError>
  readonly snapshot: Effect.Effect<Option.Option<Snapshot.Snapshot>, StorageError>
  /**
   * Returns the account's profile from its `ProfileSource`, or from the credentials alone if there is none.
   */
  readonly profile: Effect.Effect<Profile.Profile, TokenError | Profile.ProfileError>
  /** Returns the last profile, or the one from the credentials in memory. No I/O. */
  readonly cachedProfile: Effect.Effect<Option.Option<Profile.Profile>>
  /** Explains what `getAccessToken` would do now, and why, and what happened last. No I/O. */
  readonly explain: Effect.Effect<Explanation>
  /** Emits what happens from now on. A slow reader misses the oldest events. */
  readonly events: Stream.Stream<TokenEvent.TokenEvent>
}

/** What the manager shows beyond the grant. */
export interface Options {
  readonly provider: string
  readonly snapshotExtras?: (credentials: Credentials) => Snapshot.Snapshot["extras"]
  readonly profiles: Option.Option<Context.Tag.Service<Profile.ProfileSource>>
}

/** How many events a slow reader may be behind. */
const eventBacklog = 256

export const make = (grant: Grant.Grant, options: Options): Manager => {
  const { context } = grant
  const storage = context.storageOf(grant.account)
  const policy = () => Grant.policyOf(grant)
  const view = <A>(of: (now: number) => A): Effect.Effect<A, StorageError> =>
    Effect.andThen(Callers.look(grant), Effect.map(Clock.currentTimeMillis, of))
  /** Applies the function if the grant may be used. */
  const use = <A>(of: (now: number) => A): Effect.Effect<A, StorageError | GrantMismatch> =>
    Effect.flatMap(
      view((now) => now),
      (now): Effect.Effect<A, GrantMismatch> =>
        Option.match(View.mismatchOf(policy(), grant.state), {
          onNone: () => Effect.sync(() => of(now)),
          onSome: (mismatch) => grantMismatch(mismatch, storage.location, "use")
        })
    )
  const isOurs = () => Option.isNone(View.mismatchOf(policy(), grant.state))
  const credentials = () => State.credentialsOf(grant.state)
  const getAccessToken = Callers.accessToken(grant, Decision.anyValid)
  const isAuthenticated = view((now) => isOurs() && View.hasValidToken(policy(), grant.state, now))
  const keptStatus = Effect.tap(status(grant), (current) =>
    Effect.map(Clock.currentTimeMillis, (at) => {
      grant.status = { status: current, at, of: grant.state }
    })
  )
  const profile: Manager["profile"] = Effect.suspend(() =>
    Effect.flatMap(getAccessToken, () => {
      const { writes } = grant.state
      // The grant was cleared or dropped from memory after the token was returned.
      return Option.match(credentials(), {
        onNone: () => profile,
        onSome: (c) =>
          Effect.tap(fetchProfile(options, c), (fetched) =>
            Effect.sync(() => {
              // The grant may have been cleared or replaced meanwhile.
              if (grant.state.writes === writes) grant.profile = { profile: fetched, writes }
            })
          )
      })
    })
  )
  return {
    location: storage.location,
    getAccessToken,
    getAccessTokenFor: ({ minValidity }) =>
      Callers.resolve(grant, { force: false, minValidity: Duration.toMillis(minValidity) }),
    refresh: Callers.resolve(grant, { force: true, minValidity: 0 }),
    peekAccessToken: use((now) =>
      Option.map(
        Option.filter(credentials(), () => View.hasValidToken(policy(), grant.state, now)),
        (c) => c.accessToken
      )
    ),
    unsafePeek: () => peek(grant, context.clock.unsafeCurrentTimeMillis()),
    reject: (token) =>
      use(() => undefined).pipe(
        Effect.andThen(Grant.tell(grant, { _tag: "Rejected", token })),
        Effect.andThen(Callers.resolve(grant, Decision.anyValid))
      ),
    credentials: use(credentials),
    save: (login, saving = {}) => save(grant, login, saving, 0),
    clear: Effect.uninterruptible(
      Effect.flatMap(storage.remove, (removed) =>
        Effect.suspend(() => {
          const existed = removed || Option.isSome(grant.state.uncommitted)
          return Effect.as(Grant.tellAndSettle(grant, { _tag: "Cleared", existed }), existed)
        })
      )
    ),
    invalidate: Grant.tell(grant, { _tag: "Invalidated" }),
    isAuthenticated,
    validate: isAuthenticated,
    status: keptStatus,
    cachedStatus: Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Option.match(cachedStatus(grant, now), { onNone: () => keptStatus, onSome: Effect.succeed })
    ),
    snapshot: view(() =>
      Option.map(credentials(), (c) => {
        const extras = options.snapshotExtras?.(c) ?? {}
        const snapshot = Snapshot.fromCredentials(c, { provider: options.provider, extras })
        return isOurs() ? snapshot : Snapshot.withoutTokens(snapshot)
      })
    ),
    profile,
    cachedProfile: Effect.sync(() =>
      grant.profile !== undefined && grant.profile.writes === grant.state.writes
        ? Option.some(grant.profile.profile)
        : Option.map(isOurs() ? credentials() : Option.none(), (c) => quickProfile(options, c))
    ),
    explain: Effect.map(Clock.currentTimeMillis, (now) => explain(grant, policy(), storage.location, now)),
    events: Stream.unwrapScoped(Effect.map(listen(grant), (hub) => Stream.fromPubSub(hub)))
  }
}

/** Returns the token in memory if it can be served without a decision. */
export const peek = (grant: Grant.Grant, now: number): Option.Option<Redacted.Redacted> =>
  Callers.isOpen(grant, now) ? grant.token : Option.none()

/** Returns the grant's status from memory, or from storage if memory is not fresh. */
export const status = (grant: Grant.Grant): Effect.Effect<AuthStatus.AuthStatus, StorageError> =>
  Effect.andThen(
    Callers.look(grant),
    Effect.map(Clock.currentTimeMillis, (now) => statusNow(grant, now))
  )

const statusNow = (grant: Grant.Grant, now: number): AuthStatus.AuthStatus =>
  statusOf(Grant.policyOf(grant), grant.state, now)

const statusOf = (policy: State.Policy, state: State.State, now: number): AuthStatus.AuthStatus =>
  AuthStatus.of(
    State.credentialsOf(state),
    now,
    View.warningsOf(policy, state, now),
    View.witnessOf(policy, state, now)
  )

/**
 * Returns the last status, if nothing has changed, it is within its time to live, and its token has not
 * expired since.
 */
const cachedStatus = (grant: Grant.Grant, now: number): Option.Option<AuthStatus.AuthStatus> => {
  const { state, status: kept } = grant
  if (kept === undefined || kept.of !== state) return Option.none()
  const hasExpired = kept.status.authenticated && Option.exists(kept.status.expiresAt, (at) => at <= now)
  return now >= kept.at && now - kept.at < grant.context.config.statusTtl && !hasExpired
    ? Option.some(kept.status)
    : Option.none()
}

const fetchProfile = ({ profiles, provider }: Options, credentials: Credentials) =>
  Option.match(profiles, {
    onNone: () => Effect.succeed(Profile.fromCredentials(provider, credentials)),
    onSome: (source) => source.fetch(credentials)
  })

const quickProfile = ({ profiles, provider }: Options, credentials: Credentials) =>
  Option.match(profiles, {
    onNone: () => Profile.fromCredentials(provider, credentials),
    onSome: (source) => source.quick(credentials)
  })

const explain = (
  { history, state }: Grant.Grant,
  policy: State.Policy,
  location: string,
  now: number
): Explanation => {
  const decision = View.decide(policy, state, now, Decision.anyValid)
  const ifUnchanged =
    decision._tag === "Reload" && decision.reason !== "NotLoaded"
      ? Option.some(View.judge(policy, state, now, Decision.anyValid))
      : Option.none()
  const then = Option.match(ifUnchanged, {
    onNone: () => "",
    onSome: (next) => `; if storage has not changed, ${Describe.describe(next, now)}`
  })
  const grace = Option.match(State.credentialsOf(state), {
    onNone: () => "",
    onSome: (c) => Describe.describeGrace(c, policy.grace)
  })
  return {
    decision,
    ifUnchanged,
    looksAgainAt: Decision.looksAgainAt(decision, now),
    text: Describe.describe(decision, now) + then + grace,
    status: statusOf(policy, state, now),
    location,
    history
  }
}

/** The hub of a grant's events, created for the first subscriber and dropped after the last one. */
const listen = (grant: Grant.Grant) =>
  Effect.acquireRelease(
    Effect.flatMap(PubSub.sliding<TokenEvent.TokenEvent>(eventBacklog), (hub) =>
      Effect.sync(() => {
        const events = (grant.events ??= { hub, listeners: 0 })
        events.listeners++
        return events.hub
      })
    ),
    () =>
      Effect.sync(() => {
        if (grant.events !== undefined && --grant.events.listeners === 0) grant.events = undefined
      })
  )

/** How often a save is retried after another writer's change. */
const maxSaveConflicts = 10

const save = (
  grant: Grant.Grant,
  login: Credentials,
  options: SaveOptions,
  conflicts: number
): Effect.Effect<void, StorageError | GrantMismatch> =>
  Effect.gen(function* () {
    const storage = grant.context.storageOf(grant.account)
    // A place without a grant has room for one. An API key beside it stays.
    const loaded = yield* Effect.catchIf(
      storage.load,
      (error) => error.reason === "NoGrant",
      () => Effect.succeedNone
    )
    const previous = Option.map(loaded, (l) => l.entry)
    const { refresher } = grant.context
    const identity = identityOf(refresher, login)
    if (options.replace !== true && Option.isSome(previous)) {
      const other = mismatchOfLogin(previous.value, login, identity, refresher.formerly)
      if (Option.isSome(other)) return yield* grantMismatch(other.value, storage.location, "save")
    }
    const entry = Entry.saved(previous, login, identity)
    const expected = Option.map(loaded, (l) => l.version)
    const { writes } = grant.state
    const isSaved = yield* storage.commit(entry, expected).pipe(
      Effect.flatMap((version) => Grant.tellAndSettle(grant, { _tag: "Saved", entry, version, writes })),
      Effect.as(true),
      Effect.uninterruptible,
      Effect.catchTag("CommitRefused", (refused) =>
        conflicts < maxSaveConflicts
          ? Effect.succeed(false)
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
    if (!isSaved) return yield* save(grant, login, options, conflicts + 1)
    // Memory changed meanwhile, so read storage. If that fails, the next caller reads again.
    if (grant.state.memory._tag !== "Read" || grant.state.memory.at === -Infinity) yield* Callers.read(grant)
  })

/** A change by another writer makes memory stale. */
export const watch = (grant: Grant.Grant): Effect.Effect<void> => {
  const changed = Grant.tell(grant, { _tag: "Changed" })
  return Option.match(grant.context.storageOf(grant.account).changes, {
    onNone: () => Effect.void,
    onSome: (changes) =>
      Flights.watchChanges(changes, {
        changed: () => changed,
        missed: changed,
        failed: (error) => Grant.tell(grant, { _tag: "ObserveFailed", error })
      })
  })
}
