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
import * as Driver from "./Driver.js"
import * as Entry from "./Entry.js"
import * as Decision from "./grant/Decision.js"
import * as Describe from "./grant/Describe.js"
import * as State from "./grant/State.js"
import * as View from "./grant/View.js"
import * as Profile from "./Profile.js"
import * as Snapshot from "./Snapshot.js"
import { grantMismatch, type GrantMismatch } from "./TokenError.js"
import { identityOf } from "./TokenRefresher.js"
import type { Explanation, Manager, SaveOptions } from "./TokenManager.js"
import { StorageError } from "./TokenStorage.js"
import type * as TokenEvent from "./TokenEvent.js"

/** What the manager shows beyond the grant. */
export interface Options {
  readonly provider: string
  readonly snapshotExtras?: (credentials: Credentials) => Snapshot.Snapshot["extras"]
  readonly profiles: Option.Option<Context.Tag.Service<Profile.ProfileSource>>
}

/** How many events a slow reader may be behind. */
const eventBacklog = 256

export const make = (grant: Driver.Grant, options: Options): Manager => {
  const { context } = grant
  const storage = context.storageOf(grant.account)
  const policy = () => Driver.policyOf(grant)
  const view = <A>(of: (now: number) => A): Effect.Effect<A, StorageError> =>
    Effect.andThen(Driver.look(grant), Effect.map(Clock.currentTimeMillis, of))
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
  const getAccessToken = Driver.accessToken(grant, Decision.anyValid)
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
      Driver.resolve(grant, { force: false, minValidity: Duration.toMillis(minValidity) }),
    refresh: Driver.resolve(grant, { force: true, minValidity: 0 }),
    peekAccessToken: use((now) =>
      Option.map(
        Option.filter(credentials(), () => View.hasValidToken(policy(), grant.state, now)),
        (c) => c.accessToken
      )
    ),
    unsafePeek: () => peek(grant, context.clock.unsafeCurrentTimeMillis()),
    reject: (token) =>
      use(() => undefined).pipe(
        Effect.andThen(Driver.tell(grant, { _tag: "Rejected", token })),
        Effect.andThen(Driver.resolve(grant, Decision.anyValid))
      ),
    credentials: use(credentials),
    save: (login, saving = {}) => save(grant, login, saving, 0),
    clear: Effect.uninterruptible(
      Effect.flatMap(storage.remove, (removed) =>
        Effect.suspend(() => {
          const existed = removed || Option.isSome(grant.state.uncommitted)
          return Effect.as(Driver.tellAndSettle(grant, { _tag: "Cleared", existed }), existed)
        })
      )
    ),
    invalidate: Driver.tell(grant, { _tag: "Invalidated" }),
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
export const peek = (grant: Driver.Grant, now: number): Option.Option<Redacted.Redacted> =>
  Driver.isOpen(grant, now)
    ? Option.map(State.credentialsOf(grant.state), (c) => c.accessToken)
    : Option.none()

/** The grant's status by what is in memory, or in storage where memory is not fresh. */
export const status = (grant: Driver.Grant): Effect.Effect<AuthStatus.AuthStatus, StorageError> =>
  Effect.andThen(
    Driver.look(grant),
    Effect.map(Clock.currentTimeMillis, (now) => statusNow(grant, now))
  )

const statusNow = (grant: Driver.Grant, now: number): AuthStatus.AuthStatus =>
  statusOf(Driver.policyOf(grant), grant.state, now)

const statusOf = (policy: State.Policy, state: State.State, now: number): AuthStatus.AuthStatus =>
  AuthStatus.of(
    State.credentialsOf(state),
    now,
    View.warningsOf(policy, state, now),
    View.witnessOf(policy, state, now)
  )

/** The last status, while nothing changed, it is younger than its time to live, and its token has not expired since. */
const cachedStatus = (grant: Driver.Grant, now: number): Option.Option<AuthStatus.AuthStatus> => {
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
  { history, state }: Driver.Grant,
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
    onSome: (next) => `; if that holds the same, ${Describe.describe(next, now)}`
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
const listen = (grant: Driver.Grant) =>
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
  grant: Driver.Grant,
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
      const other = Entry.mismatchOfLogin(previous.value, login, identity, refresher.formerly)
      if (Option.isSome(other)) return yield* grantMismatch(other.value, storage.location, "save")
    }
    const entry = Entry.saved(previous, login, identity)
    const expected = Option.map(loaded, (l) => l.version)
    const { writes } = grant.state
    const isSaved = yield* storage.commit(entry, expected).pipe(
      Effect.flatMap((version) => Driver.tellAndSettle(grant, { _tag: "Saved", entry, version, writes })),
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
    if (grant.state.memory._tag !== "Read" || grant.state.memory.at === -Infinity) yield* Driver.read(grant)
  })

/** Another writer's change makes what is in memory stale. */
export const watch = (grant: Driver.Grant): Effect.Effect<void> => {
  const changed = Driver.tell(grant, { _tag: "Changed" })
  return Option.match(grant.context.storageOf(grant.account).changes, {
    onNone: () => Effect.void,
    onSome: (changes) =>
      Driver.watchChanges(changes, {
        changed: () => changed,
        missed: changed,
        failed: (error) => Driver.tell(grant, { _tag: "ObserveFailed", error })
      })
  })
}
