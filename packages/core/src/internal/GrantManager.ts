/** The manager's doors to one grant: what a user of the library holds. Small, so that many may be held. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as AuthStatus from "../AuthStatus.js"
import type { Credentials } from "../Credentials.js"
import * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import * as GrantIdentity from "../GrantIdentity.js"
import * as Profile from "../Profile.js"
import * as Snapshot from "../Snapshot.js"
import { grantMismatch, type GrantMismatch, type TokenError } from "../TokenError.js"
import * as TokenEvent from "../TokenEvent.js"
import { identityOf } from "../TokenRefresher.js"
import type { Explanation, Manager, SaveOptions } from "../TokenManager.js"
import { StorageError } from "../TokenStorage.js"
import * as Access from "./Access.js"
import type { Grant } from "./Grant.js"
import * as HeldLease from "./HeldLease.js"
import { reload, storageFailed, warn } from "./StoredGrant.js"
import { saveAtLast } from "./Saver.js"
import * as Watching from "./Watching.js"

export class GrantManager implements Manager {
  readonly getAccessToken: Effect.Effect<Redacted.Redacted, TokenError>
  readonly #grant: Grant

  constructor(grant: Grant) {
    this.#grant = grant
    this.getAccessToken = Access.fast(grant)
  }

  get location(): string {
    return this.#grant.storage.location
  }
  get getAccessTokenFor(): Manager["getAccessTokenFor"] {
    return ({ minValidity }) =>
      Access.resolve(this.#grant, { force: false, minValidity: Duration.toMillis(minValidity) })
  }
  get refresh(): Effect.Effect<Redacted.Redacted, TokenError> {
    return Access.resolve(this.#grant, { force: true, minValidity: 0 })
  }
  get peekAccessToken(): Manager["peekAccessToken"] {
    return this.#use((now) =>
      this.#grant.state.isExpired(now)
        ? Option.none()
        : Option.map(this.#grant.state.credentials, (c) => c.accessToken)
    )
  }
  get unsafePeek(): Manager["unsafePeek"] {
    return () => peek(this.#grant, this.#grant.setting.clock.unsafeCurrentTimeMillis())
  }
  get reject(): Manager["reject"] {
    const grant = this.#grant
    return (token) =>
      Effect.flatMap(
        this.#use((now) => ({ at: now, current: grant.state.reject(token, now) })),
        ({ at, current }) =>
          current
            ? Effect.zipRight(
                grant.emit(TokenEvent.Rejected({ at, token: Fingerprint.of(token) })),
                Access.resolve(grant, Decision.anyValid)
              )
            : this.getAccessToken
      )
  }
  get credentials(): Manager["credentials"] {
    return this.#use(() => this.#grant.state.credentials)
  }
  get save(): Manager["save"] {
    return (credentials, options = {}) =>
      Effect.ensuring(save(this.#grant, credentials, options), this.#looked)
  }
  get clear(): Manager["clear"] {
    return Effect.ensuring(clear(this.#grant), this.#looked)
  }
  get invalidate(): Effect.Effect<void> {
    return Effect.sync(() => this.#grant.state.invalidate())
  }
  get isAuthenticated(): Effect.Effect<boolean, StorageError> {
    const { state } = this.#grant
    return this.#look(
      (now) => Option.isNone(state.mismatch) && Option.isSome(state.credentials) && !state.isExpired(now)
    )
  }
  get validate(): Effect.Effect<boolean, StorageError> {
    return this.isAuthenticated
  }
  get status(): Manager["status"] {
    return statusKept(this.#grant)
  }
  get cachedStatus(): Manager["status"] {
    const { config, state } = this.#grant
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Option.match(state.cachedStatus(now, config.statusTtl), {
        onNone: () => this.status,
        onSome: Effect.succeed
      })
    )
  }
  get snapshot(): Manager["snapshot"] {
    const { setting, state } = this.#grant
    return this.#look(() =>
      Option.map(state.credentials, (c) => {
        const snapshot = Snapshot.fromCredentials(c, {
          provider: setting.provider,
          extras: setting.snapshotExtras?.(c) ?? {}
        })
        return Option.isNone(state.mismatch) ? snapshot : Snapshot.withoutTokens(snapshot)
      })
    )
  }
  get profile(): Manager["profile"] {
    const { setting, state } = this.#grant
    return Effect.gen(this, function* () {
      yield* this.getAccessToken
      const { credentials: found, epoch } = state
      // Cleared, or dropped from memory, since the token was there.
      if (Option.isNone(found)) return yield* this.profile
      const credentials = found.value
      const profile = yield* Option.match(setting.profiles, {
        onNone: () => Effect.succeed(Profile.fromCredentials(setting.provider, credentials)),
        onSome: (source) => source.fetch(credentials)
      })
      // Meanwhile the grant may have been cleared, or another be in its place.
      if (state.epoch === epoch) state.profile = Option.some(profile)
      return profile
    })
  }
  get cachedProfile(): Manager["cachedProfile"] {
    const { setting, state } = this.#grant
    return Effect.sync(() =>
      Option.orElse(state.profile, () =>
        Option.map(Option.isNone(state.mismatch) ? state.credentials : Option.none(), (c) =>
          Option.match(setting.profiles, {
            onNone: () => Profile.fromCredentials(setting.provider, c),
            onSome: (source) => source.quick(c)
          })
        )
      )
    )
  }
  get explain(): Effect.Effect<Explanation> {
    return Effect.map(Clock.currentTimeMillis, (now) => explain(this.#grant, now))
  }
  get events(): Manager["events"] {
    return Stream.unwrapScoped(Effect.map(this.#grant.events, (hub) => Stream.fromPubSub(hub)))
  }

  #look<A>(view: (now: number) => A): Effect.Effect<A, StorageError> {
    return Effect.zipRight(Access.look(this.#grant), Effect.map(Clock.currentTimeMillis, view))
  }
  /** The same, where the grant is ours to use. */
  #use<A>(view: (now: number) => A): Effect.Effect<A, StorageError | GrantMismatch> {
    const { state, storage } = this.#grant
    return Effect.flatMap(
      this.#look((now) => now),
      (now): Effect.Effect<A, GrantMismatch> =>
        Option.match(state.mismatch, {
          onNone: () => Effect.sync(() => view(now)),
          onSome: (mismatch) => grantMismatch(mismatch, storage.location, "use")
        })
    )
  }
  get #looked(): Effect.Effect<void> {
    const grant = this.#grant
    return Effect.zipRight(
      HeldLease.releaseIfSettled(grant),
      Effect.sync(() => grant.noteLooked())
    )
  }
}

/** The token in memory, if it can be served without a thought. */
export const peek = ({ state: { door } }: Grant, now: number): Option.Option<Redacted.Redacted> =>
  Access.isOpen(door, now) ? door.token : Option.none()

/** The grant's status by what is in memory, or in storage where that is stale. */
export const status = (grant: Grant): Effect.Effect<AuthStatus.AuthStatus, StorageError> =>
  Effect.zipRight(
    Access.look(grant),
    Effect.map(Clock.currentTimeMillis, (now) => statusNow(grant, now))
  )

/** Kept for those who are content with one that is a while old. */
const statusKept = (grant: Grant): Effect.Effect<AuthStatus.AuthStatus, StorageError> =>
  Effect.tap(status(grant), (current) =>
    Effect.map(Clock.currentTimeMillis, (at) => {
      grant.state.status = Option.some({ status: current, at })
    })
  )

const statusNow = ({ state }: Grant, now: number) =>
  AuthStatus.of(state.credentials, now, state.warnings(now), state.witness)

const explain = (grant: Grant, now: number): Explanation => {
  const { history, state, storage } = grant
  const decision = state.decide(now, Decision.anyValid)
  const ifUnchanged =
    decision._tag === "Reload" && decision.reason !== "NotLoaded"
      ? Option.some(state.judge(now, Decision.anyValid))
      : Option.none()
  const then = Option.match(ifUnchanged, {
    onNone: () => "",
    onSome: (next) => `; if that holds the same, ${Decision.describe(next, now)}`
  })
  return {
    decision,
    ifUnchanged,
    looksAgainAt: Decision.looksAgainAt(decision, now),
    text: Decision.describe(decision, now) + then + state.graceClamped,
    status: statusNow(grant, now),
    location: storage.location,
    history
  }
}

/** The end of a grant's life in this process, after its flights; what is unsaved is tried to be saved up to `until`. */
export const close = (grant: Grant, until: number): Effect.Effect<void> =>
  Effect.zipRight(
    Effect.zipRight(
      saveAtLast(grant, until),
      Effect.suspend(() => grant.sight.countUnsaved(false))
    ),
    Effect.suspend(() => (grant.hub === undefined ? Effect.void : PubSub.shutdown(grant.hub)))
  )

/** Another writer's change makes what is in memory stale. */
export const watch = (grant: Grant): Effect.Effect<void> =>
  Option.match(grant.storage.changes, {
    onNone: () => Effect.void,
    onSome: (changes) =>
      Watching.watch(changes, {
        note: () => grant.noteChange(),
        missed: () => grant.noteChange(),
        failed: (error) => storageFailed(grant, error)
      })
  })

/** How often a save is tried again over another writer's change. */
const maxSaveConflicts = 10

const save = (
  parts: Grant,
  credentials: Credentials,
  options: SaveOptions,
  conflicts = 0
): Effect.Effect<void, StorageError | GrantMismatch> =>
  Effect.gen(function* () {
    const { emit, refresher, state, storage } = parts
    // What holds no grant has room for one: an API key beside it stays.
    const loaded = yield* Effect.catchIf(
      storage.load,
      (error) => error.reason === "NoGrant",
      () => Effect.succeedNone
    )
    const previous = Option.map(loaded, (l) => l.entry)
    const identity = identityOf(refresher, credentials)
    if (options.replace !== true && Option.isSome(previous)) {
      const other = mismatchOf(identity, refresher.formerly, previous.value, credentials)
      if (Option.isSome(other)) return yield* grantMismatch(other.value, storage.location, "save")
    }
    const entry = Entry.saved(previous, credentials, identity)
    const { epoch } = state
    const saved = yield* storage
      .commit(
        entry,
        Option.map(loaded, (l) => l.version)
      )
      .pipe(
        Effect.flatMap((version) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const isLast = state.noteSaved(entry, version, now, epoch)
            return Option.some({ at: now, isLast })
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
    if (Option.isNone(saved)) return yield* save(parts, credentials, options, conflicts + 1)
    // Where that fails, memory has what was read before, and the next who asks reads again.
    if (!saved.value.isLast) yield* Effect.ignore(reload(parts))
    yield* warn(parts, credentials)
    yield* emit(
      TokenEvent.Saved({
        at: saved.value.at,
        generation: entry.generation,
        token: Fingerprint.of(credentials.accessToken)
      })
    )
  })

/** In what the grant that is there differs from a login, of which is known whom it is with, and perhaps whose. */
const mismatchOf = (
  identity: Option.Option<GrantIdentity.GrantIdentity>,
  formerly: ReadonlyArray<string> | undefined,
  stored: Entry.Entry,
  login: Credentials
): Option.Option<GrantIdentity.Mismatch> =>
  Option.orElse(
    Option.flatMap(identity, (current) => Entry.mismatch(stored, current, formerly)),
    () => GrantIdentity.compareAccounts(stored.credentials.accountId, login.accountId)
  )

const clear = ({ emit, state, storage }: Grant): Effect.Effect<boolean, StorageError> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const existed = (yield* storage.remove) || Option.isSome(state.unsaved)
      state.reset()
      yield* emit(TokenEvent.Cleared({ at: yield* Clock.currentTimeMillis, existed }))
      return existed
    })
  )
