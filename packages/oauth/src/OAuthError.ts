/**
 * What can go wrong with a request to an authorization server, in the words of the core's lattice.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import { RefreshError, RefreshReason } from "@latchkey/core/TokenRefresher"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * A request that failed. It holds no secret: neither the request nor the error of the HTTP client below is
 * kept as a cause, since they hold both; `code` is what remains of it.
 *
 * @since 0.1.0
 * @category errors
 */
export class OAuthError extends Schema.TaggedError<OAuthError>("@latchkey/oauth/OAuthError")("OAuthError", {
  reason: RefreshReason,
  /** What happened and what to do; server text in it is cut and escaped. */
  message: Schema.String,
  /** Where it was sent, without the query. */
  endpoint: Schema.String,
  /** The server's `error` code (RFC 6749 §5.2), cut and escaped. */
  oauthError: Schema.optional(Schema.String),
  /** The HTTP status, where there was an answer. */
  status: Schema.optional(Schema.Number),
  /** How long the server asked to wait. */
  retryAfter: Schema.optional(Schema.DurationFromSelf),
  /** The system's or the TLS library's name for it, such as `ECONNREFUSED`. */
  code: Schema.optional(Schema.String)
}) {}

/**
 * The same as a failed refresh, with what could be saved of the answer.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toRefreshError = (error: OAuthError, salvaged: Option.Option<Credentials>): RefreshError =>
  new RefreshError({
    reason: error.reason,
    message: error.message,
    ...(error.oauthError !== undefined && { oauthError: error.oauthError }),
    ...(error.status !== undefined && { status: error.status }),
    ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
    ...(Option.isSome(salvaged) && { salvaged: salvaged.value })
  })
