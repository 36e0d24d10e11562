/**
 * The refresh of a grant: lease, re-read, decide again, intent, request, merge, commit.
 *
 * It runs as one fiber at a time for a manager (see SingleFlight). From the answer of the server to the
 * end of the commit it cannot be interrupted: the answer holds the only copy of a refresh token.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Credentials from "../Credentials.js"
import * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import type { Lease, LeaseError, RefreshLease } from "../RefreshLease.js"
import * as Rotation from "../RotationPolicy.js"
import type { TokenConfig } from "../TokenConfig.js"
import { ReauthorizationRequired, RefreshUnavailable, type TokenError } from "../TokenError.js"
import * as TokenEvent from "../TokenEvent.js"
import { RefreshError, type TokenRefresher } from "../TokenRefresher.js"
import { StorageError, type TokenStorage, type Version } from "../TokenStorage.js"
import { within } from "./Deadline.js"
import type { GrantState } from "./GrantState.js"
import type { Signal } from "./Signal.js"

/** What started a refresh: what its caller asked, and the access token that it had. */
export interface Trigger {
  readonly request: Decision.Request
  readonly had: Option.Option<Credentials.Credentials>
  /** Whether to leave it to another holder of the lease, rather than to wait; unless given, it waits. */
  readonly givesWay?: () => boolean
  /** Whether it has its place at the server already. */
  readonly placed?: boolean
}

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
}

/** How often a writer in our way is answered by reading again before we give up for now. */
const maxConflicts = 5

/** Reads storage and takes in what it holds; again, where this manager wrote in the meantime. */
export const reload = (parts: Parts): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    const { state, storage, emit } = parts
    const epoch = state.epoch
    const loaded = yield* Effect.tapError(storage.load, (error) => storageFailed(parts, error))
    if (state.epoch !== epoch) return yield* reload(parts)
    const at = yield* Clock.currentTimeMillis
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
      yield* storageFailed(parts, error)
      return yield* error
    }
    if (noted === "Changed" && Option.isSome(had) && Option.isSome(state.entry)) {
      yield* emit(TokenEvent.Adopted({ at, ...identify(state.entry.value) }))
    }
  })

const storageFailed = (parts: Parts, error: StorageError): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (at) =>
    parts.emit(TokenEvent.StorageFailed({ at, reason: error.reason, operation: error.operation }))
  )

const identify = (entry: Entry.Entry) => ({
  generation: entry.generation,
  token: Fingerprint.of(entry.credentials.accessToken)
})

/** One refresh, from the lease to the commit. Afterwards the state holds what came of it. */
export const run = (parts: Parts, trigger: Trigger): Effect.Effect<void, TokenError> =>
  Effect.scoped(
    Effect.flatMap(acquire(parts, trigger), (lease) =>
      Option.match(lease, {
        onNone: () => Effect.void,
        onSome: (held) => underLease(parts, trigger, held, 0)
      })
    )
  ).pipe(
    Effect.tapError((error) =>
      error._tag === "StorageError" ||
      (error._tag === "RefreshUnavailable" && error.cause?._tag === "LeaseError")
        ? coolDown(parts, error.message, Option.none())
        : Effect.void
    )
  )

/** A storage or a lease that fails is not asked by every caller in turn, any more than the server is. */
export const coolDown = (
  { emit, state }: Parts,
  message: string,
  retryAfter: Option.Option<number>
): Effect.Effect<Decision.CoolingDown> =>
  Effect.gen(function* () {
    const at = yield* Clock.currentTimeMillis
    const cooling = state.cool(at, "Failed", retryAfter)
    state.lastFailure = message
    yield* emit(TokenEvent.CoolingDownBegan({ at, until: cooling.until, reason: cooling.reason }))
    return cooling
  })

/** How long, in milliseconds, a waiter sleeps at first where nobody tells it of changes, and at most. */
const firstPause = 20
const longestPause = 500

/** The lease, or none where another holder has refreshed while we waited for it. */
const acquire = (
  parts: Parts,
  trigger: Trigger
): Effect.Effect<Option.Option<Lease>, TokenError, Scope.Scope> =>
  Effect.gen(function* () {
    const { account, changed, config, lease, state } = parts
    const began = yield* Clock.currentTimeMillis
    // A holder that fails, or dies, changes nothing in storage: it is looked for all the same.
    let pause = Option.isSome(changed) ? longestPause : firstPause
    for (;;) {
      // Before the lease is asked for: what is written from then on ends the wait.
      const seen = Option.map(changed, (signal) => signal.after(signal.count))
      const got = yield* Effect.either(lease.acquire(account, config.leaseTtl))
      if (Either.isRight(got)) return Option.some(got.right)
      if (got.left.reason === "Busy" && trigger.givesWay?.() === true) return Option.none()
      const now = yield* Clock.currentTimeMillis
      const left = config.leaseWait - (now - began)
      if (got.left.reason !== "Busy" || now < began || left <= 0) return yield* noLease(got.left, now)
      const sleep = Effect.sleep(Math.min(pause * (1 + state.jitterShare), left))
      yield* Option.match(seen, { onNone: () => sleep, onSome: (change) => Effect.race(change, sleep) })
      pause = Math.min(pause * 2, longestPause)
      // What was read before the wait is of no use after it.
      yield* reload(parts)
      const decision = yield* judgeAgain(parts, trigger)
      if (decision._tag === "Use") return Option.none()
    }
  })

const noLease = (error: LeaseError, now: number): RefreshUnavailable =>
  new RefreshUnavailable({
    reason: error.reason === "Busy" ? "LeaseBusy" : "LeaseUnavailable",
    retryAt: now + 1000,
    message: error.message,
    cause: error
  })

/** A forced refresh is done once the token that its caller had is no longer the current one. */
const judgeAgain = (parts: Parts, trigger: Trigger): Effect.Effect<Decision.Decision> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const same = Option.match(Option.all([trigger.had, parts.state.credentials]), {
      onNone: () => Option.isNone(trigger.had) && Option.isNone(parts.state.credentials),
      onSome: ([had, has]) => Credentials.sameAccessToken(had, has)
    })
    return parts.state.judge(now, { ...trigger.request, force: trigger.request.force && same })
  })

/** One attempt to redeem a refresh token. */
interface Attempt {
  /** What storage held before, and what it holds now: the same with our note, where there is a need of one. */
  readonly base: Option.Option<Entry.Entry>
  readonly intended: Option.Option<Entry.Entry>
  /** The note of an earlier refresh of the same token, whose answer nobody saw. */
  readonly before: Option.Option<Entry.Intent>
  /** What that makes of this attempt. */
  readonly lost: Option.Option<Rotation.Replay>
  readonly lease: Lease
}

const underLease = (
  parts: Parts,
  trigger: Trigger,
  lease: Lease,
  conflicts: number
): Effect.Effect<void, TokenError> =>
  Effect.gen(function* () {
    yield* reload(parts)
    const decision = yield* judgeAgain(parts, trigger)
    if (decision._tag !== "Refresh" && decision._tag !== "UseAndRefresh") {
      return yield* settled(parts, decision)
    }
    if (Option.isSome(parts.state.unsaved)) {
      // Storage must hold a refresh token before it is spent.
      yield* saveUnsaved(parts, lease.fence)
    }
    // All of one moment: what memory takes in later must not vouch for what was read before.
    const now = yield* Clock.currentTimeMillis
    const { entry: base, unanswered: before, version } = parts.state
    const lost = parts.state.replay(now)
    const intended = yield* writeIntent(parts, base, before, version, lease)
    if (Option.isSome(intended)) {
      const attempt = { base, intended: intended.value, before, lost, lease }
      return yield* redeem(parts, decision.reason, attempt)
    }
    return conflicts < maxConflicts
      ? yield* underLease(parts, trigger, lease, conflicts + 1)
      : yield* unavailable("LeaseBusy", "Other writers keep changing the credentials; try again.")
  })

/** No refresh after all: somebody else did it, or nothing can be done now. */
export const settled = (
  parts: Parts,
  decision: Exclude<Decision.Decision, { _tag: "Refresh" | "UseAndRefresh" }>
): Effect.Effect<void, TokenError> => {
  switch (decision._tag) {
    case "Use":
    case "Reload":
      return Effect.void
    case "CoolDown":
      return new RefreshUnavailable({
        reason: "CoolingDown",
        retryAt: decision.until,
        message: coolDownAdvice[decision.reason](parts.state.lastFailure)
      })
    case "TooShortLived":
      return unavailable(
        "TooShortLived",
        `The server's tokens live for ${decision.lifetime / 1000} s, ${decision.minValidity / 1000} s were asked for: ask for less.`
      )
    case "Reauthorize":
      return reauthorize(parts, decision)
  }
}

const coolDownAdvice = {
  Failed: (last: string) => `The last refresh failed; nothing is posted before the retry time. ${last}`,
  ServerAsked: (last: string) => `The server asked to wait; nothing is posted before the retry time. ${last}`,
  Ineffective: () => "The last refresh brought no newer token; it is not repeated before the retry time.",
  Rejected: () => "A resource server keeps rejecting fresh tokens: check audience and scopes, not the token.",
  AnswerLost: () =>
    "The answer to a refresh was not seen, and the server may end the grant if it is repeated: that is left for when the token has expired. Until then, ask for a shorter validity."
} as const

const unavailable = (
  reason: RefreshUnavailable["reason"],
  message: string
): Effect.Effect<never, RefreshUnavailable> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.fail(new RefreshUnavailable({ reason, retryAt: now + 1000, message }))
  )

const advice = {
  NoCredentials: "There are no credentials",
  NoRefreshToken: "The access token has expired and there is no refresh token",
  GrantDead: "The authorization server ended this grant",
  RotationLost: "The answer to a refresh was lost, and the authorization server ended the grant"
} as const

const reauthorize = (
  parts: Parts,
  decision: Extract<Decision.Decision, { _tag: "Reauthorize" }>
): Effect.Effect<never, ReauthorizationRequired> =>
  Effect.fail(
    new ReauthorizationRequired({
      reason: decision.reason,
      location: parts.storage.location,
      message:
        `${advice[decision.reason]}: ${decision.detail.replace(/[.\s]+$/, "")}. Log in again and save the new credentials ` +
        `to ${parts.storage.location}; nothing there was deleted.`
    })
  )

/**
 * Notes what is about to be spent, which also proves that storage can be written. None where another
 * writer was first. Without a refresh token nothing is spent, and nothing is noted.
 */
const writeIntent = (
  parts: Parts,
  base: Option.Option<Entry.Entry>,
  before: Option.Option<Entry.Intent>,
  expected: Option.Option<Version>,
  lease: Lease
): Effect.Effect<Option.Option<Option.Option<Entry.Entry>>, TokenError> =>
  Effect.gen(function* () {
    if (Option.isNone(base) || !parts.refresher.needsRefreshToken) return Option.some(base)
    const { state, storage } = parts
    const now = yield* Clock.currentTimeMillis
    const fingerprint = Entry.grantFingerprint(base.value.credentials)
    const intent = new Entry.Intent({ fingerprint, at: now, attempt: attemptAfter(before) })
    const entry = new Entry.Entry({ ...base.value, fence: lease.fence, intent: Option.some(intent) })
    const { epoch } = state
    return yield* storage.commit(entry, expected).pipe(
      Effect.map((version) => {
        if (!state.noteOwnCommit(entry, version, now, epoch)) return Option.none()
        state.noteIntent(intent)
        return Option.some(Option.some(entry))
      }),
      Effect.uninterruptible,
      Effect.catchTag("CommitRefused", (refused) =>
        refused.reason === "Conflict"
          ? Effect.succeed(Option.none())
          : unavailable("LeaseBusy", refused.message)
      ),
      Effect.tapErrorTag("StorageError", (error) => storageFailed(parts, error))
    )
  })

const attemptAfter = (before: Option.Option<Entry.Intent>): number =>
  1 + Option.match(before, { onNone: () => 0, onSome: (i) => i.attempt })

const redeem = (parts: Parts, why: Decision.DueReason, attempt: Attempt): Effect.Effect<void, TokenError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { config, emit, refresher } = parts
      const { base, before, lease } = attempt
      // A holder that was stopped for long may have lost the lease: two must not redeem one token.
      const stillHeld = yield* Effect.orElseSucceed(lease.isHeld, () => false)
      if (!stillHeld) {
        yield* clearIntent(parts, attempt)
        return yield* unavailable("LeaseBusy", "The lease lapsed before the request; try again.")
      }
      const requestedAt = yield* Clock.currentTimeMillis
      const grant = Option.getOrUndefined(Option.map(base, (b) => Entry.grantFingerprint(b.credentials)))
      yield* emit(TokenEvent.Refreshing({ at: requestedAt, grant, why, attempt: attemptAfter(before) }))
      const request = refresher.refresh(Option.map(base, (b) => b.credentials))
      const answer = yield* within(request, config.refreshTimeout, () => tooSlow(config.refreshTimeout)).pipe(
        Effect.catchAllDefect(() => Effect.fail(broken)),
        restore,
        Effect.either
      )
      return Either.isRight(answer)
        ? yield* accept(parts, answer.right, attempt, requestedAt)
        : yield* fail(parts, answer.left, attempt)
    })
  ).pipe(Effect.ensuring(Effect.sync(() => parts.state.noteEnded())))

const tooSlow = (millis: number): RefreshError =>
  new RefreshError({
    reason: "MaybeSent",
    message: `No answer within ${Duration.format(Duration.millis(millis))}; whether the server saw the request is unknown.`
  })

// The defect itself is not passed on: nobody knows what is in it.
const broken = new RefreshError({
  reason: "MaybeSent",
  message:
    "The refresher died of a defect; whether the server saw a request is unknown. Run it alone to see why."
})

const accept = (
  parts: Parts,
  credentials: Credentials.Credentials,
  { base, intended, lease }: Attempt,
  requestedAt: number
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { emit, state } = parts
    const now = yield* Clock.currentTimeMillis
    state.noteRefreshed(successor(intended, credentials, lease.fence), base, now)
    yield* emit(
      TokenEvent.Refreshed({
        at: now,
        took: now - requestedAt,
        rotated: !Option.exists(base, (b) => Credentials.sameRefreshToken(b.credentials, credentials)),
        token: Fingerprint.of(credentials.accessToken),
        expiresAt: Option.getOrUndefined(credentials.expiresAt)
      })
    )
    // Failing to save is told by events and status, and retried; the token is good all the same.
    yield* Effect.ignore(saveUnsaved(parts, lease.fence))
  })

const successor = (
  intended: Option.Option<Entry.Entry>,
  credentials: Credentials.Credentials,
  fence: number
): Entry.Entry => {
  const entry = Option.match(intended, {
    onNone: () => Entry.first(credentials),
    onSome: (i) => Entry.refreshed(i, credentials)
  })
  return new Entry.Entry({ ...entry, fence })
}

/**
 * Writes a rotation that storage does not hold yet. Where another writer was first, what it wrote is read:
 * newer credentials are adopted, and anything else is written over.
 */
export const saveUnsaved = (parts: Parts, fence: number): Effect.Effect<void, StorageError> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const { emit, state, storage } = parts
      // Without a version, storage that another cleared would be taken for one that was never written.
      if (state.isForgotten) yield* reload(parts)
      for (let attempt = 0; Option.isSome(state.unsaved); attempt++) {
        const entry = new Entry.Entry({ ...state.unsaved.value.entry, fence })
        const { epoch } = state
        const committed = yield* Effect.either(storage.commit(entry, state.version))
        const at = yield* Clock.currentTimeMillis
        if (Either.isRight(committed)) {
          state.noteOwnCommit(entry, committed.right, at, epoch)
          return yield* emit(TokenEvent.Saved({ at, ...identify(entry) }))
        }
        const error = committed.left
        if (error._tag === "CommitRefused" && error.reason === "Conflict" && attempt < maxConflicts) {
          yield* reload(parts)
          continue
        }
        yield* emit(TokenEvent.SaveFailed({ at, generation: entry.generation, reason: error.reason }))
        return yield* error._tag === "StorageError" ? error : busy(storage.location, error.message)
      }
    })
  )

const busy = (location: string, message: string): StorageError =>
  new StorageError({ reason: "Unavailable", operation: "commit", location, message })

const fail = (parts: Parts, error: RefreshError, attempt: Attempt): Effect.Effect<void, TokenError> =>
  Effect.gen(function* () {
    const { emit, state } = parts
    const { base, intended, lease } = attempt
    const now = yield* Clock.currentTimeMillis
    yield* emit(TokenEvent.RefreshFailed({ at: now, reason: error.reason, status: error.status }))
    if (error.salvaged !== undefined) {
      state.noteRefreshed(successor(intended, error.salvaged, lease.fence), base, now)
      yield* Effect.ignore(saveUnsaved(parts, lease.fence))
    }
    if (error.reason === "GrantDead") return yield* bury(parts, error, attempt)
    // An outcome that is known needs no journal; one that is not keeps it, and so does an unreadable answer.
    const unknown = error.reason === "MaybeSent" || error.reason === "Malformed"
    if (!unknown && error.salvaged === undefined) yield* clearIntent(parts, attempt)
    state.noteEnded()
    const retryAfter = Option.map(Option.fromNullable(error.retryAfter), Duration.toMillis)
    const cooling = yield* coolDown(parts, error.message, retryAfter)
    return yield* new RefreshUnavailable({
      reason: error.reason,
      retryAt: cooling.until,
      message: error.message,
      cause: error
    })
  })

/** `invalid_grant`: a peer may have rotated the token that we sent. Only if none has is the grant dead. */
const bury = (
  parts: Parts,
  error: RefreshError,
  attempt: Attempt,
  conflicts = 0
): Effect.Effect<void, TokenError> =>
  Effect.gen(function* () {
    const { emit, refresher, state } = parts
    const { base, intended, lost } = attempt
    yield* reload(parts)
    const moved = Option.match(Option.all([base, state.entry]), {
      // A grant that was removed meanwhile is not told to be dead: there is none.
      onNone: () => Option.isSome(state.entry) || (Option.isSome(base) && refresher.needsRefreshToken),
      onSome: ([b, s]) => !Credentials.sameRefreshToken(b.credentials, s.credentials)
    })
    if (moved) return
    const theirs = Option.flatMap(state.entry, (e) => e.intent)
    const ours = Option.flatMap(intended, (i) => i.intent)
    if (Option.isSome(theirs) && !Equal.equals(theirs, ours)) {
      // Our lease lapsed, and who has it by now sent the same token: what that brought is still to be seen.
      return yield* unavailable("LeaseBusy", "The lease lapsed, and another process refreshes; try again.")
    }
    if (Option.isNone(base) || Option.isNone(intended)) {
      return yield* reauthorize(parts, Decision.Reauthorize({ reason: "GrantDead", detail: error.message }))
    }
    const now = yield* Clock.currentTimeMillis
    const dead = new Entry.DeadGrant({
      fingerprint: Entry.grantFingerprint(base.value.credentials),
      at: now,
      reason: Option.match(lost, {
        onNone: () => error.message,
        onSome: (replay) => Rotation.describeLoss(replay, error.message)
      }),
      rotationLost: Option.isSome(lost)
    })
    const isMarked = yield* amend(
      parts,
      intended.value,
      (held) => new Entry.Entry({ ...held, intent: Option.none(), dead: Option.some(dead) })
    )
    // What another wrote while we were about to may be the rotation that the server means.
    if (!isMarked && conflicts < maxConflicts) return yield* bury(parts, error, attempt, conflicts + 1)
    state.noteDead(dead)
    yield* emit(TokenEvent.GrantDead({ at: now, grant: dead.fingerprint }))
    return yield* reauthorize(
      parts,
      Decision.Reauthorize({ reason: dead.rotationLost ? "RotationLost" : "GrantDead", detail: dead.reason })
    )
  })

/**
 * Takes back our own note; that of another who is refreshing by now is not ours to clear. One of an earlier
 * refresh of the same token is put back: what became of that is no better known than before.
 */
const clearIntent = (parts: Parts, { before, intended }: Attempt): Effect.Effect<void> => {
  if (Option.isNone(intended) || Option.isNone(intended.value.intent)) return Effect.void
  parts.state.noteKnown(before)
  return Effect.asVoid(
    amend(parts, intended.value, (held) =>
      Equal.equals(held.intent, intended.value.intent) ? new Entry.Entry({ ...held, intent: before }) : held
    )
  )
}

/**
 * Rewrites our bookkeeping in the newest entry, where that is still of the refresh token that we sent:
 * memory may have taken in another writer's rotation since, whose version would let an older entry pass.
 * If storage fails, memory has what is needed and nothing is lost. False where another writer was first.
 */
const amend = (
  parts: Parts,
  intended: Entry.Entry,
  change: (held: Entry.Entry) => Entry.Entry
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { state, storage } = parts
    const held = state.entry
    if (Option.isNone(held) || !Credentials.sameRefreshToken(held.value.credentials, intended.credentials)) {
      return Effect.succeed(true)
    }
    const changed = change(held.value)
    if (changed === held.value) return Effect.succeed(true)
    const entry = new Entry.Entry({ ...changed, fence: intended.fence })
    const { epoch } = state
    return storage.commit(entry, state.version).pipe(
      Effect.flatMap((version) =>
        Effect.map(Clock.currentTimeMillis, (now) => state.noteOwnCommit(entry, version, now, epoch))
      ),
      Effect.catchAll((error) =>
        Effect.succeed(!(error._tag === "CommitRefused" && error.reason === "Conflict"))
      )
    )
  })
