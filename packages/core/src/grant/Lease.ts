/** The phases around the lease: `Leasing`, `Waiting` and `Releasing`. */
import * as Option from "effect/Option"
import type * as Decision from "./Decision.js"
import type { Next } from "./Messages.js"
import { decideAgain, reread } from "./Prepare.js"
import { type Failure, type State, storedOf } from "./State.js"
import { abandon, type At, end, go, type InputOf, load, over, type PhaseOf, stay } from "./Transition.js"

/** How long, in milliseconds, a process first sleeps while another holds the lease, and how long at most. */
const firstPause = 20
const longestPause = 500

const take = (state: State, goal: PhaseOf<"Leasing">["goal"], since: number, pause = 0): Next =>
  go(state, { _tag: "Leasing", goal, since, pause }, { _tag: "TakeLease" })

/** A caller needs a refresh, and no flight is running. */
export const wanted = ({ now }: At, state: State, _: PhaseOf<"Idle">, { want }: InputOf<"Wanted">): Next =>
  take(state, { _tag: "Refresh", want }, now)

/** A caller now waits for the refresh, so the flight no longer leaves it to another process. */
export const wantedToo = (
  _: At,
  state: State,
  phase: PhaseOf<"Leasing" | "Waiting" | "Rereading">,
  { want }: InputOf<"Wanted">
): Next => {
  const { goal } = phase
  return goal._tag === "Refresh" && goal.want.yields && !want.yields
    ? stay({ ...state, phase: { ...phase, goal: { ...goal, want: { ...goal.want, yields: false } } } })
    : stay(state)
}

/** For how long, in milliseconds, a refresh relies on the entry that was read before it had the lease. */
const justRead = 1000

/**
 * Reads storage under the lease, because another holder may have refreshed. If it was read a moment ago, the commit of
 * the intent is enough: storage refuses it if the entry has changed since.
 */
export const taken = (
  at: At,
  state: State,
  { goal }: PhaseOf<"Leasing">,
  { lease }: InputOf<"LeaseTaken">
): Next => {
  const phase: PhaseOf<"Rereading"> = { _tag: "Rereading", goal, lease, conflicts: 0 }
  return mayRelyOnMemory(at, state, goal)
    ? reread(at, { ...state, phase }, phase)
    : go(state, phase, load(state))
}

const mayRelyOnMemory = ({ now, policy }: At, state: State, goal: PhaseOf<"Leasing">["goal"]): boolean => {
  const age = state.memory._tag === "Read" ? now - state.memory.at : Infinity
  const commitsIntent = policy.needsRefreshToken && Option.isSome(storedOf(state))
  return (
    goal._tag === "Refresh" && Option.isNone(state.uncommitted) && commitsIntent && age >= 0 && age < justRead
  )
}

/**
 * Another process holds the lease, or the lease failed. A flight that yields leaves the refresh to the other
 * process.
 */
export const notTaken = (
  at: At,
  state: State,
  phase: PhaseOf<"Leasing">,
  { error }: InputOf<"LeaseFailed">
): Next => {
  const { now, policy } = at
  const { goal, since } = phase
  if (Option.isSome(state.closing)) return end(state, Option.some({ _tag: "Closed" }))
  const pause = phase.pause > 0 ? phase.pause : policy.reportsChanges ? longestPause : firstPause
  if (goal._tag === "Commit") return wait(at, state, { ...phase, pause }, Infinity)
  const fail = (reason: "LeaseBusy" | "LeaseUnavailable"): Next =>
    abandon(at, state, {
      _tag: "Unavailable",
      reason,
      retryAt: now + 1000,
      message: error.message,
      cause: error
    })
  if (error.reason !== "Busy") return fail("LeaseUnavailable")
  if (goal.want.yields) return end(state, Option.none())
  const left = policy.leaseWait - (now - since)
  return now < since || left <= 0 ? fail("LeaseBusy") : wait(at, state, { ...phase, pause }, left)
}

const wait = ({ policy }: At, state: State, phase: PhaseOf<"Leasing" | "Waiting">, atMost: number): Next =>
  go(
    state,
    { ...phase, _tag: "Waiting", isReading: false },
    { _tag: "Wait", millis: Math.min(phase.pause * (1 + policy.jitterShare), atMost) }
  )

export const lookAgain = (_: At, state: State, phase: PhaseOf<"Waiting">): Next =>
  go(state, { ...phase, isReading: true }, load(state))

/**
 * Whether the lease is no longer needed: another holder has refreshed, the grant belongs to another identity,
 * or nothing may be sent for now. A refresh without a response may be the one that the other holder is
 * working on.
 */
const isOver = (decision: Decision.Decision): boolean =>
  decision._tag === "Use" ||
  decision._tag === "Refuse" ||
  (decision._tag === "CoolDown" && decision.reason !== "AnswerLost")

/** A peer may have refreshed meanwhile. If not, the flight tries to take the lease again. */
export const waited = (at: At, state: State, { goal, pause, since }: PhaseOf<"Waiting">): Next => {
  const again = () => take(state, goal, since, Math.min(pause * 2, longestPause))
  if (goal._tag === "Commit") return Option.isNone(state.uncommitted) ? end(state, Option.none()) : again()
  const decision = decideAgain(at, state, goal.want)
  if (!isOver(decision)) return again()
  // A forced refresh that may not be sent has failed, although there is a valid token.
  return end(state, decision._tag === "Use" ? Option.none() : Option.some({ _tag: "Decided", decision }))
}

/** Storage cannot be read. A rotation that is not saved is never given up. */
export const waitFailed = (at: At, state: State, phase: PhaseOf<"Waiting">, failure: Failure): Next =>
  phase.goal._tag === "Commit"
    ? wait(at, state, { ...phase, pause: longestPause }, Infinity)
    : abandon(at, state, failure)

/** The flight is over, unless its rotation must still be stored under another lease. */
export const released = ({ now }: At, state: State, { failure, retries }: PhaseOf<"Releasing">): Next =>
  Option.isSome(retries) && Option.isSome(state.uncommitted) && Option.isNone(state.closing)
    ? take(state, { _tag: "Commit", tries: retries.value }, now, firstPause)
    : over(state, failure)
