/**
 * Inputs from outside the flight, which may arrive in any phase: calls by users, reads for callers, reports
 * by storage.
 */
import * as Option from "effect/Option"
import * as Fingerprint from "../Fingerprint.js"
import * as TokenEvent from "../TokenEvent.js"
import { type Merged, reconcile } from "./Merge.js"
import type { Next } from "./Messages.js"
import { entryOf, initial, isCurrent, isRejected, type Policy, type State } from "./State.js"
import {
  type At,
  cool,
  type Events,
  identify,
  type InputOf,
  inStorage,
  load,
  release,
  rolledBack,
  saved as savedEvent,
  stay,
  storageFailed,
  wake,
  warnings
} from "./Transition.js"
import { mismatchOf } from "./View.js"

/** A login starts afresh. If the grant changed here since the save began, storage must be read again. */
export const saved = (at: At, state: State, input: InputOf<"Saved">): Next => {
  const { entry, writes } = input
  const events = [...warnings(entry.credentials, at.now), savedEvent(entry, at.now)]
  if (writes !== state.writes) return wake(outOfDate(state), events)
  const next = inStorage(at, { ...forget(state), age: state.age }, input)
  // The rejected token may be the saved one.
  const rejection = Option.filter(state.rejection, ({ token }) => isCurrent(next, token))
  return wake({ ...next, rejection }, events)
}

export const cleared = ({ now }: At, state: State, { existed }: InputOf<"Cleared">): Next =>
  wake(forget(state), [TokenEvent.Cleared({ at: now, existed })])

/** Forgets everything known about the grant. The flight goes on. */
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

export const invalidated = (state: State): Next => stay({ ...state, memory: { _tag: "Unread" } })

export const changed = (state: State): Next => wake(outOfDate(state))

/** Keeps memory, but storage is read before memory is used again. */
const outOfDate = (state: State): State =>
  state.memory._tag === "Unread" ? state : { ...state, memory: { ...state.memory, at: -Infinity } }

/** For how long, in milliseconds, a second rejection counts as another one in a row. */
const rejectionMemory = 600_000

/**
 * A resource server refused a token. A token that is no longer current needs no refresh. If a fresh token is
 * refused too, the grant cools down before the next refresh.
 */
export const rejected = (at: At, state: State, { token }: InputOf<"Rejected">): Next => {
  const { now } = at
  if (!isCurrent(state, token)) return stay(state)
  const events = [TokenEvent.Rejected({ at: now, token: Fingerprint.of(token) })]
  if (isRejected(state)) return stay(state, events)
  const recent = Option.filter(state.rejection, (r) => Math.abs(now - r.at) < rejectionMemory)
  const count = Option.match(recent, { onNone: () => 1, onSome: (r) => r.count + 1 })
  const next: State = { ...state, rejection: Option.some({ token, at: now, count }) }
  return stay(count > 1 ? cool(at, next, { reason: "Rejected", failures: count - 1 }) : next, events)
}

/** Attempts to store a rotation start again at once. */
export const closing = (state: State, { until }: InputOf<"Closing">): Next =>
  wake({
    ...state,
    closing: Option.some(until),
    phase: "tries" in state.phase ? { ...state.phase, tries: 0 } : state.phase
  })

/** Storage was read for callers. If the grant changed here meanwhile, storage is read again. */
export const observed = ({ now, policy }: At, state: State, input: InputOf<"Observed">): Next => {
  if (input.writes !== state.writes) return { ...stay(state), command: Option.some(load(state)) }
  const merged = reconcile(policy, state, input.loaded, now)
  return merged._tag === "RolledBack"
    ? release(stay(state, [rolledBack(now)]), Option.some({ _tag: "RolledBack" }))
    : stay(merged.state, found(policy, merged, now))
}

/** Returns a new state, so that the fast path opens again. */
export const observeFailed = ({ now }: At, state: State, { error }: InputOf<"ObserveFailed">): Next =>
  stay({ ...state }, [storageFailed(error, now)])

/** Storage holds newer credentials, or a grant that this client may not use. */
export const found = (
  policy: Policy,
  merged: Exclude<Merged, { readonly _tag: "RolledBack" }>,
  at: number
): Events => {
  if (merged._tag === "Unchanged") return []
  const mismatch = mismatchOf(policy, merged.state)
  if (Option.isSome(mismatch)) return [TokenEvent.GrantMismatch({ at, reason: mismatch.value.difference })]
  return merged.isAdopted
    ? Option.toArray(entryOf(merged.state)).map((entry) => TokenEvent.Adopted({ at, ...identify(entry) }))
    : []
}
