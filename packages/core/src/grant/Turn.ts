/** What a caller does next to get a token: take it, read storage, wait for the flight, or fail. */
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Decision from "./Decision.js"
import {
  accessTokenOf,
  type Failure,
  isCurrent,
  isRedeeming,
  type Policy,
  type State,
  type Want
} from "./State.js"
import { decide, judge } from "./View.js"

/** A caller that wants a token. */
export interface Caller {
  readonly request: Decision.Request
  /** The access token that was current when the refresh was requested. */
  readonly had: Option.Option<Redacted.Redacted>
  /** How many refreshes had brought a token by then. */
  readonly answers: number
  /** Whether it joined a flight that was started for other callers. */
  readonly joined: boolean
  /** How many flights it has waited for. */
  readonly flights: number
  /** Until when it waits if there is a token that it may be served, by {@link Policy.uptime}. */
  readonly patientUntil: number
}

/**
 * What to do. `Join`: start the flight or join it, and wait for its next release, for at most `patience`
 * milliseconds.
 */
export type Turn =
  | { readonly _tag: "Serve"; readonly token: Redacted.Redacted }
  | { readonly _tag: "ServeAndRefresh"; readonly token: Redacted.Redacted; readonly want: Want }
  | { readonly _tag: "Read" }
  | { readonly _tag: "Join"; readonly caller: Caller; readonly want: Want; readonly patience: number }
  | { readonly _tag: "Fail"; readonly failure: Failure }

/** How long, in milliseconds, callers that join a refresh rely on its read of storage under the lease. */
const justRead = 100

/**
 * How many flights a caller waits for. One may be for others, and the token of one may expire before it is
 * served.
 */
const mostFlights = 5

/** Returns a caller's first turn. */
export const first = (
  policy: Policy,
  state: State,
  request: Decision.Request,
  now: number,
  patience: number
): Turn => {
  const decision = decide(policy, state, now, request)
  if (decision._tag !== "Reload") return obey(policy, state, request, decision, patience)
  // When many callers meet an expiry, the read by the refresh that they join is enough: every other process
  // that wants to refresh waits for the lease.
  const age = state.memory._tag === "Read" ? now - state.memory.at : Infinity
  return isRedeeming(state) && age >= 0 && age < justRead
    ? obey(policy, state, request, judge(policy, state, now, request), patience)
    : { _tag: "Read" }
}

/** Returns the turn after a read of storage, successful or not. */
export const afterRead = (
  policy: Policy,
  state: State,
  request: Decision.Request,
  failure: Option.Option<Failure>,
  now: number,
  patience: number
): Turn => {
  const decision = judge(policy, state, now, request)
  return Option.isNone(failure)
    ? obey(policy, state, request, decision, patience)
    : serveOr(request, decision, { _tag: "Fail", failure: failure.value })
}

/** Serves the token that is still valid, unless the caller wants another one. */
const serveOr = (request: Decision.Request, decision: Decision.Decision, otherwise: Turn): Turn => {
  const token = Decision.servable(decision)
  return Option.isSome(token) && !request.force ? { _tag: "Serve", token: token.value } : otherwise
}

/**
 * Returns the turn after the flight released its callers. If a refresh failed within the grace, the token
 * that is still valid is served. A flight that ended without a refresh for this caller, and without a
 * failure, is followed by another one.
 */
export const afterFlight = (
  policy: Policy,
  state: State,
  caller: Caller,
  failure: Option.Option<Failure>,
  now: number
): Turn => {
  const { flights, request } = caller
  const mayJoin = Option.isNone(failure) && flights < mostFlights
  if (mayJoin && request.force && wasForOthers(state, caller) && mayHold(state, caller.had)) {
    return joinAgain(state, caller, caller.had, Infinity)
  }
  if (Option.isSome(failure) && request.force) return { _tag: "Fail", failure: failure.value }
  const plain = { ...request, force: false }
  const decision = judge(policy, state, now, plain)
  if (mayJoin && decision._tag === "Refresh") {
    // A process that stalls for long may find that the new token has already expired, or was rejected.
    const isGone = decision.reason === "Expired" || decision.reason === "Rejected"
    // Any other token satisfies a forced refresh, which must not fail because that token is also due.
    if (isGone || (!request.force && wasForOthers(state, caller))) {
      return joinAgain(state, caller, accessTokenOf(state), waitFor(policy, caller, decision))
    }
  }
  const token = Decision.servable(decision)
  if (Option.isSome(token)) return { _tag: "Serve", token: token.value }
  if (Option.isSome(failure)) return { _tag: "Fail", failure: failure.value }
  return decision._tag === "Refresh"
    ? { _tag: "Fail", failure: { _tag: "TooShort" } }
    : refuse(state, decision)
}

/** The caller's patience is over: serve the token that is still valid, or wait without a limit. */
export const outOfPatience = (policy: Policy, state: State, caller: Caller, now: number): Turn =>
  Option.match(Decision.servable(judge(policy, state, now, caller.request)), {
    onNone: () => join(caller, Infinity),
    onSome: (token) => ({ _tag: "Serve", token })
  })

const obey = (
  policy: Policy,
  state: State,
  request: Decision.Request,
  decision: Decision.Decision,
  patience: number
): Turn => {
  const had = accessTokenOf(state)
  switch (decision._tag) {
    case "Use":
      return { _tag: "Serve", token: decision.token }
    case "UseAndRefresh":
      return { _tag: "ServeAndRefresh", token: decision.token, want: wantOf(request, had) }
    case "Refresh": {
      const overdue = state.phase._tag === "Redeeming" ? state.phase.overdue : Option.none()
      if (Option.isSome(overdue)) return serveOr(request, decision, { _tag: "Fail", failure: overdue.value })
      const joined = state.phase._tag !== "Idle"
      const patientUntil = policy.uptime + patience
      const caller = { request, had, answers: state.answers, joined, flights: 1, patientUntil }
      return join(caller, waitFor(policy, caller, decision))
    }
    case "CoolDown":
      return serveOr(request, decision, refuse(state, decision))
    case "Reload":
    case "Reauthorize":
    case "TooShortLived":
    case "Refuse":
      return refuse(state, decision)
  }
}

/** Memory that was dropped before this caller's turn shows nothing about the grant, so it is read again. */
const refuse = (state: State, decision: Decision.Decision): Turn =>
  state.memory._tag === "Unread" && Option.isNone(state.uncommitted)
    ? { _tag: "Read" }
    : { _tag: "Fail", failure: { _tag: "Decided", decision } }

const wantOf = (request: Decision.Request, had: Option.Option<Redacted.Redacted>): Want => ({
  ...request,
  had,
  yields: false
})

const join = (caller: Caller, patience: number): Turn => ({
  _tag: "Join",
  caller,
  want: wantOf(caller.request, caller.had),
  patience
})

const joinAgain = (
  state: State,
  caller: Caller,
  had: Option.Option<Redacted.Redacted>,
  patience: number
): Turn =>
  join(
    {
      ...caller,
      had,
      answers: state.answers,
      joined: state.phase._tag !== "Idle",
      flights: caller.flights + 1
    },
    patience
  )

/**
 * How long, in milliseconds, a caller waits for a flight. Together with all earlier flights, no longer than
 * its patience.
 */
const waitFor = (
  { uptime }: Policy,
  { patientUntil, request }: Caller,
  { fallback, reason }: Extract<Decision.Decision, { _tag: "Refresh" }>
): number => {
  // A token that may have expired is served only if the refresh fails.
  const hasToken = !request.force && Option.isSome(fallback) && reason !== "AgeUnknown"
  return hasToken ? Math.max(0, patientUntil - uptime) : Infinity
}

/**
 * Whether the flight was started for others and brought no token since. It may have been at its end already.
 */
const wasForOthers = (state: State, { answers, joined }: Caller): boolean =>
  joined && state.answers === answers

/** Whether the token that a caller wants replaced may still be the current one. */
const mayHold = (state: State, had: Option.Option<Redacted.Redacted>): boolean =>
  Option.exists(
    had,
    // Memory that was dropped meanwhile does not show what storage holds.
    (token) => isCurrent(state, token) || state.memory._tag === "Unread"
  )
