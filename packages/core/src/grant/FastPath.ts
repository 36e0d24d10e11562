/**
 * The times between which the token in memory may be served without a decision. Each caller makes two
 * comparisons.
 */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import { anyValid, servable } from "./Decision.js"
import { timeToExpiry } from "./Expiry.js"
import type { Input } from "./Messages.js"
import { credentialsOf, type Policy, type State } from "./State.js"
import { decide, judge, witnessOf } from "./View.js"

/** How long, in milliseconds, a storage that just failed is not read while there is a valid token. */
const storagePause = 1000

/**
 * Whether an input may change when the fast path is open. Only what is known counts, not what a flight is
 * doing.
 */
export const mayReopen = (before: State, after: State, input: Input): boolean =>
  input._tag === "ObserveFailed" ||
  before.memory !== after.memory ||
  before.uncommitted !== after.uncommitted ||
  before.coolDown !== after.coolDown ||
  before.rejection !== after.rejection ||
  before.dead !== after.dead ||
  before.ownIntent !== after.ownIntent ||
  before.age !== after.age

/** Returns the state with its fast path opened or closed. */
export const reopen = (policy: Policy, state: State, input: Input, now: number): State => {
  const { openFrom, openUntil } = openWindow(policy, state, input, now)
  return openFrom === state.openFrom && openUntil === state.openUntil
    ? state
    : { ...state, openFrom, openUntil }
}

type Window = Pick<State, "openFrom" | "openUntil">

const closed: Window = { openFrom: Infinity, openUntil: -Infinity }

const openWindow = (policy: Policy, state: State, input: Input, now: number): Window => {
  if (state.memory._tag === "Unread") return closed
  const decision = decide(policy, state, now, anyValid)
  // A clock that was set back passes this moment a second time. The limit means that it is noticed within the
  // tolerance.
  if (decision._tag === "Use") {
    return { openFrom: now, openUntil: Math.min(decision.nextCheckAt, now + Credentials.clockTolerance) }
  }
  if (input._tag !== "ObserveFailed") return closed
  if (Option.isNone(servable(judge(policy, state, now, anyValid)))) return closed
  const left = Option.flatMap(credentialsOf(state), (c) =>
    timeToExpiry(c, now, witnessOf(policy, state, now))
  )
  return { openFrom: now, openUntil: now + Math.min(storagePause, ...Option.toArray(left)) }
}
