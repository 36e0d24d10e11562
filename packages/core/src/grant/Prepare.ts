/** The phases before the request, under the lease: `Rereading`, `Noting` and `Confirming`. */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Entry from "../Entry.js"
import * as TokenEvent from "../TokenEvent.js"
import type * as Decision from "./Decision.js"
import type { Next } from "./Messages.js"
import * as Replay from "./Replay.js"
import { commitRotation, retract, retryLater } from "./Settle.js"
import { accessTokenOf, type Attempt, type Failure, type State, storedOf, type Want } from "./State.js"
import {
  abandon,
  afterCommit,
  type At,
  busy,
  busyWriters,
  commit,
  end,
  go,
  type InputOf,
  load,
  maxConflicts,
  type PhaseOf,
  settleIntent,
  storageError
} from "./Transition.js"
import { judge, openIntentOf, replayOf } from "./View.js"

/** Decides again. A forced refresh is done once its caller's token is no longer the current one. */
export const decideAgain = ({ now, policy }: At, state: State, want: Want): Decision.Decision => {
  const secretOf = (token: Option.Option<Redacted.Redacted>) =>
    Option.getOrNull(Option.map(token, Redacted.value))
  const isSame = secretOf(want.had) === secretOf(accessTokenOf(state))
  return judge(policy, state, now, { force: want.force && isSame, minValidity: want.minValidity })
}

/**
 * Storage was read under the lease. If a peer has refreshed meanwhile, nothing is sent. Otherwise an intent
 * is committed before the request: it proves that storage can be written before a token is spent, and shows a
 * crash to the next process.
 */
export const reread = (at: At, state: State, phase: PhaseOf<"Rereading">): Next => {
  const { now, policy } = at
  const { conflicts, goal, lease } = phase
  if (Option.isSome(state.uncommitted)) {
    // Storage must hold a refresh token before it is spent.
    const tries = goal._tag === "Commit" ? goal.tries : 0
    return commitRotation(state, { lease, conflicts, tries, isAsked: false, failure: Option.none() })
  }
  if (goal._tag === "Commit") return end(state, Option.none())
  const { want } = goal
  const decision = decideAgain(at, state, want)
  if (decision._tag !== "Refresh" && decision._tag !== "UseAndRefresh") {
    return end(state, decision._tag === "Use" ? Option.none() : Option.some({ _tag: "Decided", decision }))
  }
  const stored = storedOf(state)
  const attempt: Attempt = {
    base: Option.map(stored, ({ entry }) => entry),
    marked: stored,
    olderIntent: openIntentOf(state),
    replay: replayOf(policy, state, now),
    why: decision.reason,
    lease,
    conflicts
  }
  if (Option.isNone(stored) || !policy.needsRefreshToken) return confirmLease(state, want, attempt)
  const { entry, version } = stored.value
  const intent = new Entry.Intent({
    fingerprint: Entry.grantFingerprint(entry.credentials),
    at: now,
    attempt: numberOf(attempt)
  })
  const marked = new Entry.Entry({ ...entry, fence: lease.fence, intent: Option.some(intent) })
  return go(state, { _tag: "Noting", want, attempt }, commit(state, marked, Option.some(version)))
}

/** The number of this request for this refresh token, counted from 1. */
const numberOf = ({ olderIntent }: Attempt): number =>
  1 + Option.match(olderIntent, { onNone: () => 0, onSome: ({ attempt }) => attempt })

const confirmLease = (state: State, want: Want, attempt: Attempt): Next =>
  go(
    state,
    { _tag: "Confirming", want, attempt, writes: state.writes },
    { _tag: "ConfirmLease", lease: attempt.lease }
  )

export const rereadFailed = (at: At, state: State, phase: PhaseOf<"Rereading">, failure: Failure): Next =>
  phase.goal._tag === "Commit"
    ? retryLater(
        at,
        state,
        { ...phase, tries: phase.goal.tries, isAsked: false, failure: Option.none() },
        failure
      )
    : abandon(at, state, failure)

/** Reads storage again because the grant changed meanwhile. */
const rereadAfterChange = (state: State, want: Want, { conflicts, lease }: Attempt): Next =>
  go(
    state,
    { _tag: "Rereading", goal: { _tag: "Refresh", want }, lease, conflicts: conflicts + 1 },
    load(state)
  )

export const intentCommitted = (
  at: At,
  state: State,
  { attempt, want }: PhaseOf<"Noting">,
  input: InputOf<"Committed">
): Next => {
  const { entry, version, writes } = input
  const marked = { ...attempt, marked: Option.some({ entry, version }) }
  const next = afterCommit(at, state, input)
  if (writes === state.writes) return confirmLease(next, want, marked)
  return attempt.conflicts < maxConflicts
    ? rereadAfterChange(settleIntent(next, marked), want, attempt)
    : end(settleIntent(next, marked), Option.some(busyWriters(at.now)))
}

export const intentRefused = (
  { now }: At,
  state: State,
  { attempt, want }: PhaseOf<"Noting">,
  { error }: InputOf<"CommitRefused">
): Next => {
  if (error.reason !== "Conflict") return end(state, Option.some(busy(error.message, now)))
  return attempt.conflicts < maxConflicts
    ? rereadAfterChange(state, want, attempt)
    : end(state, Option.some(busyWriters(now)))
}

export const intentFailed = (
  at: At,
  state: State,
  _: PhaseOf<"Noting">,
  { error }: InputOf<"CommitFailed">
): Next => abandon(at, state, storageError(error))

/** Sends the request if the lease is still held, because two processes must not redeem one token. */
export const confirmed = (
  at: At,
  state: State,
  { attempt, want, writes }: PhaseOf<"Confirming">,
  { held }: InputOf<"LeaseConfirmed">
): Next => {
  const { now, policy } = at
  if (held !== "yes") {
    const failure = busy("The lease lapsed before the request; try again.", now)
    return retract(at, state, { attempt, failure })
  }
  if (state.writes !== writes && attempt.conflicts < maxConflicts) {
    return rereadAfterChange(settleIntent(state, attempt), want, attempt)
  }
  const grant = Option.map(attempt.base, (b) => Entry.grantFingerprint(b.credentials))
  return go(
    state,
    { _tag: "Redeeming", attempt, requestedAt: now, overdue: Option.none() },
    {
      _tag: "Redeem",
      previous: Option.map(attempt.base, ({ credentials }) => credentials),
      readsOn: Replay.holdsLastCopy(policy.rotation, policy.refreshTimeout)
    },
    [
      TokenEvent.Refreshing({
        at: now,
        grant: Option.getOrUndefined(grant),
        why: attempt.why,
        attempt: numberOf(attempt)
      })
    ]
  )
}
