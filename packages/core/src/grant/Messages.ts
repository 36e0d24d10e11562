/**
 * What the machine is told and what it asks for. The outcome of a command is the next input.
 *
 * @since 0.1.0
 */
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Credentials from "../Credentials.js"
import type * as Entry from "../Entry.js"
import type { LeaseError } from "../RefreshLease.js"
import type { TokenEvent } from "../TokenEvent.js"
import type { RefreshError } from "../TokenRefresher.js"
import type { CommitRefused, StorageError, Version, Versioned } from "../TokenStorage.js"
import type { Failure, HeldLease, State, Want } from "./State.js"

/**
 * What happened. `writes` is the state's write counter when the operation began: a result of an operation that
 * began before another write is recognised by it.
 *
 * - `Wanted`: a caller needs a refresh.
 * - `Loaded` … `RefreshFailed`, `Woken`: outcomes of the command of the flight.
 * - `Overdue`: the answer has begun to arrive when the time for it is over; it is read on.
 * - `Observed`: storage was read outside the flight. `Changed`: another writer may have changed storage.
 * - `Saved`, `Cleared`, `Invalidated`, `Rejected`: what users of the manager did. `Closing`: its scope
 *   closes, and storage is offered a rotation until then.
 *
 * @since 0.1.0
 * @category models
 */
export type Input =
  | { readonly _tag: "Wanted"; readonly want: Want }
  | { readonly _tag: "Loaded"; readonly loaded: Option.Option<Versioned>; readonly writes: number }
  | { readonly _tag: "LoadFailed"; readonly error: StorageError }
  | { readonly _tag: "LeaseTaken"; readonly lease: HeldLease }
  | { readonly _tag: "LeaseFailed"; readonly error: LeaseError }
  | { readonly _tag: "LeaseConfirmed"; readonly held: "yes" | "no" | "unknown" }
  | { readonly _tag: "LeaseReleased" }
  | {
      readonly _tag: "Committed"
      readonly entry: Entry.Entry
      readonly version: Version
      readonly writes: number
    }
  | { readonly _tag: "CommitRefused"; readonly error: CommitRefused }
  | { readonly _tag: "CommitFailed"; readonly error: StorageError }
  | { readonly _tag: "Overdue"; readonly message: string }
  | { readonly _tag: "Answered"; readonly credentials: Credentials.Credentials }
  | { readonly _tag: "RefreshFailed"; readonly error: RefreshError }
  | { readonly _tag: "Woken" }
  | { readonly _tag: "Observed"; readonly loaded: Option.Option<Versioned>; readonly writes: number }
  | { readonly _tag: "ObserveFailed"; readonly error: StorageError }
  | { readonly _tag: "Changed" }
  | {
      readonly _tag: "Saved"
      readonly entry: Entry.Entry
      readonly version: Version
      readonly writes: number
    }
  | { readonly _tag: "Cleared"; readonly existed: boolean }
  | { readonly _tag: "Invalidated" }
  | { readonly _tag: "Closing"; readonly until: number }
  | { readonly _tag: "Rejected"; readonly token: Redacted.Redacted }

/**
 * What to do next. At most one command of the flight is under way.
 *
 * - `Load`, `Commit`: as storage does them; `writes` is handed back with the result.
 * - `TakeLease`, `ReleaseLease`; `ConfirmLease`: asks whether the lease is still held.
 * - `Redeem`: the request, with what the refresher is given.
 * - `Wait`: sleeps for so many milliseconds. `Wake`: ends the sleep that is under way, which stays the flight's command.
 *
 * @since 0.1.0
 * @category models
 */
export type Command =
  | { readonly _tag: "Load"; readonly writes: number }
  | { readonly _tag: "TakeLease" }
  | { readonly _tag: "ReleaseLease"; readonly lease: HeldLease }
  | { readonly _tag: "ConfirmLease"; readonly lease: HeldLease }
  | {
      readonly _tag: "Commit"
      readonly entry: Entry.Entry
      readonly expected: Option.Option<Version>
      readonly writes: number
    }
  | {
      readonly _tag: "Redeem"
      readonly previous: Option.Option<Credentials.Credentials>
      /** Whether an answer that has begun to arrive is read for as long as the lease lasts. */
      readonly readsOn: boolean
    }
  | { readonly _tag: "Wait"; readonly millis: number }
  | { readonly _tag: "Wake" }

/**
 * What came of an input: the next state, the next command (none: the flight is over, or goes on as it was), what to
 * publish, and whether callers who wait are to look again: with a failure for those whom the state does not serve.
 *
 * @since 0.1.0
 * @category models
 */
export interface Next {
  readonly state: State
  readonly command: Option.Option<Command>
  readonly events: ReadonlyArray<TokenEvent>
  readonly released: Option.Option<Release>
}

/**
 * Callers who wait look at the state again.
 *
 * @since 0.1.0
 * @category models
 */
export interface Release {
  readonly failure: Option.Option<Failure>
}
