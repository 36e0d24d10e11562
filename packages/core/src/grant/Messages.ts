/** The inputs of the machine and its commands. The outcome of a command is the next input. */
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Credentials from "../Credentials.js"
import type * as Entry from "../Entry.js"
import type { LeaseError } from "../RefreshLease.js"
import type { TokenEvent } from "../TokenEvent.js"
import type { RefreshError } from "../TokenRefresher.js"
import type { CommitRefused, StorageError, Version, Versioned } from "../TokenStorage.js"
import type { Failure, HeldLease, State, Want } from "./State.js"

/** A write to storage that succeeded. */
interface Written {
  readonly entry: Entry.Entry
  readonly version: Version
  readonly writes: number
}

/**
 * What happened. `writes` is the state's write counter when the operation began. It reveals a result that is
 * stale because the grant changed here meanwhile.
 */
export type Input =
  /** A caller needs a refresh. */
  | { readonly _tag: "Wanted"; readonly want: Want }
  // Outcomes of the running command:
  | { readonly _tag: "Loaded"; readonly loaded: Option.Option<Versioned>; readonly writes: number }
  | { readonly _tag: "LoadFailed"; readonly error: StorageError }
  | { readonly _tag: "LeaseTaken"; readonly lease: HeldLease }
  | { readonly _tag: "LeaseFailed"; readonly error: LeaseError }
  | { readonly _tag: "LeaseConfirmed"; readonly held: "yes" | "no" | "unknown" }
  | { readonly _tag: "LeaseReleased" }
  | (Written & { readonly _tag: "Committed" })
  | { readonly _tag: "CommitRefused"; readonly error: CommitRefused }
  | { readonly _tag: "CommitFailed"; readonly error: StorageError }
  /** Storage is slow to commit a rotation, and has not finished. */
  | { readonly _tag: "CommitSlow" }
  /** The time limit passes while the response arrives. Reading goes on. */
  | { readonly _tag: "Overdue"; readonly message: string }
  | { readonly _tag: "Answered"; readonly credentials: Credentials.Credentials }
  | { readonly _tag: "RefreshFailed"; readonly error: RefreshError }
  | { readonly _tag: "Woken" }
  // A read of storage outside the flight:
  | { readonly _tag: "Observed"; readonly loaded: Option.Option<Versioned>; readonly writes: number }
  | { readonly _tag: "ObserveFailed"; readonly error: StorageError }
  /** Another writer may have changed storage. */
  | { readonly _tag: "Changed" }
  // Calls by users of the manager:
  | (Written & { readonly _tag: "Saved" })
  | { readonly _tag: "Cleared"; readonly existed: boolean }
  | { readonly _tag: "Invalidated" }
  | { readonly _tag: "Rejected"; readonly token: Redacted.Redacted }
  /** The manager's scope closes. Until then, the machine retries the commit of a rotation. */
  | { readonly _tag: "Closing"; readonly until: number }

/** What to do next. At most one command of the flight is running. */
export type Command =
  | { readonly _tag: "Load"; readonly writes: number }
  | { readonly _tag: "TakeLease" }
  | { readonly _tag: "ReleaseLease"; readonly lease: HeldLease }
  /** Asks whether the lease is still held. */
  | { readonly _tag: "ConfirmLease"; readonly lease: HeldLease }
  | {
      readonly _tag: "Commit"
      readonly entry: Entry.Entry
      readonly expected: Option.Option<Version>
      readonly writes: number
    }
  /** The request to the authorization server. */
  | {
      readonly _tag: "Redeem"
      readonly previous: Option.Option<Credentials.Credentials>
      /** Whether a response that has begun to arrive is read for as long as the lease lasts. */
      readonly readsOn: boolean
    }
  | { readonly _tag: "Wait"; readonly millis: number }
  /** Ends the current sleep, which stays the flight's command. */
  | { readonly _tag: "Wake" }

/** The effect of an input. */
export interface Next {
  readonly state: State
  /** None: the flight is over, or goes on unchanged. */
  readonly command: Option.Option<Command>
  /** The events to publish. */
  readonly events: ReadonlyArray<TokenEvent>
  /** Whether waiting callers look at the state again. */
  readonly released: Option.Option<Release>
}

/** Waiting callers look at the state again. Those that it does not serve get the failure, if there is one. */
export interface Release {
  readonly failure: Option.Option<Failure>
}
