/**
 * What happened to a grant, without secrets. The `events` stream, the logs and the metrics are made from
 * these. Tokens appear as fingerprints. Instants are epoch milliseconds, durations milliseconds.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type { CoolingDown } from "./grant/BackOff.js"
import type { DueReason } from "./grant/Decision.js"
import type { Fingerprint } from "./Fingerprint.js"
import type { Difference } from "./GrantIdentity.js"
import type { RefreshReason } from "./TokenRefresher.js"
import type { StorageReason } from "./TokenStorage.js"

/**
 * - `Refreshing`: a request is about to be sent. An `attempt` above 1 repeats one whose response was not
 *   seen.
 * - `Refreshed`: its response is in use. See `Saved` for whether it is stored.
 * - `Adopted`: storage held newer credentials than memory. Nothing was sent.
 * - `Saved`: the newest credentials are in storage.
 * - `SaveFailed`: the newest credentials are not in storage, and are kept in memory. Its `reason` is that of
 *   storage, or `LeaseLapsed` if the lease was lost meanwhile: a peer may have spent the old refresh token.
 * - `RefreshFailed`, `CoolingDown`, `GrantDead`: as named.
 * - `ResponseWarning`: a field of a token response is malformed and was left out. The token is used.
 * - `Rejected`: a resource server refused an access token.
 * - `Cleared`: the grant was removed.
 * - `GrantMismatch`: storage holds a grant of another server, client or account. Nothing of it is sent or
 *   served.
 * - `StorageFailed`: storage failed. Memory is served while its token is valid.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenEvent = Data.TaggedEnum<{
  Refreshing: {
    readonly at: number
    readonly grant: Fingerprint | undefined
    readonly why: DueReason
    readonly attempt: number
  }
  Refreshed: {
    readonly at: number
    readonly took: number
    readonly rotated: boolean
    readonly token: Fingerprint
    readonly expiresAt: number | undefined
  }
  Adopted: { readonly at: number; readonly generation: number; readonly token: Fingerprint }
  Saved: { readonly at: number; readonly generation: number; readonly token: Fingerprint }
  SaveFailed: { readonly at: number; readonly generation: number; readonly reason: string }
  RefreshFailed: { readonly at: number; readonly reason: RefreshReason; readonly status: number | undefined }
  CoolingDown: { readonly at: number; readonly until: number; readonly reason: CoolingDown["reason"] }
  GrantDead: { readonly at: number; readonly grant: Fingerprint }
  ResponseWarning: { readonly at: number; readonly field: string; readonly problem: string }
  Rejected: { readonly at: number; readonly token: Fingerprint }
  Cleared: { readonly at: number; readonly existed: boolean }
  GrantMismatch: { readonly at: number; readonly reason: Difference }
  StorageFailed: {
    readonly at: number
    readonly reason: typeof StorageReason.Type
    readonly operation: string
  }
}>

/**
 * @since 0.1.0
 * @category constructors
 */
export const {
  Refreshing,
  Refreshed,
  Adopted,
  Saved,
  SaveFailed,
  RefreshFailed,
  CoolingDown: CoolingDownBegan,
  GrantDead,
  ResponseWarning,
  Rejected,
  Cleared,
  GrantMismatch,
  StorageFailed,
  $match,
  $is
} = Data.taggedEnum<TokenEvent>()
