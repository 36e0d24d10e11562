/**
 * What can go wrong with a request to an authorization server, classified as in the core.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import { RefreshError, RefreshReason } from "@latchkey/core/TokenRefresher"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * A request that failed. It holds no secret. Neither the request nor the error of the HTTP client is kept as
 * a cause, because both hold secrets. Only `code` remains of the client's error.
 *
 * @since 0.1.0
 * @category errors
 */
export class OAuthError extends Schema.TaggedError<OAuthError>("@latchkey/oauth/OAuthError")("OAuthError", {
  reason: RefreshReason,
  /** What happened and what to do. Text from the server is truncated and escaped. */
  message: Schema.String,
  /** The endpoint of the request, without the query. */
  endpoint: Schema.String,
  /** The server's `error` code (RFC 6749 §5.2), truncated and escaped. */
  oauthError: Schema.optional(Schema.String),
  /** The HTTP status, if there was a response. */
  status: Schema.optional(Schema.Number),
  /** How long the server asked to wait. */
  retryAfter: Schema.optional(Schema.DurationFromSelf),
  /** The name that the system or the TLS library gives the failure, such as `ECONNREFUSED`. */
  code: Schema.optional(Schema.String)
}) {}

/**
 * Converts it to a failed refresh, with what could be saved of the response.
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
