/**
 * Why a caller gets no token. Each error says what to do next and holds no secret.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { describeMismatch, type Mismatch } from "./GrantIdentity.js"
import { RefreshError, RefreshReason } from "./TokenRefresher.js"
import { LeaseError } from "./RefreshLease.js"
import type { StorageError } from "./TokenStorage.js"

/**
 * Only a new login helps. Nothing was deleted.
 *
 * - `NoCredentials`: nobody has logged in.
 * - `NoRefreshToken`: there is nothing to refresh the credentials with.
 * - `GrantDead`: the server ended the grant.
 * - `RotationLost`: the server ended the grant after the response to a refresh was lost.
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
 * another holder's refresh takes too long, or a cool-down is on. `TooShortLived`: the server's tokens do not
 * live as long as requested. `Closed`: the manager's scope is closed.
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
 * The stored grant belongs to another server, client, kind of grant or account than the one requested or
 * saved. `stored` and `current` name both sides. Nothing was sent, and storage is unchanged.
 *
 * @since 0.1.0
 * @category errors
 */
export class GrantMismatch extends Schema.TaggedError<GrantMismatch>("@latchkey/core/GrantMismatch")(
  "GrantMismatch",
  {
    reason: Schema.Literal("Server", "Client", "GrantType", "Account"),
    location: Schema.String,
    stored: Schema.String,
    current: Schema.String,
    message: Schema.String
  }
) {}

/**
 * Creates the error for a mismatch: of a grant to be used, or of one that a login would replace.
 *
 * @since 0.1.0
 * @category constructors
 */
export const grantMismatch = (mismatch: Mismatch, location: string, attempt: "use" | "save"): GrantMismatch =>
  new GrantMismatch({
    reason: mismatch.difference,
    location,
    stored: mismatch.stored,
    current: mismatch.current,
    message: `${describeMismatch(mismatch)}: ${location} was not changed${attempt === "use" ? ", and nothing was sent" : ""}. ${mismatchAdvice[attempt]}`
  })

const mismatchAdvice = {
  use: "Set the server, client and grant type that it was obtained with, store the other grant elsewhere, or log in and replace it (`replace: true`).",
  save: "Save the new grant elsewhere, or replace the stored one (`replace: true`). Replacing does not revoke the old grant: revoke it first if it should end."
} as const

/**
 * All errors of a request for a token.
 *
 * @since 0.1.0
 * @category errors
 */
export type TokenError = ReauthorizationRequired | RefreshUnavailable | GrantMismatch | StorageError
