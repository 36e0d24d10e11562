/**
 * The phases after the response, which bring its outcome into storage under the lease:
 *
 * - the commit of a rotation: `Committing`, and `Merging` while storage fails or changes;
 * - the end of a grant after `invalid_grant`: `Verifying` and `MarkingDead`;
 * - the removal of our intent after an outcome that spent nothing: `Retracting`.
 */
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import * as Entry from "../Entry.js"
import * as TokenEvent from "../TokenEvent.js"
import * as BackOff from "./BackOff.js"
import * as Decision from "./Decision.js"
import type { Next } from "./Messages.js"
import * as Replay from "./Replay.js"
import { type Commitment, type Failure, type Policy, type State, storedOf } from "./State.js"
import {
  abandon,
  afterCommit,
  type At,
  busy,
  busyWriters,
  commit,
  cool,
  coolDownBegan,
  end,
  go,
  type InputOf,
  load,
  maxConflicts,
  type PhaseOf,
  release,
  saved,
  saveFailed,
  stay,
  storageError,
  wake,
  withEvents
} from "./Transition.js"

// --- Pauses between attempts to write ---

/** The shortest pause, in milliseconds, before storage is tried again, and a limit for the longest. */
const shortestRetry = 100
const longRetry = 5000

/** How often storage is tried while the scope closes. */
const lastAttempts = 6

/**
 * How long, in milliseconds, to pause before storage is tried again after this many failures. None: give up.
 */
const pauseBefore = ({ now, policy }: At, { closing }: State, tries: number): Option.Option<number> => {
  const doubled = 2 ** Math.min(tries, 30)
  if (Option.isNone(closing)) {
    const pause = Math.min(policy.coolDownBase * doubled, longestRetry(policy))
    return Option.some(Math.max(shortestRetry, pause))
  }
  const millis = tries < 2 ? 0 : (shortestRetry * doubled) / 4
  return tries >= lastAttempts || now + millis > closing.value ? Option.none() : Option.some(millis)
}

/** Peers wait for the lease meanwhile. The limit keeps their wait short once storage works again. */
const longestRetry = ({ coolDownBase, coolDownMax }: Policy): number =>
  Math.min(Math.max(coolDownBase, Math.min(coolDownMax, longRetry)), BackOff.longestWait)

/** A caller needs a refresh: storage is tried again at once, before the caller fails. */
export const hurry = (_: At, state: State, phase: PhaseOf<"Merging" | "MarkingDead" | "Retracting">): Next =>
  wake(phase._tag === "Merging" ? { ...state, phase: { ...phase, isAsked: true } } : state)

// --- The commit of a rotation: the lease is held until storage has it ---

export const commitRotation = (state: State, commitment: Commitment): Next =>
  Option.match(state.uncommitted, {
    onNone: () => end(state, commitment.failure),
    onSome: ({ entry }) =>
      go(
        state,
        { ...commitment, _tag: "Committing" },
        commit(
          state,
          new Entry.Entry({ ...entry, fence: commitment.lease.fence }),
          Option.map(storedOf(state), ({ version }) => version)
        )
      )
  })

const readAgain = (state: State, phase: PhaseOf<"Committing">, conflicts: number): Next =>
  go(state, { ...phase, _tag: "Merging", stage: "Reading", conflicts }, load(state))

/** Storage is slow. Callers stop waiting, because the new token is good, stored or not. */
export const commitSlow = (_: At, state: State, phase: PhaseOf<"Committing">): Next =>
  release(stay(state), phase.failure)

/** Callers get the new token once it is stored, so a process that ends after that loses nothing. */
export const committed = (
  at: At,
  state: State,
  phase: PhaseOf<"Committing">,
  input: InputOf<"Committed">
): Next => {
  const next = afterCommit(at, state, input)
  return input.writes === state.writes
    ? release(
        withEvents([saved(input.entry, at.now)], end({ ...next, uncommitted: Option.none() }, phase.failure)),
        phase.failure
      )
    : release(readAgain(next, phase, phase.conflicts), phase.failure)
}

/**
 * Another writer was faster, or a newer lease wrote. The machine reads what it wrote, or takes a new lease.
 * Callers do not wait.
 */
export const commitRefused = (
  at: At,
  state: State,
  phase: PhaseOf<"Committing">,
  { error }: InputOf<"CommitRefused">
): Next => {
  const again = (): Next => {
    if (error.reason === "Fenced") return underNewLease(at, state, phase, "Fenced")
    if (phase.conflicts < maxConflicts) return readAgain(state, phase, phase.conflicts + 1)
    const paused = pauseCommit(at, state, phase, busyWriters(at.now))
    return withEvents([saveFailed(state, error.reason, at.now)], paused)
  }
  return release(again(), phase.failure)
}

export const commitFailed = (
  at: At,
  state: State,
  phase: PhaseOf<"Committing">,
  { error }: InputOf<"CommitFailed">
): Next => {
  const next = retryLater(at, state, phase, storageError(error))
  // Callers wait during the first attempt. Their token is good, stored or not.
  return phase.tries === 0 ? release(next, phase.failure) : next
}

/**
 * Storage failed. Callers that the new token does not serve fail now. A cool-down keeps them from trying one
 * after another.
 */
export const retryLater = (at: At, state: State, phase: Commitment, failure: Failure): Next => {
  const reason = failure._tag === "StorageFailed" ? failure.error.reason : failure._tag
  const cooled = phase.isAsked ? cool(at, state, { reason: "Failed" }) : state
  const events = phase.isAsked ? coolDownBegan(cooled, at.now) : []
  return release(
    withEvents([saveFailed(state, reason, at.now), ...events], pauseCommit(at, cooled, phase, failure)),
    Option.orElse(phase.failure, () => Option.some(failure))
  )
}

/**
 * Storage is tried again after a pause, and the lease stays held. While the scope closes, the pause is short
 * and the number of attempts is limited.
 */
const pauseCommit = (at: At, state: State, phase: Commitment, failure: Failure): Next => {
  const { lease, tries } = phase
  const next = { lease, failure: phase.failure, conflicts: 0, tries: tries + 1, isAsked: false }
  return Option.match(pauseBefore(at, state, tries), {
    onNone: () => end(state, Option.some(failure)),
    onSome: (millis) => go(state, { ...next, _tag: "Merging", stage: "Sleeping" }, { _tag: "Wait", millis })
  })
}

/** The pause is over. The lease may have been lost meanwhile. */
export const confirmBeforeCommit = (_: At, state: State, phase: PhaseOf<"Merging">): Next =>
  Option.isNone(state.uncommitted)
    ? end(state, phase.failure)
    : go(state, { ...phase, stage: "Confirming" }, { _tag: "ConfirmLease", lease: phase.lease })

/**
 * A lost lease is useless. If the lease backend does not answer, storage decides: it refuses a fence that is
 * too low.
 */
export const readBeforeCommit = (
  at: At,
  state: State,
  phase: PhaseOf<"Merging">,
  { held }: InputOf<"LeaseConfirmed">
): Next =>
  held === "no" && Option.isSome(state.uncommitted)
    ? underNewLease(at, state, phase, "LeaseLapsed")
    : go(state, { ...phase, stage: "Reading" }, load(state))

/** Storage was read. The rotation is committed to it, unless it holds a newer grant. */
export const commitAgain = (_: At, state: State, phase: PhaseOf<"Merging">): Next =>
  commitRotation(state, phase)

const underNewLease = ({ now }: At, state: State, phase: Commitment, reason: string): Next => {
  const { failure, lease, tries } = phase
  return go(
    state,
    { _tag: "Releasing", lease, failure, retries: Option.some(tries + 1) },
    { _tag: "ReleaseLease", lease },
    [saveFailed(state, reason, now)]
  )
}

// --- invalid_grant ---

/** Storage was read. A peer may have rotated the token that we sent. Only if none has is the grant dead. */
export const verified = ({ now }: At, state: State, phase: PhaseOf<"Verifying">): Next => {
  const { attempt, error, progress } = phase
  const { base, marked, replay } = attempt
  const stored = storedOf(state)
  const isMoved = Option.match(Option.all([base, stored]), {
    // A grant that was removed meanwhile is not dead: there is none.
    onNone: () => Option.isSome(stored) || Option.isSome(base),
    onSome: ([b, s]) => !Credentials.sameRefreshToken(b.credentials, s.entry.credentials)
  })
  if (isMoved) return end(state, Option.none())
  if (Option.isNone(stored) || Option.isNone(marked)) {
    return end(state, Option.some(reauthorize("GrantDead", error.message)))
  }
  const { entry, version } = stored.value
  if (Option.isSome(entry.intent) && !Equal.equals(entry.intent, marked.value.entry.intent)) {
    // Our lease lapsed, and its next holder sent the same token. The outcome of that is not known yet.
    return end(state, Option.some(busy("The lease lapsed, and another process refreshes; try again.", now)))
  }
  const dead = new Entry.DeadGrant({
    fingerprint: Entry.grantFingerprint(entry.credentials),
    at: now,
    reason: Option.match(replay, {
      onNone: () => error.message,
      onSome: (r) => Replay.describeLoss(r, error.message)
    }),
    rotationLost: Option.isSome(replay)
  })
  const next = new Entry.Entry({
    ...entry,
    fence: attempt.lease.fence,
    intent: Option.none(),
    dead: Option.some(dead)
  })
  return go(
    state,
    { _tag: "MarkingDead", attempt, error, dead, progress, isSleeping: false },
    commit(state, next, Option.some(version))
  )
}

/** Storage could not be read, so nobody knows whether a peer rotated meanwhile. */
export const notVerified = (at: At, state: State, phase: PhaseOf<"Verifying">, failure: Failure): Next =>
  Option.match(state.dead, {
    onNone: () => abandon(at, state, failure),
    onSome: (dead) => markLater(at, state, { ...phase, _tag: "MarkingDead", dead, isSleeping: true })
  })

/** Storage was rolled back, so it does not show whether a peer rotated meanwhile. */
export const unverifiable = (at: At, state: State, _: PhaseOf<"Verifying">, failure: Failure): Next =>
  abandon(at, state, failure)

export const verifyAgain = (
  _: At,
  state: State,
  { attempt, error, progress }: PhaseOf<"MarkingDead">
): Next => go(state, { _tag: "Verifying", attempt, error, progress }, load(state))

export const marked = (
  at: At,
  state: State,
  phase: PhaseOf<"MarkingDead">,
  input: InputOf<"Committed">
): Next => endDead(at, afterCommit(at, state, input), phase)

/** Another writer stored an entry meanwhile. It may be the rotation that the server expects. */
export const markRefused = (
  at: At,
  state: State,
  phase: PhaseOf<"MarkingDead">,
  { error }: InputOf<"CommitRefused">
): Next => {
  const { progress } = phase
  return error.reason === "Conflict" && progress.conflicts < maxConflicts
    ? verifyAgain(at, state, { ...phase, progress: { ...progress, conflicts: progress.conflicts + 1 } })
    : endDead(at, state, phase)
}

/**
 * The mark stays in memory and is tried again under the lease. Without it, a peer would send the token again.
 */
export const markFailed = (at: At, state: State, phase: PhaseOf<"MarkingDead">): Next =>
  withEvents(deathOf(at, phase), markLater(at, { ...state, dead: Option.some(phase.dead) }, phase))

const endDead = (at: At, state: State, phase: PhaseOf<"MarkingDead">): Next =>
  end({ ...state, dead: Option.some(phase.dead) }, failureOf(phase), deathOf(at, phase))

const deathOf = ({ now }: At, { dead, progress }: PhaseOf<"MarkingDead">) =>
  progress.isPublished ? [] : [TokenEvent.GrantDead({ at: now, grant: dead.fingerprint })]

const failureOf = ({ dead }: PhaseOf<"MarkingDead">): Option.Option<Failure> =>
  Option.some(reauthorize(dead.rotationLost ? "RotationLost" : "GrantDead", dead.reason))

const markLater = (at: At, state: State, phase: PhaseOf<"MarkingDead">): Next => {
  const { tries } = phase.progress
  const progress = { conflicts: 0, tries: tries + 1, isPublished: true }
  return Option.match(pauseBefore(at, state, tries), {
    onNone: () => end(state, failureOf(phase)),
    onSome: (millis) =>
      release(go(state, { ...phase, progress, isSleeping: true }, { _tag: "Wait", millis }), failureOf(phase))
  })
}

const reauthorize = (reason: Decision.ReauthorizeReason, detail: string): Failure => ({
  _tag: "Decided",
  decision: Decision.Reauthorize({ reason, detail })
})

// --- The removal of our intent ---

/** Removes the intent of an attempt that spent nothing. */
export const retract = (
  at: At,
  state: State,
  attempt: Pick<PhaseOf<"Retracting">, "attempt" | "failure"> & Partial<PhaseOf<"Retracting">>
): Next =>
  takeBack(at, state, {
    retryAfter: Option.none(),
    isCooling: false,
    ...attempt,
    _tag: "Retracting",
    tries: 0,
    isSleeping: false
  })

/**
 * Removes our own intent from what storage holds, and adds the wait that the server asked for. An entry that
 * another holder of the lease has written is left unchanged. An older intent is put back, because its outcome
 * is still unknown.
 */
export const takeBack = (at: At, state: State, phase: PhaseOf<"Retracting">): Next => {
  const { attempt, retryAfter } = phase
  const { marked, olderIntent } = attempt
  const ours = Option.flatMap(marked, ({ entry }) => entry.intent)
  if (Option.isNone(marked) || (Option.isNone(ours) && Option.isNone(retryAfter))) {
    return retracted(at, state, phase)
  }
  if (state.memory._tag === "Unread") return go(state, phase, load(state))
  const stored = storedOf(state)
  const isSame = Option.exists(stored, ({ entry }) =>
    Credentials.sameRefreshToken(entry.credentials, marked.value.entry.credentials)
  )
  if (Option.isNone(stored) || !isSame || !Equal.equals(stored.value.entry.intent, ours)) {
    return retracted(at, state, phase)
  }
  const { entry, version } = stored.value
  const next = new Entry.Entry({
    ...entry,
    fence: attempt.lease.fence,
    intent: olderIntent,
    serverWait: BackOff.serverWait(entry.serverWait, retryAfter, at.now)
  })
  return go(state, phase, commit(state, next, Option.some(version)))
}

/** The intent is removed, or belongs to another holder. */
export const retracted = ({ now }: At, state: State, phase: PhaseOf<"Retracting">): Next =>
  end(state, Option.some(phase.failure), phase.isCooling ? coolDownBegan(state, now) : [])

export const retractionCommitted = (
  at: At,
  state: State,
  phase: PhaseOf<"Retracting">,
  input: InputOf<"Committed">
): Next => retracted(at, afterCommit(at, state, input), phase)

export const readToRetract = (_: At, state: State, phase: PhaseOf<"Retracting">): Next =>
  go(state, { ...phase, isSleeping: false }, load(state))

/** Tried again under the lease: a peer would take an intent in storage for a request without a response. */
export const retractLater = (at: At, state: State, phase: PhaseOf<"Retracting">): Next =>
  Option.match(pauseBefore(at, state, phase.tries), {
    onNone: () => retracted(at, state, phase),
    onSome: (millis) =>
      release(
        go(
          state,
          { ...phase, isCooling: false, tries: phase.tries + 1, isSleeping: true },
          { _tag: "Wait", millis },
          phase.isCooling ? coolDownBegan(state, at.now) : []
        ),
        Option.some(phase.failure)
      )
  })
