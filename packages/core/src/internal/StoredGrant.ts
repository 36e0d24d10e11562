/**
 * The stored entry of a grant, as one manager reads and writes it: taken in, a rotation saved, the intent noted and
 * taken back. Each write is a compare-and-set on what was read before.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import type { Lease, RefreshLease } from "../RefreshLease.js"
import type * as Rotation from "../RotationPolicy.js"
import type { TokenConfig } from "../TokenConfig.js"
import type { TokenError } from "../TokenError.js"
import * as TokenEvent from "../TokenEvent.js"
import type { TokenRefresher } from "../TokenRefresher.js"
import { StorageError, type TokenStorage, type Version, type Versioned } from "../TokenStorage.js"
import type { GrantState } from "./GrantState.js"
import type { Kept } from "./HeldLease.js"
import { nowOf } from "./Now.js"
import { unavailable } from "./NoToken.js"
import type { Signal } from "./Signal.js"

/** What a manager works with. */
export interface Parts {
  readonly account: string
  readonly state: GrantState
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<RefreshLease>
  readonly refresher: Context.Tag.Service<TokenRefresher>
  readonly config: Context.Tag.Service<TokenConfig>
  /** Raised when storage may have changed; none where nobody tells of that. */
  readonly changed: Option.Option<Signal>
  readonly emit: (event: TokenEvent.TokenEvent) => Effect.Effect<void>
  /** Told when the refresh that a fiber runs has its lease. */
  readonly leased: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => void
  /** Answers those who wait for the refresh under way, and those who join it from now on. */
  readonly releaseCallers: (end: Effect.Effect<never, TokenError>) => void
  /** The first attempt to save the last rotation, which may still be under way. */
  commit: Fiber.Fiber<void> | undefined
  /** The lease of a refresh whose outcome storage did not take yet; see HeldLease. */
  kept: Kept | undefined
  /** The highest fence under which storage refused to save: the lease that it came from is another's by now. */
  fencedOff: number
  /** What became of a refresh without a rotation and is to be written yet. */
  owed: Effect.Effect<void, StorageError> | undefined
}

/** How often a writer in our way is answered by reading again before we give up for now. */
export const maxConflicts = 5

/** Reads storage and takes in what it holds; again, where this manager wrote in the meantime. */
export const reload = (parts: Parts): Effect.Effect<void, StorageError> =>
  Effect.withFiberRuntime((fiber) => {
    const { state, storage } = parts
    const { epoch } = state
    return Effect.matchEffect(storage.load, {
      onFailure: (error) => Effect.zipRight(storageFailed(parts, error), Effect.fail(error)),
      onSuccess: (loaded) => (state.epoch === epoch ? takeIn(parts, loaded, nowOf(fiber)) : reload(parts))
    })
  })

const takeIn = (
  parts: Parts,
  loaded: Option.Option<Versioned>,
  at: number
): Effect.Effect<void, StorageError> => {
  const { emit, state, storage } = parts
  const had = state.credentials
  const noted = state.note(loaded, at)
  if (noted === "RolledBack") {
    const error = new StorageError({
      reason: "RolledBack",
      operation: "load",
      location: storage.location,
      message:
        `${storage.location} went back to an earlier state of this grant, whose refresh token is spent; ` +
        "it was not used. Restore the newer state, or log in again."
    })
    return Effect.zipRight(storageFailed(parts, error), Effect.fail(error))
  }
  if (noted === "Changed" && Option.isSome(state.mismatch)) {
    return emit(TokenEvent.GrantMismatch({ at, reason: state.mismatch.value.difference }))
  }
  return noted === "Changed" && Option.isSome(had) && Option.isSome(state.entry)
    ? emit(TokenEvent.Adopted({ at, ...identify(state.entry.value) }))
    : Effect.void
}

/** What was wrong with the response that brought these credentials, as events. */
export const warn = (
  parts: Pick<Parts, "emit">,
  credentials: Credentials.Credentials
): Effect.Effect<void> => {
  const ignored = Credentials.warnings(credentials)
  return ignored.length === 0
    ? Effect.void
    : Effect.flatMap(Clock.currentTimeMillis, (at) =>
        Effect.forEach(ignored, (warning) => parts.emit(TokenEvent.ResponseWarning({ at, ...warning })), {
          discard: true
        })
      )
}

/** Tells of it as an event. */
export const storageFailed = (parts: Parts, error: StorageError): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (at) =>
    parts.emit(TokenEvent.StorageFailed({ at, reason: error.reason, operation: error.operation }))
  )

const identify = (entry: Entry.Entry) => ({
  generation: entry.generation,
  token: Fingerprint.of(entry.credentials.accessToken)
})

/**
 * Writes a rotation that storage does not hold yet. Where another writer was first, what it wrote is read:
 * newer credentials are adopted, and anything else is written over.
 */
export const saveUnsaved = (parts: Parts, fence: number): Effect.Effect<void, StorageError> =>
  Effect.uninterruptible(
    // Without a version, storage that another cleared would be taken for one that was never written.
    Effect.suspend(() =>
      parts.state.isForgotten ? Effect.zipRight(reload(parts), trySave(parts, fence)) : trySave(parts, fence)
    )
  )

const trySave = (parts: Parts, fence: number, attempt = 0): Effect.Effect<void, StorageError> =>
  Effect.withFiberRuntime((fiber) => {
    const { emit, state, storage } = parts
    if (Option.isNone(state.unsaved)) return Effect.void
    const entry = new Entry.Entry({ ...state.unsaved.value.entry, fence })
    const { epoch } = state
    return Effect.matchEffect(storage.commit(entry, state.version), {
      onSuccess: (version) => {
        const at = nowOf(fiber)
        state.noteOwnCommit(entry, version, at, epoch)
        return emit(TokenEvent.Saved({ at, ...identify(entry) }))
      },
      onFailure: (error) => {
        if (error._tag === "CommitRefused" && error.reason === "Conflict" && attempt < maxConflicts) {
          return Effect.zipRight(
            reload(parts),
            Effect.suspend(() =>
              Option.isNone(state.unsaved) && Option.exists(state.entry, (held) => isSame(held, entry))
                ? // An earlier commit of ours went through, and only its result was lost.
                  emit(TokenEvent.Saved({ at: nowOf(fiber), ...identify(entry) }))
                : trySave(parts, fence, attempt + 1)
            )
          )
        }
        const at = nowOf(fiber)
        if (error.reason === "Fenced") parts.fencedOff = Math.max(parts.fencedOff, fence)
        return Effect.zipRight(
          emit(TokenEvent.SaveFailed({ at, generation: entry.generation, reason: error.reason })),
          Effect.fail(error._tag === "StorageError" ? error : busy(storage.location, error.message))
        )
      }
    })
  })

const isSame = (a: Entry.Entry, b: Entry.Entry): boolean =>
  a.generation === b.generation &&
  Credentials.sameAccessToken(a.credentials, b.credentials) &&
  Credentials.sameRefreshToken(a.credentials, b.credentials)

const busy = (location: string, message: string): StorageError =>
  new StorageError({ reason: "Unavailable", operation: "commit", location, message })

/** One attempt to redeem a refresh token. */
export interface Attempt {
  /** What storage held before, and what it holds now: the same with our note, where there is a need of one. */
  readonly base: Option.Option<Entry.Entry>
  readonly intended: Option.Option<Entry.Entry>
  /** The note of an earlier refresh of the same token, whose answer nobody saw. */
  readonly before: Option.Option<Entry.Intent>
  /** What that makes of this attempt. */
  readonly lost: Option.Option<Rotation.Replay>
  readonly lease: Lease
}

/**
 * Notes what is about to be spent, which also proves that storage can be written. None where another
 * writer was first. Without a refresh token nothing is spent, and nothing is noted.
 */
export const writeIntent = (
  parts: Parts,
  base: Option.Option<Entry.Entry>,
  before: Option.Option<Entry.Intent>,
  expected: Option.Option<Version>,
  lease: Lease
): Effect.Effect<Option.Option<Option.Option<Entry.Entry>>, TokenError> =>
  Effect.withFiberRuntime((fiber) => {
    if (Option.isNone(base) || !parts.refresher.needsRefreshToken) return Effect.succeedSome(base)
    const { state, storage } = parts
    const now = nowOf(fiber)
    const fingerprint = Entry.grantFingerprint(base.value.credentials)
    const intent = new Entry.Intent({ fingerprint, at: now, attempt: attemptAfter(before) })
    const entry = new Entry.Entry({ ...base.value, fence: lease.fence, intent: Option.some(intent) })
    const { epoch } = state
    return Effect.uninterruptible(
      Effect.matchEffect(storage.commit(entry, expected), {
        onSuccess: (version) => {
          if (!state.noteOwnCommit(entry, version, now, epoch)) return Effect.succeedNone
          state.noteIntent(intent)
          return Effect.succeedSome(Option.some(entry))
        },
        onFailure: (error): Effect.Effect<Option.Option<never>, TokenError> =>
          error._tag === "StorageError"
            ? Effect.zipRight(storageFailed(parts, error), Effect.fail(error))
            : error.reason === "Conflict"
              ? Effect.succeedNone
              : unavailable("LeaseBusy", error.message)
      })
    )
  })

export const attemptAfter = (before: Option.Option<Entry.Intent>): number =>
  1 + Option.match(before, { onNone: () => 0, onSome: (i) => i.attempt })

/**
 * Takes back our own note, and leaves the wait that the server asked for; what another who is refreshing by now has
 * noted is not ours to change. The note of an earlier refresh of the same token is put back: what became of that is no
 * better known than before.
 */
export const clearIntent = (
  parts: Parts,
  { before, intended }: Attempt,
  retryAfter: Option.Option<number> = Option.none()
): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    if (Option.isNone(intended)) return Effect.void
    const { intent } = intended.value
    if (Option.isNone(intent) && Option.isNone(retryAfter)) return Effect.void
    if (Option.isSome(intent)) parts.state.noteKnown(before)
    return Effect.asVoid(
      amend(parts, intended.value, (held) => {
        const serverWait = Decision.serverWait(held.serverWait, retryAfter, now)
        return Equal.equals(held.intent, intent)
          ? new Entry.Entry({ ...held, intent: before, serverWait })
          : held
      })
    )
  })

/**
 * Rewrites our bookkeeping in the newest entry, where that is still of the refresh token that we sent:
 * memory may have taken in another writer's rotation since, whose version would let an older entry pass.
 * If storage fails, memory has what is needed, and it is written later, under the same lease: a peer that reads
 * storage before that would send the token again. False where another writer was first.
 */
export const amend = (
  parts: Parts,
  intended: Entry.Entry,
  change: (held: Entry.Entry) => Entry.Entry
): Effect.Effect<boolean> =>
  Effect.catchAll(tryAmend(parts, intended, change), () =>
    Effect.sync(() => {
      const again: Effect.Effect<void, StorageError> = Effect.flatMap(
        Effect.zipRight(reload(parts), tryAmend(parts, intended, change)),
        (isDone) =>
          isDone
            ? Effect.sync(() => {
                if (parts.owed === again) parts.owed = undefined
              })
            : Effect.fail(busy(parts.storage.location, "Other writers keep changing the credentials."))
      )
      parts.owed = again
      return true
    })
  )

const tryAmend = (
  parts: Parts,
  intended: Entry.Entry,
  change: (held: Entry.Entry) => Entry.Entry
): Effect.Effect<boolean, StorageError> =>
  Effect.gen(function* () {
    const { state, storage } = parts
    // What memory was told to forget is still there to be amended.
    if (state.isForgotten) yield* Effect.ignore(reload(parts))
    const held = state.entry
    if (Option.isNone(held) || !Credentials.sameRefreshToken(held.value.credentials, intended.credentials)) {
      return true
    }
    const changed = change(held.value)
    if (changed === held.value) return true
    const entry = new Entry.Entry({ ...changed, fence: intended.fence })
    const { epoch } = state
    return yield* storage.commit(entry, state.version).pipe(
      Effect.flatMap((version) =>
        Effect.map(Clock.currentTimeMillis, (now) => state.noteOwnCommit(entry, version, now, epoch))
      ),
      // Fenced: a later holder of the lease writes down what it finds.
      Effect.catchTag("CommitRefused", (refused) => Effect.succeed(refused.reason !== "Conflict"))
    )
  })
