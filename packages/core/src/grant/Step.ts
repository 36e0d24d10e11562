/**
 * The life of one grant: the only place where its state changes. Pure and total: every input has an answer in every
 * phase, none throws, and `now` is an argument.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import * as Rotation from "../RotationPolicy.js"
import * as TokenEvent from "../TokenEvent.js"
import type { Versioned } from "../TokenStorage.js"
import * as Age from "./Age.js"
import * as Answer from "./Answer.js"
import { reopen } from "./FastPath.js"
import { takeIn } from "./Merge.js"
import type { Input, Next } from "./Messages.js"
import {
  type Attempt,
  credentialsOf,
  type Failure,
  initial,
  isRejected,
  judge,
  momentOf,
  type Phase,
  type Policy,
  replayOf,
  type State,
  storedOf,
  unanswered,
  type Want
} from "./State.js"
import {
  abandon,
  attemptAfter,
  busy,
  commit,
  cool,
  end,
  type Events,
  firstPause,
  found,
  go,
  type InputOf,
  load,
  longestPause,
  maxConflicts,
  noteCommitted,
  over,
  ownIntentKnown,
  type PhaseOf,
  savedEvent,
  stay,
  storageError,
  storageFailed,
  unchanged,
  warnings,
  withEvents
} from "./Transition.js"

/** How long a second rejection counts as one of fresh tokens in a row. */
const rejectionMemory = 600_000

/**
 * The state after an input, and what to do next.
 *
 * @since 0.1.0
 * @category transitions
 */
export const step = (policy: Policy, state: State, input: Input, now: number): Next => {
  const next = transition(policy, state, input, now)
  return next.state === state ? next : { ...next, state: reopen(policy, next.state, input, now) }
}

const transition = (policy: Policy, state: State, input: Input, now: number): Next => {
  switch (input._tag) {
    case "Saved":
      return wakes(saved(policy, state, input, now), [
        ...warnings(input.entry.credentials, now),
        savedEvent(input.entry, now)
      ])
    case "Cleared":
      return wakes(forget(state), [TokenEvent.Cleared({ at: now, existed: input.existed })])
    case "Invalidated":
      return stay({ ...state, memory: { _tag: "Unread" } })
    case "Changed":
      return wakes(outOfDate(state))
    case "Rejected":
      return rejected(policy, state, input.token, now)
    case "Closing":
      return wakes(closing(state, input.until))
    case "Observed":
      return observed(policy, state, input, now)
    case "ObserveFailed":
      return stay({ ...state }, [storageFailed(input.error, now)])
    case "Wanted":
      return wanted(state, input.want, now)
    case "Loaded":
      // A read that began before a write says nothing of what storage holds now.
      return input.writes === state.writes
        ? loaded(policy, state, input.loaded, now)
        : go(state, state.phase, load(state))
    default:
      return outcome(policy, state, input, now)
  }
}

/** The outcome of a command other than `Load`, in the phase that gave it; in any other phase it changes nothing. */
const outcome = (policy: Policy, state: State, input: Input, now: number): Next => {
  const { phase } = state
  switch (phase._tag) {
    case "Idle":
      break
    case "Releasing":
      if (input._tag === "LeaseReleased") return released(state, phase, now)
      break
    case "Leasing":
      if (input._tag === "LeaseTaken") {
        const { goal } = phase
        return go(state, { _tag: "Rereading", goal, lease: input.lease, conflicts: 0 }, load(state))
      }
      if (input._tag === "LeaseFailed") return noLease(policy, state, phase, input.error, now)
      break
    case "Waiting":
      if (input._tag === "Woken") return go(state, { ...phase, isReading: true }, load(state))
      if (input._tag === "LoadFailed") return waitFailed(policy, state, phase, storageError(input.error), now)
      break
    case "Rereading":
      if (input._tag === "LoadFailed")
        return rereadFailed(policy, state, phase, storageError(input.error), now)
      break
    case "Noting":
      return noted(policy, state, phase, input, now)
    case "Confirming":
      if (input._tag === "LeaseConfirmed") return confirmed(policy, state, phase, input.held === "yes", now)
      break
    case "Redeeming":
      if (input._tag === "Answered")
        return Answer.answered(policy, state, phase, input.credentials, Option.none(), now)
      if (input._tag === "Overdue") return Answer.overdue(policy, state, phase, input.message, now)
      if (input._tag === "RefreshFailed") return Answer.refused(policy, state, phase, input.error, now)
      break
    case "Committing":
      return Answer.committed(policy, state, phase, input, now)
    case "Merging":
      if (input._tag === "Woken") return Answer.wokenToCommit(state, phase)
      if (input._tag === "LeaseConfirmed") return Answer.leaseBeforeCommit(state, phase, input.held, now)
      if (input._tag === "LoadFailed")
        return Answer.retryLater(policy, state, phase, storageError(input.error), now)
      break
    case "Verifying":
      if (input._tag === "LoadFailed")
        return Answer.notVerified(policy, state, phase, storageError(input.error), now)
      break
    case "MarkingDead":
      return Answer.marked(policy, state, phase, input, now)
    case "Retracting":
      return Answer.retracted(policy, state, phase, input, now)
  }
  return unchanged(state)
}

/** What storage held, in the phase that asked for it. */
const loaded = (policy: Policy, before: State, stored: Option.Option<Versioned>, now: number): Next => {
  const { phase } = before
  const merged = takeIn(policy, before, stored, now)
  if (merged._tag === "RolledBack") return rolledBack(policy, before, now)
  const { state } = merged
  const events = merged._tag === "Changed" ? found(policy, merged, now) : []
  switch (phase._tag) {
    case "Waiting":
      return withEvents(events, waited(policy, state, phase, now))
    case "Rereading":
      return withEvents(events, reread(policy, state, phase, now))
    case "Merging":
      return withEvents(
        events,
        Option.isNone(state.uncommitted) ? end(state, phase.failure) : Answer.commitRotation(state, phase)
      )
    case "Verifying":
      return withEvents(events, Answer.verified(state, phase, now))
    case "Retracting":
      return withEvents(events, Answer.retract(state, phase, now))
    default:
      return stay(state, events)
  }
}

const rolledBack = (policy: Policy, state: State, now: number): Next => {
  const { phase } = state
  const failure: Failure = { _tag: "RolledBack" }
  switch (phase._tag) {
    case "Waiting":
      return waitFailed(policy, state, phase, failure, now)
    case "Rereading":
      return rereadFailed(policy, state, phase, failure, now)
    case "Merging":
      return Answer.retryLater(policy, state, phase, failure, now)
    case "Retracting":
      return Answer.withdrawn(state, phase, now)
    default:
      return abandon(policy, state, failure, now)
  }
}

// --- What users do, at any time ---

/** A user's save begins anew; but if something else was taken in meanwhile, storage must be read again. */
const saved = (policy: Policy, state: State, input: InputOf<"Saved">, now: number): State => {
  if (input.writes !== state.writes) return outOfDate(state)
  const { entry, version } = input
  const token = Redacted.value(entry.credentials.accessToken)
  const moment = momentOf(policy, now)
  const isOwn = Age.isJustNow(entry.credentials, now)
  const age = Age.hold(state.age, Option.some(entry.credentials), moment, isOwn, Option.none())
  return {
    ...forget(state),
    // What is saved may have been rejected by now all the same.
    rejection: Option.filter(state.rejection, (r) => Redacted.value(r.token) === token),
    memory: { _tag: "Read", stored: Option.some({ entry, version }), at: now },
    age: { ...age, readAt: Option.some(moment) },
    newest: Option.some(entry)
  }
}

const forget = (state: State): State => ({
  ...initial,
  memory: { _tag: "Read", stored: Option.none(), at: -Infinity },
  writes: state.writes + 1,
  answers: state.answers,
  age: { ...state.age, holding: Option.none() },
  lastFailure: state.lastFailure,
  closing: state.closing,
  phase: state.phase
})

/** Memory is kept, and storage is read before it is used again. */
const outOfDate = (state: State): State =>
  state.memory._tag === "Unread" ? state : { ...state, memory: { ...state.memory, at: -Infinity } }

/**
 * A resource server refused a token. An older one than the current needs no refresh. A fresh token that is refused
 * again cools down before the next refresh.
 */
const rejected = (policy: Policy, state: State, token: Redacted.Redacted, now: number): Next => {
  const isCurrent = Option.exists(
    credentialsOf(state),
    (c) => Redacted.value(c.accessToken) === Redacted.value(token)
  )
  if (!isCurrent) return unchanged(state)
  const events = [TokenEvent.Rejected({ at: now, token: Fingerprint.of(token) })]
  if (isRejected(state)) return stay(state, events)
  const recent = Option.filter(state.rejection, (r) => Math.abs(now - r.at) < rejectionMemory)
  const count = Option.match(recent, { onNone: () => 1, onSome: (r) => r.count + 1 })
  const next: State = { ...state, rejection: Option.some({ token, at: now, count }) }
  return stay(count > 1 ? cool(policy, next, now, { reason: "Rejected", failures: count - 1 }) : next, events)
}

/** Storage was read for callers, outside the flight; again, where the grant changed here meanwhile. */
const observed = (policy: Policy, state: State, input: InputOf<"Observed">, now: number): Next => {
  if (input.writes !== state.writes) return { ...unchanged(state), command: Option.some(load(state)) }
  const merged = takeIn(policy, state, input.loaded, now)
  if (merged._tag === "RolledBack") {
    return {
      ...stay(state, [TokenEvent.StorageFailed({ at: now, reason: "RolledBack", operation: "load" })]),
      released: Option.some({ failure: Option.some({ _tag: "RolledBack" }) })
    }
  }
  return stay(merged.state, merged._tag === "Changed" ? found(policy, merged, now) : [])
}

/** The flight looks again at once, if it sleeps. */
const wakes = (state: State, events: Events = []): Next => ({
  ...stay(state, events),
  command: isSleeping(state.phase) ? Option.some({ _tag: "Wake" }) : Option.none()
})

const isSleeping = (phase: Phase): boolean =>
  phase._tag === "Waiting"
    ? !phase.isReading
    : phase._tag === "Merging"
      ? phase.stage === "Sleeping"
      : "isSleeping" in phase && phase.isSleeping

/** Further attempts to store a rotation begin without a pause. */
const closing = (state: State, until: number): State => ({
  ...state,
  closing: Option.some(until),
  phase: "tries" in state.phase ? { ...state.phase, tries: 0 } : state.phase
})

const wanted = (state: State, want: Want, now: number): Next => {
  const { phase } = state
  if (phase._tag === "Idle") {
    return go(
      state,
      { _tag: "Leasing", goal: { _tag: "Refresh", want }, since: now, pause: 0 },
      {
        _tag: "TakeLease"
      }
    )
  }
  // Storage is offered the rotation once more before anyone is told that it cannot be refreshed.
  if (phase._tag === "Merging") return wakes({ ...state, phase: { ...phase, isAsked: true } })
  if (phase._tag === "MarkingDead" || phase._tag === "Retracting") return wakes(state)
  // Somebody waits for it by now: it is no longer left to another process.
  return "goal" in phase && phase.goal._tag === "Refresh" && phase.goal.want.yields && !want.yields
    ? stay({
        ...state,
        phase: { ...phase, goal: { ...phase.goal, want: { ...phase.goal.want, yields: false } } }
      })
    : unchanged(state)
}

// --- The lease ---

const noLease = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Leasing">,
  error: InputOf<"LeaseFailed">["error"],
  now: number
): Next => {
  const { goal, since } = phase
  if (Option.isSome(state.closing)) return end(state, Option.some({ _tag: "Closed" }))
  const pause = phase.pause > 0 ? phase.pause : policy.reportsChanges ? longestPause : firstPause
  if (goal._tag === "Commit") return wait(policy, state, { ...phase, pause }, Infinity)
  if (error.reason !== "Busy") return abandon(policy, state, unavailable("LeaseUnavailable", error, now), now)
  if (goal.want.yields) return end(state, Option.none())
  const left = policy.leaseWait - (now - since)
  return now < since || left <= 0
    ? abandon(policy, state, unavailable("LeaseBusy", error, now), now)
    : wait(policy, state, { ...phase, pause }, left)
}

const unavailable = (
  reason: "LeaseBusy" | "LeaseUnavailable",
  cause: InputOf<"LeaseFailed">["error"],
  now: number
): Failure => ({ _tag: "Unavailable", reason, retryAt: now + 1000, message: cause.message, cause })

const wait = (policy: Policy, state: State, phase: PhaseOf<"Leasing">, atMost: number): Next =>
  go(
    state,
    { ...phase, _tag: "Waiting", isReading: false },
    { _tag: "Wait", millis: Math.min(phase.pause * (1 + policy.jitterShare), atMost) }
  )

/** Another holder has refreshed, or the grant is not ours any more: no lease is needed. */
const endsWait: ReadonlySet<Decision.Decision["_tag"]> = new Set(["Use", "Refuse"])

/** A peer may have refreshed meanwhile; if not, the lease is asked for again. */
const waited = (policy: Policy, state: State, phase: PhaseOf<"Waiting">, now: number): Next => {
  const { goal } = phase
  const isDone =
    goal._tag === "Commit"
      ? Option.isNone(state.uncommitted)
      : endsWait.has(judgeAgain(policy, state, goal.want, now)._tag)
  return isDone
    ? end(state, Option.none())
    : go(
        state,
        { _tag: "Leasing", goal, since: phase.since, pause: Math.min(phase.pause * 2, longestPause) },
        { _tag: "TakeLease" }
      )
}

const waitFailed = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Waiting">,
  failure: Failure,
  now: number
): Next =>
  phase.goal._tag === "Commit"
    ? wait(policy, state, { ...phase, _tag: "Leasing", pause: longestPause }, Infinity)
    : abandon(policy, state, failure, now)

/** The rotation that was not stored under this lease is stored under the next. */
const released = (state: State, { failure, retries }: PhaseOf<"Releasing">, now: number): Next =>
  Option.isSome(retries) && Option.isSome(state.uncommitted) && Option.isNone(state.closing)
    ? go(
        state,
        { _tag: "Leasing", goal: { _tag: "Commit", tries: retries.value }, since: now, pause: firstPause },
        { _tag: "TakeLease" }
      )
    : over(state, failure)

// --- Under the lease, before the request ---

const rereadFailed = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Rereading">,
  failure: Failure,
  now: number
): Next =>
  phase.goal._tag === "Commit"
    ? Answer.retryLater(
        policy,
        state,
        { ...phase, tries: phase.goal.tries, isAsked: false, failure: Option.none() },
        failure,
        now
      )
    : abandon(policy, state, failure, now)

/** A forced refresh is done once the token that its caller had is no longer the current one. */
const judgeAgain = (policy: Policy, state: State, want: Want, now: number): Decision.Decision => {
  const has = Option.map(credentialsOf(state), ({ accessToken }) => accessToken)
  const isSame =
    Option.getOrNull(Option.map(want.had, Redacted.value)) ===
    Option.getOrNull(Option.map(has, Redacted.value))
  return judge(policy, state, now, { force: want.force && isSame, minValidity: want.minValidity })
}

const reread = (policy: Policy, state: State, phase: PhaseOf<"Rereading">, now: number): Next => {
  const { conflicts, goal, lease } = phase
  if (Option.isSome(state.uncommitted)) {
    // Storage must hold a refresh token before it is spent.
    const tries = goal._tag === "Commit" ? goal.tries : 0
    return Answer.commitRotation(state, { lease, conflicts, tries, isAsked: false, failure: Option.none() })
  }
  if (goal._tag === "Commit") return end(state, Option.none())
  const decision = judgeAgain(policy, state, goal.want, now)
  if (decision._tag !== "Refresh" && decision._tag !== "UseAndRefresh") {
    const isServed = decision._tag === "Use" || decision._tag === "Reload"
    return end(state, isServed ? Option.none() : Option.some({ _tag: "Decided", decision }))
  }
  const stored = storedOf(state)
  const attempt: Attempt = {
    base: Option.map(stored, ({ entry }) => entry),
    intended: stored,
    before: unanswered(state),
    lost: replayOf(policy, state, now),
    why: decision.reason,
    lease,
    conflicts
  }
  if (Option.isNone(stored) || !policy.needsRefreshToken) {
    const confirming: Phase = { _tag: "Confirming", want: goal.want, attempt, writes: state.writes }
    return go(state, confirming, { _tag: "ConfirmLease", lease })
  }
  const { entry, version } = stored.value
  const intent = new Entry.Intent({
    fingerprint: Entry.grantFingerprint(entry.credentials),
    at: now,
    attempt: attemptAfter(attempt.before)
  })
  return go(
    state,
    { _tag: "Noting", want: goal.want, attempt },
    commit(
      state,
      new Entry.Entry({ ...entry, fence: lease.fence, intent: Option.some(intent) }),
      Option.some(version)
    )
  )
}

const noted = (policy: Policy, state: State, phase: PhaseOf<"Noting">, input: Input, now: number): Next => {
  const { attempt, want } = phase
  const again = (from: State): Next =>
    attempt.conflicts < maxConflicts
      ? go(
          from,
          {
            _tag: "Rereading",
            goal: { _tag: "Refresh", want },
            lease: attempt.lease,
            conflicts: attempt.conflicts + 1
          },
          load(from)
        )
      : end(from, Option.some(busy("Other writers keep changing the credentials; try again.", now)))
  switch (input._tag) {
    case "Committed": {
      const next = noteCommitted(policy, state, input, now)
      if (input.writes !== state.writes) return again(ownIntentKnown(next, input.entry, attempt))
      const intended = Option.some({ entry: input.entry, version: input.version })
      return go(
        next,
        { _tag: "Confirming", want, attempt: { ...attempt, intended }, writes: next.writes },
        { _tag: "ConfirmLease", lease: attempt.lease }
      )
    }
    case "CommitRefused":
      return input.error.reason === "Conflict"
        ? again(state)
        : end(state, Option.some(busy(input.error.message, now)))
    case "CommitFailed":
      return abandon(policy, state, storageError(input.error), now)
    default:
      return unchanged(state)
  }
}

const confirmed = (
  policy: Policy,
  state: State,
  phase: PhaseOf<"Confirming">,
  isHeld: boolean,
  now: number
): Next => {
  const { attempt, want } = phase
  if (!isHeld) {
    // A holder that was stopped for long may have lost the lease: two must not redeem one token.
    const failure = busy("The lease lapsed before the request; try again.", now)
    return Answer.retract(state, { ...Answer.retracting, attempt, failure, retryAfter: Option.none() }, now)
  }
  if (state.writes !== phase.writes && attempt.conflicts < maxConflicts) {
    const known = Option.match(attempt.intended, {
      onNone: () => state,
      onSome: ({ entry }) => ownIntentKnown(state, entry, attempt)
    })
    return go(
      known,
      {
        _tag: "Rereading",
        goal: { _tag: "Refresh", want },
        lease: attempt.lease,
        conflicts: attempt.conflicts + 1
      },
      load(known)
    )
  }
  const grant = Option.getOrUndefined(Option.map(attempt.base, (b) => Entry.grantFingerprint(b.credentials)))
  return go(
    state,
    { _tag: "Redeeming", attempt, requestedAt: now, overdue: Option.none() },
    {
      _tag: "Redeem",
      previous: Option.map(attempt.base, ({ credentials }) => credentials),
      readsOn: Rotation.holdsLastCopy(policy.rotation, policy.refreshTimeout)
    },
    [TokenEvent.Refreshing({ at: now, grant, why: attempt.why, attempt: attemptAfter(attempt.before) })]
  )
}
