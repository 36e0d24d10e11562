/**
 * Why a caller gets no token. Each says what to do next and holds no secret.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { RefreshError, RefreshReason } from "./TokenRefresher.js"
import { LeaseError } from "./RefreshLease.js"
import type { StorageError } from "./TokenStorage.js"

/**
 * Only a new login helps: there are no credentials (`NoCredentials`), nothing to refresh them with
 * (`NoRefreshToken`), the server ended the grant (`GrantDead`), or it ended it after the answer to a
 * refresh was lost (`RotationLost`). Nothing was deleted.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReauthorizationRequired extends Schema.TaggedError<ReauthorizationRequired>(
  "@latchkey/core/ReauthorizationRequired"
)("ReauthorizationRequired", {
  reason: Schema.Literal("NoCredentials", "NoRefreshToken", "GrantDead", "RotationLost"),
  location: Schema.String,
  message: Schema.String
}) {}

/**
 * There is no valid token now, but there may be one at `retryAt` (epoch milliseconds): a refresh failed,
 * another holder's takes too long, or a cool-down is on. `TooShortLived`: the server's tokens do not live
 * as long as was asked for. `Closed`: the manager's scope is closed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RefreshUnavailable extends Schema.TaggedError<RefreshUnavailable>(
  "@latchkey/core/RefreshUnavailable"
)("RefreshUnavailable", {
  reason: Schema.Union(
    RefreshReason,
    Schema.Literal("CoolingDown", "LeaseBusy", "LeaseUnavailable", "TooShortLived", "Closed")
  ),
  retryAt: Schema.Number,
  message: Schema.String,
  cause: Schema.optional(Schema.Union(RefreshError, LeaseError))
}) {}

/**
 * All that asking for a token can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type TokenError = ReauthorizationRequired | RefreshUnavailable | StorageError
