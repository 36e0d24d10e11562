/** Derives from a state at a moment the view of the grant that decisions are based on. */
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import type { Warning } from "../AuthStatus.js"
import * as Entry from "../Entry.js"
import type * as GrantIdentity from "../GrantIdentity.js"
import * as Age from "./Age.js"
import { cooling } from "./BackOff.js"
import * as Decision from "./Decision.js"
import { isExpired, isFresh as isFreshRecord, isGraceTooLong, type Witness } from "./Expiry.js"
import { openIntent } from "./Marks.js"
import { mismatch } from "./Mismatch.js"
import * as Replay from "./Replay.js"
import { credentialsOf, entryOf, isRejected, type Policy, type State } from "./State.js"

/** Returns what a caller gets now. Storage is read first if memory is not fresh. */
export const decide = (
  policy: Policy,
  state: State,
  now: number,
  request: Decision.Request
): Decision.Decision => Decision.decide(Option.some(heldOf(policy, state, now)), now, policy, request)

/** Returns what a caller gets now, if storage holds the same as memory. */
export const judge = (
  policy: Policy,
  state: State,
  now: number,
  request: Decision.Request
): Decision.Decision => Decision.judge(heldOf(policy, state, now), now, policy, request)

/** Converts the state to the form that {@link Decision} needs. */
export const heldOf = (policy: Policy, state: State, now: number): Decision.Held => {
  const entry = entryOf(state)
  const credentials = credentialsOf(state)
  const dead = Option.filter(
    Option.orElse(state.dead, () => Option.flatMap(entry, (e) => e.dead)),
    // The refusal of a refresh token cannot end a grant that needs none, even if storage has the mark.
    ({ fingerprint }) =>
      policy.needsRefreshToken && Option.exists(credentials, (c) => Entry.grantFingerprint(c) === fingerprint)
  )
  return {
    credentials,
    loadedAt: state.memory._tag === "Read" ? state.memory.at : -Infinity,
    refreshable:
      !policy.needsRefreshToken || Option.exists(credentials, (c) => Option.isSome(c.refreshToken)),
    mismatch: mismatchOf(policy, state),
    dead,
    rejected: isRejected(state),
    coolDown: state.coolDown,
    serverWait: Option.flatMap(entry, (e) => e.serverWait),
    openIntent: openIntentOf(state),
    rotation: policy.rotation,
    serverAhead: policy.serverAhead,
    jitterShare: policy.jitterShare,
    witness: witnessOf(policy, state, now)
  }
}

/**
 * Returns the intent of a request whose outcome is unknown. Our own intent does not count while its request
 * is running, or once its outcome is known here.
 */
export const openIntentOf = (state: State): Option.Option<Entry.Intent> => {
  const { ownIntent, phase } = state
  const written = Option.flatMap(entryOf(state), openIntent)
  if (Option.isNone(written)) return written
  const isOurs = (intent: Entry.Intent): boolean => Equal.equals(intent, written.value)
  const isUnderWay =
    "attempt" in phase &&
    phase._tag !== "Noting" &&
    Option.exists(phase.attempt.marked, ({ entry }) => Option.exists(entry.intent, isOurs))
  if (isUnderWay) return Option.none()
  return Option.match(
    Option.filter(ownIntent, ({ intent }) => isOurs(intent)),
    { onNone: () => written, onSome: ({ older }) => older }
  )
}

/** Returns the replay that the next refresh would be, because of an open intent. */
export const replayOf = (policy: Policy, state: State, now: number): Option.Option<Replay.Replay> =>
  Replay.replay(policy.rotation, openIntentOf(state), now)

/** Returns what is known about the age of the current access token. */
export const witnessOf = (policy: Policy, state: State, now: number): Witness =>
  Age.witness(state.age, credentialsOf(state), momentOf(policy, now))

/** Returns this moment by both clocks. */
export const momentOf = ({ uptime }: Policy, now: number): Age.Moment => ({ wall: now, uptime })

/** How the stored grant differs from those that may be redeemed here, if it does. */
export const mismatchOf = (policy: Policy, state: State): Option.Option<GrantIdentity.Mismatch> =>
  Option.flatMap(entryOf(state), (entry) =>
    Option.flatMap(policy.identityOf(entry.credentials), (identity) =>
      mismatch(entry, identity, policy.formerly)
    )
  )

/** Whether memory may be trusted: it was read or written recently, and its token has not expired. */
export const isFresh = (policy: Policy, state: State, now: number): boolean => {
  const { memory } = state
  return Option.exists(
    credentialsOf(state),
    (c) =>
      memory._tag === "Read" &&
      isFreshRecord(c, memory.at, now, policy.credentialsTtl, witnessOf(policy, state, now))
  )
}

/** Whether there is a token that has not expired. */
export const hasValidToken = (policy: Policy, state: State, now: number): boolean =>
  Option.exists(credentialsOf(state), (c) => !isExpired(c, now, witnessOf(policy, state, now)))

/** Problems to show. There may still be a session. */
export const warningsOf = (policy: Policy, state: State, now: number): ReadonlyArray<Warning> => {
  const held = heldOf(policy, state, now)
  const warnings: ReadonlyArray<readonly [Warning, boolean]> = [
    ["Unsaved", Option.isSome(state.uncommitted)],
    ["GrantDead", Option.isSome(held.dead)],
    ["CoolingDown", Option.isSome(cooling(held, now))],
    ["GraceClamped", Option.exists(held.credentials, (c) => isGraceTooLong(c, policy.grace))],
    ["GrantMismatch", Option.isSome(held.mismatch)]
  ]
  return warnings.flatMap(([warning, applies]) => (applies ? [warning] : []))
}
