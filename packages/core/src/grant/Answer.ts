/**
 * The life of a grant from the answer of the authorization server on: what the answer means, the commit of a rotation,
 * the end of a grant, and the intent that is taken back. Pure.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import * as Rotation from "../RotationPolicy.js"
import * as TokenEvent from "../TokenEvent.js"
import { RefreshError } from "../TokenRefresher.js"
import * as Age from "./Age.js"
import { lags } from "./Merge.js"
import type { Input, Next } from "./Messages.js"
import { entryOf, type Failure, momentOf, type Policy, type State, storedOf, witnessOf } from "./State.js"
import {
  abandon,
  busy,
  commit,
  cool,
  coolDownBegan,
  end,
  go,
  idle,
  load,
  maxConflicts,
  noteCommitted,
  ownIntentKnown,
  type PhaseOf,
  retryAfterOf,
  saveFailed,
  savedEvent,
  storageError,
  stay,
  unchanged,
  warnings,
  withEvents
} from "./Transition.js"

/** The shortest pause, in milliseconds, before storage that failed is offered a rotation again, and a long one. */
const shortestRetry = 100
const longRetry = 5000

/** Peers wait for the lease meanwhile: once storage works again, they do not wait for long. */
const longestPauseOf = ({ coolDownBase, coolDownMax }: Policy): number =>
  Math.min(Math.max(coolDownBase, Math.min(coolDownMax, longRetry)), 86_400_000)

/** Its credentials are in use from now on, saved or not. One that achieved nothing cools down, longer each time. */
export const answered = (
  policy: Policy,
  before: State,
  { attempt, requestedAt }: PhaseOf<"Redeeming">,
  received: Credentials.Credentials,
  malformed: Option.Option<RefreshError>,
  now: number
): Next => {
  const { base, intended, lease } = attempt
  const credentials = Decision.toStore(
    Option.map(base, (b) => b.credentials),
    received
  )
  const previous = Option.map(intended, ({ entry }) => entry)
  const successor = Option.match(previous, {
    onNone: () => Entry.first(credentials),
    onSome: (p) => Entry.refreshed(p, credentials)
  })
  const entry = Entry.bind(
    new Entry.Entry({
      ...successor,
      fence: lease.fence,
      // Each answer that is of no use costs a rotation: all who share the grant wait, longer each time.
      serverWait: Option.isSome(malformed)
        ? Decision.serverWait(Option.none(), Option.some(backOffOf(policy, before, now)), now)
        : successor.serverWait
    }),
    policy.identityOf(credentials)
  )
  const stored = before.memory._tag === "Read" ? before.memory.stored : intended
  const uncommitted = { entry, base }
  // Cleared, or replaced by a login, while the answer was under way.
  if (!lags(uncommitted, stored)) return end(before, Option.none())
  const failures = Option.match(before.coolDown, {
    onNone: () => 0,
    onSome: (c) => (c.reason === "Ineffective" ? c.failures : 0)
  })
  const kept: State = {
    ...before,
    memory: { _tag: "Read", stored, at: now },
    uncommitted: Option.some(uncommitted),
    newest: Option.some(entry),
    writes: before.writes + 1,
    answers: before.answers + 1,
    // What was wrong before has not ended with an answer that is of no use.
    coolDown: Option.isSome(malformed) ? before.coolDown : Option.none(),
    dead: Option.none(),
    age: Age.obtained(before.age, credentials, {
      took: Math.max(0, now - requestedAt),
      serverTime: received.serverTime,
      now: momentOf(policy, now)
    })
  }
  const isIneffective = Decision.isIneffective(
    Option.map(base, (b) => b.credentials),
    credentials,
    now,
    witnessOf(policy, kept, now)
  )
  const cooled =
    isIneffective && Option.isNone(malformed)
      ? cool(policy, kept, now, { reason: "Ineffective", failures: failures + 1 })
      : kept
  if (Option.isSome(malformed)) {
    const { events, failure, state } = failed(policy, cooled, malformed.value, now)
    return withEvents(
      events,
      commitRotation(state, { lease, conflicts: 0, tries: 0, isAsked: false, failure: Option.some(failure) })
    )
  }
  const lastFailure = Decision.describeArrival(received, now, witnessOf(policy, cooled, now))
  const rotated = !Option.exists(base, (b) => Credentials.sameRefreshToken(b.credentials, credentials))
  const refreshed = TokenEvent.Refreshed({
    at: now,
    took: now - requestedAt,
    rotated,
    token: Fingerprint.of(credentials.accessToken),
    expiresAt: Option.getOrUndefined(credentials.expiresAt)
  })
  return {
    ...withEvents(
      [refreshed, ...warnings(received, now)],
      commitRotation(
        { ...cooled, lastFailure },
        { lease, conflicts: 0, tries: 0, isAsked: false, failure: Option.none() }
      )
    ),
    // The token is good, whatever becomes of the commit.
    released: Option.some({ failure: Option.none() })
  }
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

/** How long all who share the grant wait, where the server did not say. */
const backOffOf = (policy: Policy, state: State, now: number): number =>
  Decision.backOff(
    Option.flatMap(entryOf(state), (e) => e.serverWait),
    now,
    policy
  )

/** Callers have waited for long enough, and the answer is read on: nobody sends anything meanwhile. */
export const overdue = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Redeeming">,
  message: string,
  now: number
): Next => {
  const cooled: State = { ...cool(policy, state, now, { reason: "Failed" }), lastFailure: message }
  const failure: Failure = {
    _tag: "Unavailable",
    reason: "MaybeSent",
    retryAt: now + 1000,
    message: `${message} It has begun to arrive and may hold a new refresh token: it is read on, and nothing is sent meanwhile.`,
    cause: undefined
  }
  return {
    ...stay({ ...cooled, phase: { ...phase, overdue: Option.some(failure) } }, coolDownBegan(cooled, now)),
    released: Option.some({ failure: Option.some(failure) })
  }
}

/** The request failed, or its answer is of no use. */
export const refused = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Redeeming">,
  failure: RefreshError,
  now: number
): Next => {
  const { attempt } = phase
  const error = failure.reason === "GrantDead" && !policy.needsRefreshToken ? refusedAnew(failure) : failure
  const told = TokenEvent.RefreshFailed({ at: now, reason: error.reason, status: error.status })
  if (error.salvaged !== undefined) {
    return withEvents([told], answered(policy, state, phase, error.salvaged, Option.some(error), now))
  }
  if (error.reason === "GrantDead") {
    const progress = { conflicts: 0, tries: 0, isPublished: false }
    return go(state, { _tag: "Verifying", attempt, error, progress }, load(state), [told])
  }
  // An outcome that is known needs no intent; one that is not keeps it, and so does an unreadable answer.
  const isUnknown = error.reason === "MaybeSent" || error.reason === "Malformed"
  const known = isUnknown
    ? state
    : Option.match(attempt.intended, {
        onNone: () => state,
        onSome: ({ entry }) => ownIntentKnown(state, entry, attempt)
      })
  const { events, failure: ended, shared, state: cooled } = failed(policy, known, error, now, isUnknown)
  return withEvents(
    isUnknown ? [told, ...events] : [told],
    isUnknown
      ? end(cooled, Option.some(ended))
      : retract(
          cooled,
          {
            ...retracting,
            isCooling: true,
            attempt,
            failure: ended,
            retryAfter: Option.orElse(shared, () => retryAfterOf(error))
          },
          now
        )
  )
}

const failed = (policy: Policy, state: State, error: RefreshError, now: number, isUnknown = true) => {
  // Only now is the intent of this request one like any other.
  const seen: State = isUnknown ? { ...state, phase: idle } : state
  const retryAfter = retryAfterOf(error)
  // Who shares the grant waits too, although the server did not say for how long.
  const shared =
    error.reason === "Transient" && !Option.exists(retryAfter, (asked) => asked > 0)
      ? Option.some(backOffOf(policy, state, now))
      : Option.none<number>()
  const { coolDown } = cool(policy, seen, now, { reason: "Failed", retryAfter, shared })
  const cooled: State = { ...state, coolDown }
  const next: State = { ...cooled, lastFailure: error.message }
  const until = Option.match(next.coolDown, { onNone: () => now, onSome: (c) => c.until })
  const failure: Failure = {
    _tag: "Unavailable",
    reason: error.reason,
    retryAt: until,
    message: error.message,
    cause: error
  }
  return { state: next, failure, shared, events: coolDownBegan(next, now) }
}

// --- The commit of a rotation: the lease is held until storage has it ---

export const commitRotation = (state: State, progress: Omit<PhaseOf<"Committing">, "_tag">): Next =>
  Option.match(state.uncommitted, {
    onNone: () => end(state, progress.failure),
    onSome: ({ entry }) =>
      go(
        state,
        { ...progress, _tag: "Committing" },
        commit(
          state,
          new Entry.Entry({ ...entry, fence: progress.lease.fence }),
          Option.map(storedOf(state), ({ version }) => version)
        )
      )
  })

export const committed = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Committing">,
  input: Input,
  now: number
): Next => {
  const readAgain = (from: State, conflicts: number): Next =>
    go(from, { ...phase, _tag: "Merging", stage: "Reading", conflicts }, load(from))
  switch (input._tag) {
    case "Committed": {
      const next = noteCommitted(policy, state, input, now)
      return input.writes === state.writes
        ? withEvents(
            [savedEvent(input.entry, now)],
            end({ ...next, uncommitted: Option.none() }, phase.failure)
          )
        : readAgain(next, phase.conflicts)
    }
    case "CommitRefused": {
      if (input.error.reason === "Conflict" && phase.conflicts < maxConflicts) {
        return readAgain(state, phase.conflicts + 1)
      }
      if (input.error.reason === "Fenced") return underNewLease(state, phase, "Fenced", now)
      const failure = busy("Other writers keep changing the credentials; try again.", now)
      return withEvents(
        [saveFailed(state, input.error.reason, now)],
        pauseCommit(policy, state, phase, failure, now)
      )
    }
    case "CommitFailed":
      return retryLater(policy, state, phase, storageError(input.error), now)
    default:
      return unchanged(state)
  }
}

/** Callers whom the new token does not serve are not kept waiting for storage, nor do they ask it in turn. */
export const retryLater = (
  policy: Policy,
  state: State,
  phase: Omit<PhaseOf<"Committing">, "_tag">,
  failure: Failure,
  now: number
): Next => {
  const reason = failure._tag === "StorageFailed" ? failure.error.reason : failure._tag
  const cooled = phase.isAsked ? cool(policy, state, now, { reason: "Failed" }) : state
  const paused = pauseCommit(policy, cooled, phase, failure, now)
  return {
    ...withEvents(
      [saveFailed(state, reason, now), ...(phase.isAsked ? coolDownBegan(cooled, now) : [])],
      paused
    ),
    released: Option.some({ failure: Option.orElse(phase.failure, () => Option.some(failure)) })
  }
}

/** Storage is offered the rotation again after a pause; where the scope closes, after a short one and not for ever. */
const pauseCommit = (
  policy: Policy,
  state: State,
  phase: Omit<PhaseOf<"Committing">, "_tag">,
  failure: Failure,
  now: number
): Next => {
  const { lease, tries } = phase
  const millis = pauseBefore(policy, state, tries, now)
  return Option.isNone(millis)
    ? end(state, Option.some(failure))
    : go(
        state,
        {
          _tag: "Merging",
          stage: "Sleeping",
          lease,
          failure: phase.failure,
          conflicts: 0,
          tries: tries + 1,
          isAsked: false
        },
        { _tag: "Wait", millis: millis.value }
      )
}

/** How often storage is offered something while the scope closes. */
const lastAttempts = 6

/** How long, in milliseconds, before storage is asked again after so many failures; none where it is given up. */
const pauseBefore = (policy: Policy, state: State, tries: number, now: number): Option.Option<number> => {
  const doubled = 2 ** Math.min(tries, 30)
  if (Option.isNone(state.closing)) {
    const pause = Math.min(policy.coolDownBase * doubled, longestPauseOf(policy))
    return Option.some(Math.max(shortestRetry, pause))
  }
  const millis = tries < 2 ? 0 : (shortestRetry * doubled) / 4
  return tries >= lastAttempts || now + millis > state.closing.value ? Option.none() : Option.some(millis)
}

/** A lease that was lost while storage failed is of no use: the rotation is stored under a new one. */
export const wokenToCommit = (state: State, phase: PhaseOf<"Merging">): Next =>
  Option.isNone(state.uncommitted)
    ? end(state, phase.failure)
    : go(state, { ...phase, stage: "Confirming" }, { _tag: "ConfirmLease", lease: phase.lease })

/** Where the lease does not answer, storage is the judge of what is written under it. */
export const leaseBeforeCommit = (
  state: State,
  phase: PhaseOf<"Merging">,
  held: "yes" | "no" | "unknown",
  now: number
): Next =>
  held === "no" && Option.isSome(state.uncommitted)
    ? underNewLease(state, phase, "LeaseLapsed", now)
    : go(state, { ...phase, stage: "Reading" }, load(state))

const underNewLease = (
  state: State,
  { failure, lease, tries }: Omit<PhaseOf<"Committing">, "_tag">,
  reason: string,
  now: number
): Next =>
  go(
    state,
    { _tag: "Releasing", lease, failure, retries: Option.some(tries + 1) },
    { _tag: "ReleaseLease", lease },
    [saveFailed(state, reason, now)]
  )

// --- invalid_grant ---

/** A peer may have rotated the token that we sent. Only if none has is the grant dead. */
export const verified = (state: State, phase: PhaseOf<"Verifying">, now: number): Next => {
  const { attempt, error } = phase
  const { base, intended } = attempt
  const stored = storedOf(state)
  const isMoved = Option.match(Option.all([base, stored]), {
    // A grant that was removed meanwhile is not dead: there is none.
    onNone: () => Option.isSome(stored) || Option.isSome(base),
    onSome: ([b, s]) => !Credentials.sameRefreshToken(b.credentials, s.entry.credentials)
  })
  if (isMoved) return end(state, Option.none())
  if (Option.isNone(stored) || Option.isNone(intended)) {
    return end(state, Option.some(reauthorize("GrantDead", error.message)))
  }
  const theirs = stored.value.entry.intent
  if (Option.isSome(theirs) && !Equal.equals(theirs, intended.value.entry.intent)) {
    // Our lease lapsed, and its next holder sent the same token: what that brought is still to be seen.
    return end(state, Option.some(busy("The lease lapsed, and another process refreshes; try again.", now)))
  }
  const dead = new Entry.DeadGrant({
    fingerprint: Entry.grantFingerprint(stored.value.entry.credentials),
    at: now,
    reason: Option.match(attempt.lost, {
      onNone: () => error.message,
      onSome: (replay) => Rotation.describeLoss(replay, error.message)
    }),
    rotationLost: Option.isSome(attempt.lost)
  })
  const entry = new Entry.Entry({
    ...stored.value.entry,
    fence: attempt.lease.fence,
    intent: Option.none(),
    dead: Option.some(dead)
  })
  return go(
    state,
    { _tag: "MarkingDead", attempt, error, dead, progress: phase.progress, isSleeping: false },
    commit(state, entry, Option.some(stored.value.version))
  )
}

/** Storage could not be read to find out whether a peer rotated meanwhile. */
export const notVerified = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Verifying">,
  failure: Failure,
  now: number
): Next =>
  Option.match(state.dead, {
    onNone: () => abandon(policy, state, failure, now),
    onSome: (dead) => markLater(policy, state, { ...phase, _tag: "MarkingDead", dead, isSleeping: true }, now)
  })

/** What storage does not take is remembered here, and offered again under the lease: a peer would send the token again. */
export const marked = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"MarkingDead">,
  input: Input,
  now: number
): Next => {
  const { attempt, dead, error, progress } = phase
  const failure = Option.some(reauthorize(dead.rotationLost ? "RotationLost" : "GrantDead", dead.reason))
  const events = progress.isPublished ? [] : [TokenEvent.GrantDead({ at: now, grant: dead.fingerprint })]
  switch (input._tag) {
    case "Woken":
      return go(state, { _tag: "Verifying", attempt, error, progress }, load(state))
    case "Committed":
      return end({ ...noteCommitted(policy, state, input, now), dead: Option.some(dead) }, failure, events)
    case "CommitRefused": {
      const { conflicts } = progress
      if (input.error.reason === "Conflict" && conflicts < maxConflicts) {
        // What another wrote meanwhile may be the rotation that the server means.
        const next = { ...progress, conflicts: conflicts + 1 }
        return go(state, { _tag: "Verifying", attempt, error, progress: next }, load(state))
      }
      return end({ ...state, dead: Option.some(dead) }, failure, events)
    }
    case "CommitFailed":
      return withEvents(events, markLater(policy, { ...state, dead: Option.some(dead) }, phase, now))
    default:
      return unchanged(state)
  }
}

const markLater = (policy: Policy, state: State, phase: PhaseOf<"MarkingDead">, now: number): Next => {
  const { dead, progress } = phase
  const failure = Option.some(reauthorize(dead.rotationLost ? "RotationLost" : "GrantDead", dead.reason))
  const millis = pauseBefore(policy, state, progress.tries, now)
  if (Option.isNone(millis)) return end(state, failure)
  const next = { conflicts: 0, tries: progress.tries + 1, isPublished: true }
  return {
    ...go(state, { ...phase, progress: next, isSleeping: true }, { _tag: "Wait", millis: millis.value }),
    released: Option.some({ failure })
  }
}

const reauthorize = (reason: Decision.ReauthorizeReason, detail: string): Failure => ({
  _tag: "Decided",
  decision: Decision.Reauthorize({ reason, detail })
})

// --- Our intent is taken back ---

/** Where it begins. */
export const retracting = { _tag: "Retracting", isCooling: false, tries: 0, isSleeping: false } as const

/**
 * Takes back our own intent, and leaves the wait that the server asked for. What another who refreshes by now has
 * written is not ours to change. An older intent is put back: what became of that is no better known than before.
 */
export const retract = (state: State, phase: PhaseOf<"Retracting">, now: number): Next => {
  const { attempt, retryAfter } = phase
  const ours = Option.flatMap(attempt.intended, ({ entry }) => entry.intent)
  if (Option.isNone(attempt.intended) || (Option.isNone(ours) && Option.isNone(retryAfter))) {
    return withdrawn(state, phase, now)
  }
  if (state.memory._tag === "Unread") return go(state, phase, load(state))
  const stored = storedOf(state)
  const isSame = Option.exists(Option.all([stored, attempt.intended]), ([s, i]) =>
    Credentials.sameRefreshToken(s.entry.credentials, i.entry.credentials)
  )
  if (Option.isNone(stored) || !isSame || !Equal.equals(stored.value.entry.intent, ours)) {
    return withdrawn(state, phase, now)
  }
  const { entry, version } = stored.value
  const next = new Entry.Entry({
    ...entry,
    fence: attempt.lease.fence,
    intent: attempt.before,
    serverWait: Decision.serverWait(entry.serverWait, retryAfter, now)
  })
  return go(state, phase, commit(state, next, Option.some(version)))
}

/** The intent is withdrawn, or is not ours to withdraw. */
export const withdrawn = (state: State, { failure, isCooling }: PhaseOf<"Retracting">, now: number): Next =>
  end(state, Option.some(failure), isCooling ? coolDownBegan(state, now) : [])

export const retracted = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Retracting">,
  input: Input,
  now: number
): Next => {
  switch (input._tag) {
    case "Woken":
      return go(state, { ...phase, isSleeping: false }, load(state))
    case "Committed":
      return withdrawn(noteCommitted(policy, state, input, now), phase, now)
    case "CommitRefused":
      return withdrawn(state, phase, now)
    case "CommitFailed":
    case "LoadFailed": {
      // It is offered again under the lease: a peer takes what storage holds for a request that nobody saw answered.
      const millis = pauseBefore(policy, state, phase.tries, now)
      return Option.isNone(millis)
        ? withdrawn(state, phase, now)
        : {
            ...go(
              state,
              { ...phase, isCooling: false, tries: phase.tries + 1, isSleeping: true },
              { _tag: "Wait", millis: millis.value },
              phase.isCooling ? coolDownBegan(state, now) : []
            ),
            released: Option.some({ failure: Option.some(phase.failure) })
          }
    }
    default:
      return unchanged(state)
  }
}
