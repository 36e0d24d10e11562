/**
 * What one process knows about one grant, and what the grant is doing: plain immutable records.
 *
 * `Step` is the only module that makes a new state. Times are epoch milliseconds.
 *
 * @since 0.1.0
 */
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Warning } from "../AuthStatus.js"
import type * as Credentials from "../Credentials.js"
import * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import type * as GrantIdentity from "../GrantIdentity.js"
import type { LeaseError } from "../RefreshLease.js"
import * as Rotation from "../RotationPolicy.js"
import type { RefreshError } from "../TokenRefresher.js"
import type { StorageError, Versioned } from "../TokenStorage.js"
import * as Age from "./Age.js"

/**
 * All that the machine needs to know beside the state, as milliseconds and plain values.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy extends Decision.Policy {
  /** How long to wait for another holder of the lease. */
  readonly leaseWait: number
  /** What the server does with a spent refresh token. */
  readonly rotation: Rotation.RotationPolicy
  /** Whether a refresh spends a refresh token; if not, it needs no credentials and no intent. */
  readonly needsRefreshToken: boolean
  /** Longer than this no caller waits for the answer to one request. */
  readonly refreshTimeout: number
  /** The server and client of whom a grant has to be, where that is known, and names that the server had before. */
  readonly identityOf: (credentials: Credentials.Credentials) => Option.Option<GrantIdentity.GrantIdentity>
  readonly formerly: ReadonlyArray<string>
  /** By how many milliseconds the server's clock is ahead of ours. */
  readonly serverAhead: number
  /** From 0 to 1: this account and instance's share of the jitter. */
  readonly jitterShare: number
  /** What the clock shows that only runs and is never set, in milliseconds. */
  readonly uptime: number
  /** Whether storage reports changes made by others, so that a wait ends when one arrives. */
  readonly reportsChanges: boolean
}

/**
 * What was last read from storage, or written there. `Unread`: nothing was read yet, or memory was
 * invalidated. `at` is -Infinity where storage is known to have changed since.
 *
 * @since 0.1.0
 * @category models
 */
export type Memory =
  | { readonly _tag: "Unread" }
  | { readonly _tag: "Read"; readonly stored: Option.Option<Versioned>; readonly at: number }

/**
 * A rotation that the server answered and storage does not hold yet. `base` is the entry whose refresh token it spent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Uncommitted {
  readonly entry: Entry.Entry
  readonly base: Option.Option<Entry.Entry>
}

/**
 * An access token that a resource server refused: when, and how many fresh ones in a row were refused before it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rejection {
  readonly token: Redacted.Redacted
  readonly at: number
  readonly count: number
}

/**
 * What a flight was started for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Want extends Decision.Request {
  /** The access token that the caller had; a forced refresh is done once another one is current. */
  readonly had: Option.Option<Redacted.Redacted>
  /** Whether to leave the refresh to another holder of the lease rather than wait for it. */
  readonly yields: boolean
}

/**
 * The lease that the flight holds, by its fencing number.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeldLease {
  readonly fence: number
}

/**
 * One attempt to redeem: what storage held, our intent in it (none where no refresh token is spent), the intent that
 * was there before, what that makes of this attempt, and the lease.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attempt {
  readonly base: Option.Option<Entry.Entry>
  readonly intended: Option.Option<Versioned>
  readonly before: Option.Option<Entry.Intent>
  readonly lost: Option.Option<Rotation.Replay>
  readonly why: Decision.DueReason
  readonly lease: HeldLease
  /** How often another writer was faster, so far. */
  readonly conflicts: number
}

/**
 * Why a flight brought no token, or did nothing.
 *
 * @since 0.1.0
 * @category models
 */
export type Failure =
  | { readonly _tag: "Decided"; readonly decision: Decision.Decision }
  | {
      readonly _tag: "Unavailable"
      readonly reason: RefreshError["reason"] | "LeaseBusy" | "LeaseUnavailable"
      readonly retryAt: number
      readonly message: string
      readonly cause: RefreshError | LeaseError | undefined
    }
  | { readonly _tag: "StorageFailed"; readonly error: StorageError }
  /** Storage holds an earlier state of the grant than one seen before; its refresh token is spent. */
  | { readonly _tag: "RolledBack" }
  /** The token of the refresh does not live for as long as was asked. */
  | { readonly _tag: "TooShort" }
  /** The manager's scope is closed. */
  | { readonly _tag: "Closed" }

/**
 * What a grant is doing. Each phase names the one command that is under way, whose outcome is the next input.
 *
 * - `Idle`: nothing.
 * - `Leasing`: taking the lease. `Waiting`: another process holds it; sleeping, then reading what it wrote.
 * - `Rereading`: reading storage under the lease, to decide again.
 * - `Noting`: committing the intent to spend the refresh token.
 * - `Confirming`: asking whether the lease is still held. `Redeeming`: the request to the authorization server.
 * - `Committing`: writing the rotation. `Merging`: storage failed or moved on; waiting, then reading it, lease in hand.
 * - `Verifying`: `invalid_grant` arrived; reading whether a peer rotated meanwhile. `MarkingDead`: nobody did.
 * - `Retracting`: taking back the intent of a request whose outcome is known.
 * - `Releasing`: the flight is over but for the release of its lease.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase =
  | { readonly _tag: "Idle" }
  | Leasing
  | Waiting
  | { readonly _tag: "Rereading"; readonly goal: Goal; readonly lease: HeldLease; readonly conflicts: number }
  | { readonly _tag: "Noting"; readonly want: Want; readonly attempt: Attempt }
  /** `writes` is the state's counter when the intent was committed: what changed since is read first. */
  | { readonly _tag: "Confirming"; readonly want: Want; readonly attempt: Attempt; readonly writes: number }
  | {
      readonly _tag: "Redeeming"
      readonly attempt: Attempt
      readonly requestedAt: number
      /** What callers get once the answer is overdue; it is read on, as it may hold the only copy of a token. */
      readonly overdue: Option.Option<Failure>
    }
  | Committing
  | (Omit<Committing, "_tag"> & {
      readonly _tag: "Merging"
      readonly stage: "Sleeping" | "Confirming" | "Reading"
    })
  | {
      readonly _tag: "Verifying"
      readonly attempt: Attempt
      readonly error: RefreshError
      readonly progress: Progress
    }
  | {
      readonly _tag: "MarkingDead"
      readonly attempt: Attempt
      readonly error: RefreshError
      readonly dead: Entry.DeadGrant
      readonly progress: Progress
      readonly isSleeping: boolean
    }
  | {
      readonly _tag: "Retracting"
      readonly attempt: Attempt
      readonly failure: Failure
      /** For how long the server is to be left alone, if it is. */
      readonly retryAfter: Option.Option<number>
      /** Whether a cool-down is to be published once storage has the wait. */
      readonly isCooling: boolean
      /** How often storage failed. */
      readonly tries: number
      readonly isSleeping: boolean
    }
  | {
      readonly _tag: "Releasing"
      readonly lease: HeldLease
      readonly failure: Option.Option<Failure>
      /** Whether the rotation is still to be committed, under a new lease. */
      readonly retries: Option.Option<number>
    }

/** What the lease is for: a refresh for callers, or the commit of a rotation whose first lease was lost. */
type Goal =
  { readonly _tag: "Refresh"; readonly want: Want } | { readonly _tag: "Commit"; readonly tries: number }

/** How often another writer was faster, how often storage failed, and whether the end of the grant was published. */
interface Progress {
  readonly conflicts: number
  readonly tries: number
  readonly isPublished: boolean
}

interface Leasing {
  readonly _tag: "Leasing"
  readonly goal: Goal
  /** When the wait for the lease began. */
  readonly since: number
  /** How long to sleep if another process holds it. */
  readonly pause: number
}

interface Waiting extends Omit<Leasing, "_tag"> {
  readonly _tag: "Waiting"
  /** Whether the sleep is over and storage is being read. */
  readonly isReading: boolean
}

interface Committing {
  readonly _tag: "Committing"
  readonly lease: HeldLease
  /** How often another writer was faster, and how often storage failed. */
  readonly conflicts: number
  readonly tries: number
  /** Whether a caller asked for this attempt. */
  readonly isAsked: boolean
  /** What to report at the end, although the rotation is saved: the answer was malformed otherwise. */
  readonly failure: Option.Option<Failure>
}

/**
 * The state of one grant in one process.
 *
 * @since 0.1.0
 * @category models
 */
export interface State {
  readonly memory: Memory
  readonly uncommitted: Option.Option<Uncommitted>
  readonly coolDown: Option.Option<Decision.CoolingDown>
  readonly rejection: Option.Option<Rejection>
  /** The mark of a dead grant that storage may not have taken. */
  readonly dead: Option.Option<Entry.DeadGrant>
  /** Our intent whose outcome is known although storage still holds it, and the older intent that stays open. */
  readonly ownIntent: Option.Option<{
    readonly intent: Entry.Intent
    readonly means: Option.Option<Entry.Intent>
  }>
  /** What this process knows of the age of the access token. */
  readonly age: Age.Age
  /** The newest entry ever seen: storage below it was rolled back. */
  readonly newest: Option.Option<Entry.Entry>
  /** Rises with each change of the grant here: the result of a command that began before is stale. */
  readonly writes: number
  /** How many refreshes brought a token. */
  readonly answers: number
  /** What the last failed refresh said. */
  readonly lastFailure: string
  /** Until when storage is offered a rotation, where the manager's scope is closing. */
  readonly closing: Option.Option<number>
  readonly phase: Phase
  /** Between these the token in memory may be served without a decision. */
  readonly openFrom: number
  readonly openUntil: number
}

const unread: Memory = { _tag: "Unread" }

/**
 * Nothing is known and nothing is under way.
 *
 * @since 0.1.0
 * @category constructors
 */
export const initial: State = {
  memory: unread,
  uncommitted: Option.none(),
  coolDown: Option.none(),
  rejection: Option.none(),
  dead: Option.none(),
  ownIntent: Option.none(),
  age: Age.unknown,
  newest: Option.none(),
  writes: 0,
  answers: 0,
  lastFailure: "",
  closing: Option.none(),
  phase: { _tag: "Idle" },
  openFrom: Infinity,
  openUntil: -Infinity
}

/**
 * What storage held when it was last read; none where it was not read, or held nothing.
 *
 * @since 0.1.0
 * @category getters
 */
export const storedOf = (state: State): Option.Option<Versioned> =>
  state.memory._tag === "Read" ? state.memory.stored : Option.none()

/**
 * The newest entry: the rotation that is not committed yet, or else what storage held.
 *
 * @since 0.1.0
 * @category getters
 */
export const entryOf = (state: State): Option.Option<Entry.Entry> =>
  Option.isSome(state.uncommitted)
    ? Option.some(state.uncommitted.value.entry)
    : Option.map(storedOf(state), ({ entry }) => entry)

/**
 * The credentials of the newest entry.
 *
 * @since 0.1.0
 * @category getters
 */
export const credentialsOf = (state: State): Option.Option<Credentials.Credentials> =>
  Option.map(entryOf(state), ({ credentials }) => credentials)

/**
 * Whether a resource server refused the very access token that is current.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRejected = (state: State): boolean =>
  Option.exists(
    Option.all([state.rejection, credentialsOf(state)]),
    ([rejection, credentials]) => Redacted.value(rejection.token) === Redacted.value(credentials.accessToken)
  )

/** The attempt of the refresh under way, from its intent to the end. */
const attemptOf = (phase: Phase): Option.Option<Attempt> =>
  "attempt" in phase && phase._tag !== "Noting" ? Option.some(phase.attempt) : Option.none()

/**
 * The intent of a refresh whose outcome nobody knows. Our own intent is none while its request is under way, or
 * once its outcome is known here.
 *
 * @since 0.1.0
 * @category getters
 */
export const unanswered = (state: State): Option.Option<Entry.Intent> => {
  const written = Option.flatMap(entryOf(state), Entry.unanswered)
  if (Option.isNone(written)) return written
  const isOurs = (intent: Entry.Intent): boolean => Equal.equals(intent, written.value)
  const underWay = Option.flatMap(
    Option.flatMap(attemptOf(state.phase), ({ intended }) => intended),
    ({ entry }) => entry.intent
  )
  if (Option.exists(underWay, isOurs)) return Option.none()
  return Option.match(
    Option.filter(state.ownIntent, ({ intent }) => isOurs(intent)),
    { onNone: () => written, onSome: ({ means }) => means }
  )
}

/**
 * What an unanswered refresh means for the next one.
 *
 * @since 0.1.0
 * @category getters
 */
export const replayOf = (policy: Policy, state: State, now: number): Option.Option<Rotation.Replay> =>
  Rotation.replay(policy.rotation, unanswered(state), now)

/**
 * What is known of the age of the current access token.
 *
 * @since 0.1.0
 * @category getters
 */
export const witnessOf = (policy: Policy, state: State, now: number): Decision.Witness =>
  Age.witness(state.age, credentialsOf(state), momentOf(policy, now))

/**
 * This moment by both clocks.
 *
 * @since 0.1.0
 * @category getters
 */
export const momentOf = ({ uptime }: Policy, now: number): Age.Moment => ({ wall: now, uptime })

/**
 * In what the stored grant differs from those that may be redeemed here, if in anything.
 *
 * @since 0.1.0
 * @category getters
 */
export const mismatchOf = (policy: Policy, state: State): Option.Option<GrantIdentity.Mismatch> =>
  Option.flatMap(entryOf(state), (entry) =>
    Option.flatMap(policy.identityOf(entry.credentials), (identity) =>
      Entry.mismatch(entry, identity, policy.formerly)
    )
  )

/**
 * The state as `Decision` sees it.
 *
 * @since 0.1.0
 * @category getters
 */
export const heldOf = (policy: Policy, state: State, now: number): Decision.Held => {
  const entry = entryOf(state)
  const credentials = credentialsOf(state)
  const dead = Option.filter(
    Option.orElse(state.dead, () => Option.flatMap(entry, (e) => e.dead)),
    // What needs no refresh token cannot be ended by the refusal of one, whoever wrote the mark.
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
    unanswered: unanswered(state),
    rotation: policy.rotation,
    serverAhead: policy.serverAhead,
    jitterShare: policy.jitterShare,
    witness: witnessOf(policy, state, now)
  }
}

/**
 * What a caller gets now; storage is read first where memory is not fresh.
 *
 * @since 0.1.0
 * @category decisions
 */
export const decide = (
  policy: Policy,
  state: State,
  now: number,
  request: Decision.Request
): Decision.Decision => Decision.decide(Option.some(heldOf(policy, state, now)), now, policy, request)

/**
 * What a caller gets now, if storage holds what memory holds.
 *
 * @since 0.1.0
 * @category decisions
 */
export const judge = (
  policy: Policy,
  state: State,
  now: number,
  request: Decision.Request
): Decision.Decision => Decision.judge(heldOf(policy, state, now), now, policy, request)

/**
 * What is not as it should be, though there may be a session.
 *
 * @since 0.1.0
 * @category getters
 */
export const warningsOf = (policy: Policy, state: State, now: number): ReadonlyArray<Warning> => {
  const held = heldOf(policy, state, now)
  return [
    ...(Option.isSome(state.uncommitted) ? (["Unsaved"] as const) : []),
    ...(Option.isSome(held.dead) ? (["GrantDead"] as const) : []),
    ...(Option.isSome(Decision.cooling(held, now)) ? (["CoolingDown"] as const) : []),
    ...(isGraceTooLong(policy, state) ? (["GraceClamped"] as const) : []),
    ...(Option.isSome(held.mismatch) ? (["GrantMismatch"] as const) : [])
  ]
}

const isGraceTooLong = (policy: Policy, state: State): boolean =>
  Option.exists(credentialsOf(state), (c) => Decision.isGraceTooLong(c, policy.grace))

/**
 * What is taken for a grace that cannot be meant, in words; empty where it can.
 *
 * @since 0.1.0
 * @category getters
 */
export const describeGraceClamped = (policy: Policy, state: State): string =>
  Option.match(
    Option.filter(credentialsOf(state), () => isGraceTooLong(policy, state)),
    {
      onNone: () => "",
      onSome: (c) =>
        `; the grace of ${policy.grace / 1000} s is not below the token's lifetime: ` +
        `${Decision.clampedGrace(c, policy.grace) / 1000} s is taken`
    }
  )

/**
 * Whether memory may be trusted: read or written of late, and its token has not expired.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFresh = (policy: Policy, state: State, now: number): boolean =>
  Option.exists(
    credentialsOf(state),
    (c) =>
      state.memory._tag === "Read" &&
      Decision.isFresh(c, state.memory.at, now, policy.credentialsTtl, witnessOf(policy, state, now))
  )

/**
 * Whether there is a token that has not expired.
 *
 * @since 0.1.0
 * @category predicates
 */
export const hasValidToken = (policy: Policy, state: State, now: number): boolean =>
  Option.exists(credentialsOf(state), (c) => !Decision.isExpired(c, now, witnessOf(policy, state, now)))

/**
 * Whether storage has failed to take a rotation, which waits for it.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSaveOverdue = ({ phase, uncommitted }: State): boolean =>
  Option.isSome(uncommitted) &&
  (phase._tag === "Idle" ||
    phase._tag === "Merging" ||
    (phase._tag === "Committing" && phase.tries > 0) ||
    "goal" in phase)

/**
 * Whether our own refresh token is being spent: storage was read under the lease, and nobody else changes it.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRedeeming = ({ phase }: State): boolean =>
  phase._tag === "Confirming" || phase._tag === "Redeeming"

/**
 * Whether the rotation waits for storage: callers are served meanwhile, and a refresh must not begin.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isCommitting = ({ phase }: State): boolean =>
  phase._tag === "Committing" || phase._tag === "Merging"

/**
 * The lease that a phase needs; none where it needs none, and one that is still held is released.
 *
 * @since 0.1.0
 * @category getters
 */
export const leaseOf = (phase: Phase): HeldLease | undefined =>
  "lease" in phase ? phase.lease : "attempt" in phase ? phase.attempt.lease : undefined
