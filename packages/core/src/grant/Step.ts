/**
 * The life of one grant. Its state changes only here. Pure and total: every input has an outcome in every
 * phase, and none throws.
 *
 * A refresh without trouble goes through these phases:
 *
 * ```
 * Idle → Leasing → Rereading → Noting → Confirming → Redeeming → Committing → Releasing → Idle
 * ```
 *
 * - Storage was read just before the lease was taken: `Rereading` is left out. The commit of the intent shows
 *   whether the entry has changed since.
 * - A peer holds the lease: `Waiting` reads what the peer wrote, and takes the lease if the peer brought
 *   nothing.
 * - `invalid_grant`: `Verifying` reads storage again. A rotation by a peer is adopted. Only if there is none,
 *   `MarkingDead` marks the grant as dead. The grant is never deleted.
 * - A commit fails: `Merging` keeps the lease, sleeps, reads storage and commits again. Callers are served
 *   meanwhile. If the lease is lost, the flight takes a new one, with the goal to commit.
 * - The process crashes after the server's rotation: storage holds the intent of `Noting`. In the next
 *   process `Rereading` finds it, and `Decision` replays it inside the server's window, or as the last resort
 *   outside of it. If the server then responds with `invalid_grant`, the mark says that the rotation was
 *   lost.
 * - The request spent nothing: `Retracting` removes the intent.
 */
import * as Answer from "./Answer.js"
import { mayReopen, reopen } from "./FastPath.js"
import * as Lease from "./Lease.js"
import { reconcile } from "./Merge.js"
import type { Input, Next } from "./Messages.js"
import * as Outside from "./Outside.js"
import * as Prepare from "./Prepare.js"
import * as Settle from "./Settle.js"
import type { Failure, Phase, Policy, State } from "./State.js"
import {
  type At,
  go,
  type InputOf,
  load,
  type PhaseOf,
  stay,
  storageError,
  withEvents
} from "./Transition.js"

/** Returns the state after an input, and what to do next. */
export const step = (policy: Policy, state: State, input: Input, now: number): Next => {
  const next = transition({ policy, now }, state, input)
  return mayReopen(state, next.state, input)
    ? { ...next, state: reopen(policy, next.state, input, now) }
    : next
}

/** Inputs from outside the flight mean the same in every phase. For all others the phase decides. */
const transition = (at: At, state: State, input: Input): Next => {
  switch (input._tag) {
    case "Saved":
      return Outside.saved(at, state, input)
    case "Cleared":
      return Outside.cleared(at, state, input)
    case "Invalidated":
      return Outside.invalidated(state)
    case "Changed":
      return Outside.changed(state)
    case "Rejected":
      return Outside.rejected(at, state, input)
    case "Closing":
      return Outside.closing(state, input)
    case "Observed":
      return Outside.observed(at, state, input)
    case "ObserveFailed":
      return Outside.observeFailed(at, state, input)
    case "Loaded":
      return loaded(at, state, input)
    case "LoadFailed":
      return respond(at, state, "LoadFailed", storageError(input.error))
    default:
      return respond(at, state, input._tag, input)
  }
}

/** What each input does in each phase. An input that is not listed changes nothing. */
const table: { readonly [P in Phase["_tag"]]: Row<PhaseOf<P>> } = {
  Idle: {
    Wanted: Lease.wanted
  },

  // --- The lease ---
  Leasing: {
    Wanted: Lease.wantedToo,
    LeaseTaken: Lease.taken,
    LeaseFailed: Lease.notTaken
  },
  Waiting: {
    Wanted: Lease.wantedToo,
    Woken: Lease.lookAgain,
    Loaded: Lease.waited,
    LoadFailed: Lease.waitFailed,
    RolledBack: Lease.waitFailed
  },

  // --- Before the request ---
  Rereading: {
    Wanted: Lease.wantedToo,
    Loaded: Prepare.reread,
    LoadFailed: Prepare.rereadFailed,
    RolledBack: Prepare.rereadFailed
  },
  Noting: {
    Committed: Prepare.intentCommitted,
    CommitRefused: Prepare.intentRefused,
    CommitFailed: Prepare.intentFailed
  },
  Confirming: {
    LeaseConfirmed: Prepare.confirmed
  },

  // --- The answer ---
  Redeeming: {
    Answered: Answer.answered,
    Overdue: Answer.overdue,
    RefreshFailed: Answer.failed
  },

  // --- The commit of a rotation ---
  Committing: {
    CommitSlow: Settle.commitSlow,
    Committed: Settle.committed,
    CommitRefused: Settle.commitRefused,
    CommitFailed: Settle.commitFailed
  },
  Merging: {
    Wanted: Settle.hurry,
    Woken: Settle.confirmBeforeCommit,
    LeaseConfirmed: Settle.readBeforeCommit,
    Loaded: Settle.commitAgain,
    LoadFailed: Settle.retryLater,
    RolledBack: Settle.retryLater
  },

  // --- invalid_grant ---
  Verifying: {
    Loaded: Settle.verified,
    LoadFailed: Settle.notVerified,
    RolledBack: Settle.unverifiable
  },
  MarkingDead: {
    Wanted: Settle.hurry,
    Woken: Settle.verifyAgain,
    Committed: Settle.marked,
    CommitRefused: Settle.markRefused,
    CommitFailed: Settle.markFailed
  },

  // --- The intent of a request that spent nothing ---
  Retracting: {
    Wanted: Settle.hurry,
    Woken: Settle.readToRetract,
    Loaded: Settle.takeBack,
    LoadFailed: Settle.retractLater,
    RolledBack: Settle.retracted,
    Committed: Settle.retractionCommitted,
    CommitRefused: Settle.retracted,
    CommitFailed: Settle.retractLater
  },

  // --- The end ---
  Releasing: {
    LeaseReleased: Lease.released
  }
}

/**
 * The inputs for which the phase decides. A read that shows a storage that was rolled back has its own
 * column.
 */
type Column =
  | Exclude<
      Input["_tag"],
      "Saved" | "Cleared" | "Invalidated" | "Changed" | "Rejected" | "Closing" | "Observed" | "ObserveFailed"
    >
  | "RolledBack"

/**
 * What a handler receives: the input; nothing after a read, because the result is in the state; or the
 * failure of a read without a result.
 */
type Content<C extends Column> = C extends "Loaded"
  ? undefined
  : C extends "LoadFailed" | "RolledBack"
    ? Failure
    : C extends Input["_tag"]
      ? InputOf<C>
      : never

type Row<P extends Phase> = {
  readonly [C in Column]?: (at: At, state: State, phase: P, content: Content<C>) => Next
}

type Handler = (at: At, state: State, phase: Phase, content: unknown) => Next

/** Looks up the table, whose type pairs each phase and column with what its handler gets. */
const respond = <C extends Column>(at: At, state: State, column: C, content: Content<C>): Next => {
  const handler = (table[state.phase._tag] as Row<Phase>)[column] as Handler | undefined
  return handler === undefined ? stay(state) : handler(at, state, state.phase, content)
}

/** Storage was read. A read that began before a write shows nothing about what storage holds now. */
const loaded = (at: At, state: State, { loaded: stored, writes }: InputOf<"Loaded">): Next => {
  if (writes !== state.writes) return go(state, state.phase, load(state))
  const merged = reconcile(at.policy, state, stored, at.now)
  return merged._tag === "RolledBack"
    ? respond(at, state, "RolledBack", { _tag: "RolledBack" })
    : withEvents(Outside.found(at.policy, merged, at.now), respond(at, merged.state, "Loaded", undefined))
}
