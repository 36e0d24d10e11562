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
 * What `explain` tells: the decision as data and in words, what it was made on, and what led to it. Holds no
 * token but in `decision`, where it is redacted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Explanation {
  readonly decision: Decision.Decision
  /** Where the decision is to read storage: what comes after, if storage holds what is in memory. */
  readonly ifUnchanged: Option.Option<Decision.Decision>
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
  /** The same, where the grant is ours to use. */
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
      // Cleared, or dropped from memory, since the token was there.
      return Option.match(credentials(), {
        onNone: () => profile,
        onSome: (c) =>
          Effect.tap(fetchProfile(options, c), (fetched) =>
            Effect.sync(() => {
              // Meanwhile the grant may have been cleared, or another be in its place.
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

/** The token in memory, if it can be served without a decision. */
export const peek = (grant: Grant.Grant, now: number): Option.Option<Redacted.Redacted> =>
  Callers.isOpen(grant, now)
    ? Option.map(State.credentialsOf(grant.state), (c) => c.accessToken)
    : Option.none()

/** The grant's status by what is in memory, or in storage where memory is not fresh. */
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

/** The last status, while nothing changed, it is younger than its time to live, and its token has not expired since. */
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

/** The hub of a grant's events: made when somebody listens, and dropped when nobody does any more. */
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

/** How often a save is tried again over another writer's change. */
const maxSaveConflicts = 10

const save = (
  grant: Grant.Grant,
  login: Credentials,
  options: SaveOptions,
  conflicts: number
): Effect.Effect<void, StorageError | GrantMismatch> =>
  Effect.gen(function* () {
    const storage = grant.context.storageOf(grant.account)
    // What holds no grant has room for one: an API key beside it stays.
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
    // Something else was taken in meanwhile: storage is read; where that fails, the next who asks reads again.
    if (grant.state.memory._tag !== "Read" || grant.state.memory.at === -Infinity) yield* Callers.read(grant)
  })

/** Another writer's change makes what is in memory stale. */
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
