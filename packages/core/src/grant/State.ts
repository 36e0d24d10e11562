/**
 * What one process knows about one grant, and what the grant is doing: plain immutable records. Only `Step`
 * makes a new state. Times are epoch milliseconds.
 */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Credentials from "../Credentials.js"
import type * as Entry from "../Entry.js"
import type * as GrantIdentity from "../GrantIdentity.js"
import type { LeaseError } from "../RefreshLease.js"
import type * as Rotation from "../RotationPolicy.js"
import type { RefreshError } from "../TokenRefresher.js"
import type { StorageError, Versioned } from "../TokenStorage.js"
import * as Age from "./Age.js"
import type { CoolingDown } from "./BackOff.js"
import type * as Decision from "./Decision.js"
import type * as Replay from "./Replay.js"

/** What the machine needs to know besides the state, as milliseconds and plain values. */
export interface Policy extends Decision.Policy {
  /** How long to wait for another holder of the lease. */
  readonly leaseWait: number
  /** What the server does with a spent refresh token. */
  readonly rotation: Rotation.RotationPolicy
  /** Whether a refresh spends a refresh token. If not, it needs no credentials and no intent. */
  readonly needsRefreshToken: boolean
  /** The longest time that a caller waits for the response to one request. */
  readonly refreshTimeout: number
  /** The server and client that a grant must belong to, if known, and the server's former names. */
  readonly identityOf: (credentials: Credentials.Credentials) => Option.Option<GrantIdentity.GrantIdentity>
  readonly formerly: ReadonlyArray<string>
  /** By how many milliseconds the server's clock is ahead of ours. */
  readonly serverAhead: number
  /** From 0 to 1: the share of the jitter of this account and instance. */
  readonly jitterShare: number
  /** The reading of a monotonic clock, in milliseconds. */
  readonly uptime: number
  /** Whether storage reports changes made by others, so that a wait ends when one arrives. */
  readonly reportsChanges: boolean
}

// --- What a process knows ---

/** The state of one grant in one process. */
export interface State {
  readonly memory: Memory
  readonly uncommitted: Option.Option<Uncommitted>
  readonly coolDown: Option.Option<CoolingDown>
  readonly rejection: Option.Option<Rejection>
  /** The mark of a dead grant, which storage may not hold yet. */
  readonly dead: Option.Option<Entry.DeadGrant>
  /**
   * Our own intent that storage still holds although the outcome is known, and an older one that stays open.
   */
  readonly ownIntent: Option.Option<{
    readonly intent: Entry.Intent
    readonly older: Option.Option<Entry.Intent>
  }>
  /** What this process knows about the age of the access token. */
  readonly age: Age.Age
  /** The newest entry ever seen. A storage that holds an older one was rolled back. */
  readonly newest: Option.Option<Entry.Entry>
  /**
   * Rises with each change of the grant here. The result of a command that began before a change is stale.
   */
  readonly writes: number
  /** How many refreshes brought a token. */
  readonly answers: number
  /** The message of the last failed refresh. */
  readonly lastFailure: string
  /** Once the manager's scope is closing: until when to retry the commit of a rotation. */
  readonly closing: Option.Option<number>
  readonly phase: Phase
  /** Between these times the token in memory may be served without a decision. */
  readonly openFrom: number
  readonly openUntil: number
}

/**
 * The last read or write of storage. `Unread`: nothing was read yet, or memory was invalidated. `at` is
 * -Infinity if storage is known to have changed since.
 */
export type Memory =
  | { readonly _tag: "Unread" }
  | { readonly _tag: "Read"; readonly stored: Option.Option<Versioned>; readonly at: number }

/** A rotation that storage does not hold yet. `base` is the entry whose refresh token it spent. */
export interface Uncommitted {
  readonly entry: Entry.Entry
  readonly base: Option.Option<Entry.Entry>
}

/** An access token that a resource server refused: when, and how many fresh ones were refused in a row. */
export interface Rejection {
  readonly token: Redacted.Redacted
  readonly at: number
  readonly count: number
}

// --- What a flight works on ---

/** What a flight was started for. */
export interface Want extends Decision.Request {
  /** The caller's access token. A forced refresh is done once another one is current. */
  readonly had: Option.Option<Redacted.Redacted>
  /** Whether to leave the refresh to another holder of the lease rather than wait for it. */
  readonly yields: boolean
}

/**
 * The purpose of the lease: a refresh for callers, or the commit of a rotation whose first lease was lost.
 */
export type Goal =
  { readonly _tag: "Refresh"; readonly want: Want } | { readonly _tag: "Commit"; readonly tries: number }

/** The lease that the flight holds, by its fencing number. */
export interface HeldLease {
  readonly fence: number
}

/** One attempt to redeem. */
export interface Attempt {
  /** What storage held before the attempt. */
  readonly base: Option.Option<Entry.Entry>
  /** What storage holds for it: `base` with our intent, or without it if no refresh token is spent. */
  readonly marked: Option.Option<Versioned>
  /** The open intent that ours replaced, and the replay that this attempt is because of it. */
  readonly olderIntent: Option.Option<Entry.Intent>
  readonly replay: Option.Option<Replay.Replay>
  readonly why: Decision.DueReason
  readonly lease: HeldLease
  /** How often another writer was faster, so far. */
  readonly conflicts: number
}

/** Why a flight brought no token, or did nothing. */
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
  /** Storage holds an earlier state of the grant than one seen before. Its refresh token is spent. */
  | { readonly _tag: "RolledBack" }
  /** The token of the refresh does not live for as long as requested. */
  | { readonly _tag: "TooShort" }
  /** The manager's scope is closed. */
  | { readonly _tag: "Closed" }

// --- What a grant is doing ---

/** Each phase names the one running command, whose outcome is the next input. */
export type Phase =
  /** Nothing. */
  | { readonly _tag: "Idle" }
  /** Taking the lease. */
  | Leasing
  /** Another process holds the lease: sleeping, then reading what it wrote. */
  | (Omit<Leasing, "_tag"> & { readonly _tag: "Waiting"; readonly isReading: boolean })
  /** Reading storage under the lease, to decide again. */
  | { readonly _tag: "Rereading"; readonly goal: Goal; readonly lease: HeldLease; readonly conflicts: number }
  /** Committing the intent to spend the refresh token. */
  | { readonly _tag: "Noting"; readonly want: Want; readonly attempt: Attempt }
  /** Confirming that the lease is still held. `writes` is the state's counter when the intent was committed. */
  | { readonly _tag: "Confirming"; readonly want: Want; readonly attempt: Attempt; readonly writes: number }
  /** Waiting for the answer of the authorization server. */
  | {
      readonly _tag: "Redeeming"
      readonly attempt: Attempt
      readonly requestedAt: number
      /**
       * What callers get once the response is overdue. Reading goes on, because it may hold the only copy of
       * a token.
       */
      readonly overdue: Option.Option<Failure>
    }
  /** Writing the rotation. */
  | (Commitment & { readonly _tag: "Committing" })
  /**
   * Storage failed or changed while the rotation was written: sleeping, then reading storage. The lease stays
   * held.
   */
  | (Commitment & { readonly _tag: "Merging"; readonly stage: "Sleeping" | "Confirming" | "Reading" })
  /** `invalid_grant` arrived: reading whether a peer rotated the token meanwhile. */
  | {
      readonly _tag: "Verifying"
      readonly attempt: Attempt
      readonly error: RefreshError
      readonly progress: MarkProgress
    }
  /** No peer did: marking the grant as dead. */
  | {
      readonly _tag: "MarkingDead"
      readonly attempt: Attempt
      readonly error: RefreshError
      readonly dead: Entry.DeadGrant
      readonly progress: MarkProgress
      readonly isSleeping: boolean
    }
  /** Removing the intent of a request whose outcome is known. */
  | {
      readonly _tag: "Retracting"
      readonly attempt: Attempt
      readonly failure: Failure
      /** How long the server asked to wait, if it did. Everyone who shares the grant respects it. */
      readonly retryAfter: Option.Option<number>
      /** Whether to publish a cool-down once storage has the wait. */
      readonly isCooling: boolean
      /** How often storage failed. */
      readonly tries: number
      readonly isSleeping: boolean
    }
  /** The flight is over, except for the release of its lease. */
  | {
      readonly _tag: "Releasing"
      readonly lease: HeldLease
      readonly failure: Option.Option<Failure>
      /** How often storage failed so far, if the rotation must still be committed under a new lease. */
      readonly retries: Option.Option<number>
    }

interface Leasing {
  readonly _tag: "Leasing"
  readonly goal: Goal
  /** When the wait for the lease began. */
  readonly since: number
  /** How long to sleep if another process holds it. */
  readonly pause: number
}

/** The commit of a rotation. */
export interface Commitment {
  readonly lease: HeldLease
  /** How often another writer was faster, and how often storage failed. */
  readonly conflicts: number
  readonly tries: number
  /** Whether a caller requested this attempt. */
  readonly isAsked: boolean
  /**
   * The failure to report at the end although the rotation is saved: the rest of the response was malformed.
   */
  readonly failure: Option.Option<Failure>
}

/**
 * How often another writer was faster, how often storage failed, and whether the grant's end was published.
 */
interface MarkProgress {
  readonly conflicts: number
  readonly tries: number
  readonly isPublished: boolean
}

/** Nothing is known and nothing is running. */
export const initial: State = {
  memory: { _tag: "Unread" },
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

/** What storage held when it was last read. None if it was not read, or held nothing. */
export const storedOf = (state: State): Option.Option<Versioned> =>
  state.memory._tag === "Read" ? state.memory.stored : Option.none()

/** The newest entry: the rotation that is not committed yet, or else what storage held. */
export const entryOf = (state: State): Option.Option<Entry.Entry> =>
  Option.isSome(state.uncommitted)
    ? Option.some(state.uncommitted.value.entry)
    : Option.map(storedOf(state), ({ entry }) => entry)

/** The credentials of the newest entry. */
export const credentialsOf = (state: State): Option.Option<Credentials.Credentials> =>
  Option.map(entryOf(state), ({ credentials }) => credentials)

/** The current access token. */
export const accessTokenOf = (state: State): Option.Option<Redacted.Redacted> =>
  Option.map(credentialsOf(state), ({ accessToken }) => accessToken)

/** Whether a token is the current access token. */
export const isCurrent = (state: State, token: Redacted.Redacted): boolean =>
  Option.exists(accessTokenOf(state), (current) => Redacted.value(current) === Redacted.value(token))

/** Whether a resource server refused the current access token. */
export const isRejected = (state: State): boolean =>
  Option.exists(state.rejection, ({ token }) => isCurrent(state, token))

/** Whether storage has failed to commit a rotation that still waits. */
export const isSaveOverdue = ({ phase, uncommitted }: State): boolean =>
  Option.isSome(uncommitted) &&
  (phase._tag === "Idle" ||
    phase._tag === "Merging" ||
    (phase._tag === "Committing" && phase.tries > 0) ||
    "goal" in phase)

/**
 * Whether our own refresh token is being spent. Storage was read under the lease, and no other process
 * changes it.
 */
export const isRedeeming = ({ phase }: State): boolean =>
  phase._tag === "Confirming" || phase._tag === "Redeeming"

/** Whether the rotation waits for storage. Callers are served meanwhile, and no refresh may begin. */
export const isCommitting = ({ phase }: State): boolean =>
  phase._tag === "Committing" || phase._tag === "Merging"

/** The lease that a phase needs, if it needs one. */
export const leaseOf = (phase: Phase): HeldLease | undefined =>
  "lease" in phase ? phase.lease : "attempt" in phase ? phase.attempt.lease : undefined
