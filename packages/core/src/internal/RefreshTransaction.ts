/**
 * The refresh of a grant: lease, re-read, decide again, intent, request, merge, commit.
 *
 * It runs as one fiber at a time for a manager (see SingleFlight). From the answer of the server to the
 * end of the commit it cannot be interrupted: the answer holds the only copy of a refresh token.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Credentials from "../Credentials.js"
import * as Deadline from "../Deadline.js"
import * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import type { Lease, LeaseError } from "../RefreshLease.js"
import * as Rotation from "../RotationPolicy.js"
import { RefreshUnavailable, type TokenError } from "../TokenError.js"
import * as TokenEvent from "../TokenEvent.js"
import { identityOf, RefreshError } from "../TokenRefresher.js"
import * as HeldLease from "./HeldLease.js"
import { nowOf, runtimeOf } from "./Now.js"
import { reauthorize, settled, unavailable } from "./NoToken.js"
import type { OnEnd } from "./Sight.js"
import {
  amend,
  type Attempt,
  attemptAfter,
  clearIntent,
  maxConflicts,
  type Parts,
  reload,
  saveUnsaved,
  warn,
  writeIntent
} from "./StoredGrant.js"

/** What started a refresh: what its caller asked, and the access token that it had. */
export interface Trigger {
  readonly request: Decision.Request
  readonly had: Option.Option<Credentials.Credentials>
  /** Whether to leave it to another holder of the lease, rather than to wait; unless given, it waits. */
  readonly givesWay?: () => boolean
  /** Whether it has its place at the server already. */
  readonly placed?: boolean
}

/** The time of the fiber that the refresh runs in, in epoch milliseconds. */
type Now = () => number

/**
 * One refresh, from the lease to the commit; at its end, with the lease released, `onEnd`. Afterwards the state holds
 * what came of it.
 */
export const run = (parts: Parts, trigger: Trigger, onEnd: OnEnd): Effect.Effect<void, TokenError> =>
  Effect.withFiberRuntime<void, TokenError>((fiber) => {
    const now = () => nowOf(fiber)
    const held = HeldLease.none()
    return Effect.onExit(
      Effect.tapError(
        Effect.flatMap(acquire(parts, trigger, now, held), (lease) => {
          if (Option.isNone(lease)) return Effect.void
          parts.leased(fiber)
          return underLease(parts, trigger, now, lease.value, 0)
        }),
        (error) => {
          parts.state.noteEnded()
          return error._tag === "StorageError" ||
            (error._tag === "RefreshUnavailable" && error.cause?._tag === "LeaseError")
            ? coolDown(parts, error.message, Option.none())
            : Effect.void
        }
      ),
      (exit) => {
        parts.state.noteEnded()
        return Effect.zipRight(HeldLease.end(parts, held), onEnd(exit))
      }
    )
  })

/** A storage or a lease that fails is not asked by every caller in turn, any more than the server is. */
export const coolDown = (
  { emit, state }: Parts,
  message: string,
  retryAfter: Option.Option<number>,
  shared: Option.Option<number> = Option.none()
): Effect.Effect<Decision.CoolingDown> =>
  Effect.gen(function* () {
    const at = yield* Clock.currentTimeMillis
    const cooling = state.cool(at, "Failed", retryAfter, undefined, shared)
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
  trigger: Trigger,
  now: Now,
  held: HeldLease.Held,
  began = now(),
  // A holder that fails, or dies, changes nothing in storage: it is looked for all the same.
  pause = Option.isSome(parts.changed) ? longestPause : firstPause
): Effect.Effect<Option.Option<Lease>, TokenError> => {
  const { changed, config, state } = parts
  // Before the lease is asked for: what is written from then on ends the wait.
  const seen = Option.map(changed, (signal) => signal.after(signal.count))
  return Effect.matchEffect(HeldLease.take(parts, held), {
    onSuccess: Effect.succeedSome,
    onFailure: (error) => {
      if (error.reason === "Busy" && trigger.givesWay?.() === true) return Effect.succeedNone
      const at = now()
      const left = config.leaseWait - (at - began)
      if (error.reason !== "Busy" || at < began || left <= 0) return Effect.fail(noLease(error, at))
      const sleep = Effect.sleep(Math.min(pause * (1 + state.jitterShare), left))
      return Option.match(seen, { onNone: () => sleep, onSome: (change) => Effect.race(change, sleep) }).pipe(
        // What was read before the wait is of no use after it.
        Effect.zipRight(reload(parts)),
        Effect.zipRight(
          Effect.suspend(() =>
            endsWait.has(judgeAgain(parts, trigger, now())._tag)
              ? Effect.succeedNone
              : acquire(parts, trigger, now, held, began, Math.min(pause * 2, longestPause))
          )
        )
      )
    }
  })
}

/** Another holder has refreshed, or the grant is not ours any more: no lease is needed. */
const endsWait: ReadonlySet<Decision.Decision["_tag"]> = new Set(["Use", "Refuse"])

const noLease = (error: LeaseError, now: number): RefreshUnavailable =>
  new RefreshUnavailable({
    reason: error.reason === "Busy" ? "LeaseBusy" : "LeaseUnavailable",
    retryAt: now + 1000,
    message: error.message,
    cause: error
  })

/** A forced refresh is done once the token that its caller had is no longer the current one. */
const judgeAgain = (parts: Parts, { had, request }: Trigger, now: number): Decision.Decision => {
  const has = parts.state.credentials
  const same =
    Option.isSome(had) && Option.isSome(has)
      ? Credentials.sameAccessToken(had.value, has.value)
      : Option.isNone(had) && Option.isNone(has)
  return parts.state.judge(now, { ...request, force: request.force && same })
}

const underLease: (
  parts: Parts,
  trigger: Trigger,
  clock: Now,
  lease: Lease,
  conflicts: number
) => Effect.Effect<void, TokenError> = Effect.fnUntraced(function* (parts, trigger, clock, lease, conflicts) {
  yield* reload(parts)
  const decision = judgeAgain(parts, trigger, clock())
  if (decision._tag !== "Refresh" && decision._tag !== "UseAndRefresh") {
    return yield* settled(parts, decision)
  }
  if (Option.isSome(parts.state.unsaved)) {
    // Storage must hold a refresh token before it is spent.
    yield* saveUnsaved(parts, lease.fence)
  }
  // All of one moment: what memory takes in later must not vouch for what was read before.
  const now = clock()
  const { entry: base, mismatch, unanswered: before, version } = parts.state
  // What is to be sent may be another's by now: the save above may have read it.
  if (Option.isSome(mismatch)) return yield* settled(parts, Decision.Refuse({ mismatch: mismatch.value }))
  const lost = parts.state.replay(now)
  const intended = yield* writeIntent(parts, base, before, version, lease)
  if (Option.isSome(intended)) {
    const attempt = { base, intended: intended.value, before, lost, lease, clock }
    return yield* Effect.uninterruptibleMask((restore) => redeem(parts, decision.reason, attempt, restore))
  }
  return conflicts < maxConflicts
    ? yield* underLease(parts, trigger, clock, lease, conflicts + 1)
    : yield* unavailable("LeaseBusy", "Other writers keep changing the credentials; try again.")
})

/** An attempt, by the clock of its refresh. */
interface Redemption extends Attempt {
  readonly clock: Now
}

/** Not to be interrupted but where it is restored. */
const redeem: (
  parts: Parts,
  why: Decision.DueReason,
  attempt: Redemption,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
) => Effect.Effect<void, TokenError> = Effect.fnUntraced(function* (parts, why, attempt, restore) {
  const { emit, refresher } = parts
  const { base, before, lease } = attempt
  // A holder that was stopped for long may have lost the lease: two must not redeem one token.
  const stillHeld = yield* Effect.orElseSucceed(lease.isHeld, () => false)
  if (!stillHeld) {
    yield* clearIntent(parts, attempt)
    return yield* unavailable("LeaseBusy", "The lease lapsed before the request; try again.")
  }
  const requestedAt = attempt.clock()
  const grant = Option.getOrUndefined(Option.map(base, (b) => Entry.grantFingerprint(b.credentials)))
  yield* emit(TokenEvent.Refreshing({ at: requestedAt, grant, why, attempt: attemptAfter(before) }))
  const request = refresher.refresh(Option.map(base, (b) => b.credentials))
  const answer = yield* awaitAnswer(parts, request).pipe(
    Effect.catchAllDefect(() => Effect.fail(broken)),
    restore,
    Effect.either
  )
  return Either.isRight(answer)
    ? yield* accept(parts, answer.right, attempt, requestedAt)
    : yield* fail(parts, answer.left, attempt)
})

/**
 * Waits for the answer, up to the time-out. Where to send the token again could end the grant, an answer that has begun to
 * arrive by then is read on, for as long as the lease lasts: it may hold the only copy of the next token. Its callers do
 * not wait for that, and nobody sends anything meanwhile.
 */
const awaitAnswer = (
  parts: Parts,
  request: Effect.Effect<Credentials.Credentials, RefreshError>
): Effect.Effect<Credentials.Credentials, RefreshError> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
    const { config, refresher } = parts
    const { leaseTtl, refreshTimeout } = config
    const { rotation } = refresher
    const late = Effect.suspend(() => Effect.fail(tooSlow(refreshTimeout)))
    // Within the window a repetition brings the answer as well, and sooner.
    const isLastCopy = rotation._tag === "Rotating" && Duration.toMillis(rotation.window) <= refreshTimeout
    if (!isLastCopy) return Deadline.within(request, { millis: refreshTimeout, late })
    const arrival: Deadline.Arrival = { millis: leaseTtl, begun: false }
    const more = () => {
      if (!arrival.begun) return 0
      Runtime.runFork(runtimeOf(fiber, runtimeFlags))(releaseCallers(parts))
      return leaseTtl - refreshTimeout
    }
    const reading = Effect.provideService(request, Deadline.ReadOn, arrival)
    return Deadline.within(reading, { millis: refreshTimeout, more, late })
  })

/** Callers have waited for long enough, and the answer is still awaited. */
const releaseCallers = (parts: Parts): Effect.Effect<void> => {
  const { message } = tooSlow(parts.config.refreshTimeout)
  const fail = unavailable(
    "MaybeSent",
    `${message} It has begun to arrive and may hold a new refresh token: it is read on, and nothing is sent meanwhile.`
  )
  return Effect.zipRight(
    coolDown(parts, message, Option.none()),
    Effect.sync(() => parts.releaseCallers(fail))
  )
}

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
  { base, clock, intended, lease }: Redemption,
  requestedAt: number
): Effect.Effect<void> => {
  const { emit, state } = parts
  const now = clock()
  const before = Option.map(base, (b) => b.credentials)
  const stored = Decision.toStore(before, credentials)
  const { serverTime } = credentials
  state.noteRefreshed(successor(parts, intended, stored, lease.fence), base, now, { requestedAt, serverTime })
  state.lastFailure = Decision.describeArrival(credentials, now, state.witness)
  const refreshed = Effect.zipLeft(
    emit(
      TokenEvent.Refreshed({
        at: now,
        took: now - requestedAt,
        rotated: !Option.exists(base, (b) => Credentials.sameRefreshToken(b.credentials, credentials)),
        token: Fingerprint.of(credentials.accessToken),
        expiresAt: Option.getOrUndefined(credentials.expiresAt)
      })
    ),
    warn(parts, credentials)
  )
  return Effect.zipRight(refreshed, save(parts, lease))
}

/** How long, in milliseconds, callers whose token is good wait for a slow storage. */
const commitPatience = 1000

/**
 * The first attempt to save. If it fails, events and status say so, and it is repeated under the same lease, which is
 * kept for that (see Saver). The token is good either way, and its callers wait for neither.
 */
const save = (parts: Parts, lease: Lease): Effect.Effect<void> =>
  Effect.zipRight(Effect.ignore(saveUnsaved(parts, lease.fence)), HeldLease.releaseIfSettled(parts)).pipe(
    Effect.forkDaemon,
    Effect.flatMap((fiber) => {
      parts.commit = fiber
      fiber.addObserver(() => {
        if (parts.commit === fiber) parts.commit = undefined
      })
      // A commit is never interrupted: it goes on in the background, and the closing of the scope waits for it.
      const ended = Effect.asVoid(Fiber.await(fiber))
      return Deadline.within(ended, { millis: commitPatience, late: Effect.void, waits: false })
    })
  )

const successor = (
  { refresher }: Parts,
  intended: Option.Option<Entry.Entry>,
  credentials: Credentials.Credentials,
  fence: number
): Entry.Entry => {
  const entry = Option.match(intended, {
    onNone: () => Entry.first(credentials),
    onSome: (i) => Entry.refreshed(i, credentials)
  })
  // What the server has just answered for is its own, whoever wrote the entry before.
  return Entry.bind(new Entry.Entry({ ...entry, fence }), identityOf(refresher, credentials))
}

/** Without a refresh token no grant can end: what was refused is sent again. */
const refusedAnew = (error: RefreshError): RefreshError =>
  new RefreshError({
    reason: "Misconfigured",
    message:
      `${error.message.replace(/: the grant has ended\.$/, ".")} This refresher needs no stored grant, so it asks again ` +
      "after a pause. Until then, check what it sends: the key, the clock and the audience of an assertion, or the token that it exchanges.",
    ...(error.oauthError !== undefined && { oauthError: error.oauthError }),
    ...(error.status !== undefined && { status: error.status }),
    ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
    cause: error
  })

const fail = (parts: Parts, failure: RefreshError, attempt: Attempt): Effect.Effect<void, TokenError> =>
  Effect.gen(function* () {
    const { emit, refresher, state } = parts
    const isRefusal = failure.reason === "GrantDead" && !refresher.needsRefreshToken
    const error = isRefusal ? refusedAnew(failure) : failure
    const { base, intended, lease } = attempt
    const now = yield* Clock.currentTimeMillis
    yield* emit(TokenEvent.RefreshFailed({ at: now, reason: error.reason, status: error.status }))
    if (error.salvaged !== undefined) {
      const entry = successor(parts, intended, error.salvaged, lease.fence)
      // Each answer like it costs a rotation: all who share the grant wait, longer each time.
      const wait = Decision.serverWait(Option.none(), Option.some(state.backOff(now)), now)
      state.noteSalvaged(new Entry.Entry({ ...entry, serverWait: wait }), base, now)
      yield* save(parts, lease)
    }
    if (error.reason === "GrantDead") return yield* bury(parts, error, attempt)
    // An outcome that is known needs no journal; one that is not keeps it, and so does an unreadable answer.
    const unknown = error.reason === "MaybeSent" || error.reason === "Malformed"
    const retryAfter = Option.map(Option.fromNullable(error.retryAfter), Duration.toMillis)
    // The server cannot now: one back-off for all who share the grant, for as long as it says or else as we choose.
    const isOpen = error.reason === "Transient" && !Option.exists(retryAfter, (asked) => asked > 0)
    const shared = isOpen ? Option.some(state.backOff(now)) : Option.none()
    if (!unknown && error.salvaged === undefined) {
      yield* clearIntent(
        parts,
        attempt,
        Option.orElse(shared, () => retryAfter)
      )
    }
    state.noteEnded()
    const cooling = yield* coolDown(parts, error.message, retryAfter, shared)
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
