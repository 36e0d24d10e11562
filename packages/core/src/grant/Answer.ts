/** The response of the authorization server, in the phase `Redeeming`. */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import * as TokenEvent from "../TokenEvent.js"
import { RefreshError } from "../TokenRefresher.js"
import * as Age from "./Age.js"
import * as BackOff from "./BackOff.js"
import { describeArrival } from "./Describe.js"
import { lags } from "./Merge.js"
import type { Next } from "./Messages.js"
import { commitRotation, retract } from "./Settle.js"
import { type Attempt, entryOf, type Failure, type State } from "./State.js"
import {
  type At,
  cool,
  coolDownBegan,
  end,
  go,
  type InputOf,
  load,
  type PhaseOf,
  release,
  retryAfterOf,
  settleIntent,
  stay,
  warnings,
  withEvents
} from "./Transition.js"
import { momentOf, witnessOf } from "./View.js"

/**
 * New tokens arrived. They are used from now on, saved or not. A refresh that achieved nothing starts a
 * cool-down, which grows each time.
 */
export const answered = (
  at: At,
  state: State,
  phase: PhaseOf<"Redeeming">,
  { credentials: received }: InputOf<"Answered">
): Next => {
  const { now, policy } = at
  const { base } = phase.attempt
  const kept = keep(at, state, phase, received, false)
  // The grant was cleared, or replaced by a login, before the response arrived.
  if (Option.isNone(kept)) return end(state, Option.none())
  const { entry, state: next } = kept.value
  const before = Option.map(base, (b) => b.credentials)
  const witness = witnessOf(policy, next, now)
  const failures = Option.match(state.coolDown, {
    onNone: () => 0,
    onSome: (c) => (c.reason === "Ineffective" ? c.failures : 0)
  })
  const cooled = BackOff.isIneffective(before, entry.credentials, now, witness)
    ? cool(at, next, { reason: "Ineffective", failures: failures + 1 })
    : next
  const refreshed = TokenEvent.Refreshed({
    at: now,
    took: now - phase.requestedAt,
    rotated: !Option.exists(before, (b) => Credentials.sameRefreshToken(b, entry.credentials)),
    token: Fingerprint.of(entry.credentials.accessToken),
    expiresAt: Option.getOrUndefined(entry.credentials.expiresAt)
  })
  const committing = commitNow(
    { ...cooled, lastFailure: describeArrival(received, now, witness) },
    phase.attempt,
    Option.none()
  )
  return withEvents([refreshed, ...warnings(received, now)], committing)
}

/**
 * A malformed response still holds a new refresh token. The old one is spent, so the new one is saved first.
 */
const salvaged = (
  at: At,
  state: State,
  phase: PhaseOf<"Redeeming">,
  received: Credentials.Credentials,
  error: RefreshError
): Next => {
  const kept = keep(at, state, phase, received, true)
  if (Option.isNone(kept)) return end(state, Option.none())
  const failed = failAttempt(at, kept.value.state, error, true)
  return withEvents(
    coolDownBegan(failed.state, at.now),
    commitNow(failed.state, phase.attempt, Option.some(failed.failure))
  )
}

const commitNow = (state: State, { lease }: Attempt, failure: Option.Option<Failure>): Next =>
  commitRotation(state, { lease, conflicts: 0, tries: 0, isAsked: false, failure })

/**
 * Returns the state with the rotation of a response. None if storage no longer holds the grant that was
 * redeemed.
 */
const keep = (
  at: At,
  state: State,
  { attempt, requestedAt }: PhaseOf<"Redeeming">,
  received: Credentials.Credentials,
  isMalformed: boolean
): Option.Option<{ readonly entry: Entry.Entry; readonly state: State }> => {
  const { now, policy } = at
  const { base, lease, marked } = attempt
  const credentials = Age.toStore(
    Option.map(base, (b) => b.credentials),
    received
  )
  const successor = Option.match(marked, {
    onNone: () => Entry.first(credentials),
    onSome: ({ entry }) => Entry.refreshed(entry, credentials)
  })
  const entry = Entry.bind(
    new Entry.Entry({
      ...successor,
      fence: lease.fence,
      // Each useless response costs a rotation. Everyone who shares the grant waits, longer each time.
      serverWait: isMalformed
        ? BackOff.serverWait(Option.none(), Option.some(backOffOf(at, state)), now)
        : successor.serverWait
    }),
    policy.identityOf(credentials)
  )
  const stored = state.memory._tag === "Read" ? state.memory.stored : marked
  const uncommitted = { entry, base }
  if (!lags(uncommitted, stored)) return Option.none()
  const kept: State = {
    ...state,
    memory: { _tag: "Read", stored, at: now },
    uncommitted: Option.some(uncommitted),
    newest: Option.some(entry),
    writes: state.writes + 1,
    answers: state.answers + 1,
    // A useless response does not fix the earlier problem.
    coolDown: isMalformed ? state.coolDown : Option.none(),
    dead: Option.none(),
    age: Age.obtained(state.age, credentials, {
      took: Math.max(0, now - requestedAt),
      serverTime: received.serverTime,
      now: momentOf(policy, now)
    })
  }
  return Option.some({ entry, state: kept })
}

/** How long everyone who shares the grant waits if the server did not say. */
const backOffOf = ({ now, policy }: At, state: State): number =>
  BackOff.backOff(
    Option.flatMap(entryOf(state), (e) => e.serverWait),
    now,
    policy
  )

/**
 * The time limit has passed, but the response has begun to arrive. Callers stop waiting, and reading goes on.
 */
export const overdue = (
  at: At,
  state: State,
  phase: PhaseOf<"Redeeming">,
  { message }: InputOf<"Overdue">
): Next => {
  const failure: Failure = {
    _tag: "Unavailable",
    reason: "MaybeSent",
    retryAt: at.now + 1000,
    message: `${message} The answer has begun to arrive and may hold a new refresh token: Latchkey reads on, and sends nothing meanwhile.`,
    cause: undefined
  }
  const cooled: State = {
    ...cool(at, state, { reason: "Failed" }),
    lastFailure: message,
    phase: { ...phase, overdue: Option.some(failure) }
  }
  return release(stay(cooled, coolDownBegan(cooled, at.now)), Option.some(failure))
}

/**
 * The request failed, or its response is useless. `invalid_grant` is verified before the grant counts as
 * dead. If the outcome is known, the intent is removed. If not, the intent stays and calls for a replay.
 */
export const failed = (
  at: At,
  state: State,
  phase: PhaseOf<"Redeeming">,
  input: InputOf<"RefreshFailed">
): Next => {
  const { now, policy } = at
  const { attempt } = phase
  const error =
    input.error.reason === "GrantDead" && !policy.needsRefreshToken ? notDead(input.error) : input.error
  const { reason } = error
  const event = TokenEvent.RefreshFailed({ at: now, reason, status: error.status })
  if (error.salvaged !== undefined) {
    return withEvents([event], salvaged(at, state, phase, error.salvaged, error))
  }
  if (reason === "GrantDead") {
    const progress = { conflicts: 0, tries: 0, isPublished: false }
    return go(state, { _tag: "Verifying", attempt, error, progress }, load(state), [event])
  }
  if (reason === "MaybeSent" || reason === "Malformed") {
    const { failure, state: cooled } = failAttempt(at, state, error, true)
    return withEvents([event, ...coolDownBegan(cooled, now)], end(cooled, Option.some(failure)))
  }
  const { failure, shared, state: cooled } = failAttempt(at, settleIntent(state, attempt), error, false)
  const retryAfter = Option.orElse(shared, () => retryAfterOf(error))
  return withEvents([event], retract(at, cooled, { attempt, failure, retryAfter, isCooling: true }))
}

/** Returns the state with a cool-down after a failed attempt, and the failure for callers. */
const failAttempt = (at: At, state: State, error: RefreshError, isUnknown: boolean) => {
  const retryAfter = retryAfterOf(error)
  // Everyone who shares the grant waits as well, although the server did not say for how long.
  const shared =
    error.reason === "Transient" && !Option.exists(retryAfter, (millis) => millis > 0)
      ? Option.some(backOffOf(at, state))
      : Option.none<number>()
  // The intent of a request with an unknown outcome is open from now on. The cool-down leaves time to replay
  // it.
  const phase: State["phase"] = isUnknown ? { _tag: "Idle" } : state.phase
  const { coolDown } = cool(at, { ...state, phase }, { reason: "Failed", retryAfter, shared })
  const failure: Failure = {
    _tag: "Unavailable",
    reason: error.reason,
    retryAt: Option.match(coolDown, { onNone: () => at.now, onSome: ({ until }) => until }),
    message: error.message,
    cause: error
  }
  return { state: { ...state, coolDown, lastFailure: error.message }, failure, shared }
}

/** Without a refresh token no grant can end. The request is sent again after a pause. */
const notDead = (error: RefreshError): RefreshError =>
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
