/**
 * Why a login brought no grant, with what to do next.
 *
 * @since 0.1.0
 */
import type { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Schema from "effect/Schema"
import { interactionCodes } from "./internal/codes.js"
import type { OAuthError } from "./OAuthError.js"

/**
 * - `Denied`: the user or the server refused.
 * - `Expired`: the code expired, or was used before.
 * - `StateMismatch`: the response does not belong to this login, or came a second time.
 * - `IssuerMismatch`: the response comes from another server (RFC 9207).
 * - `OtherAccount`: another account logged in than the one expected.
 * - `PortBusy`: the loopback port could not be opened.
 * - `NoBrowser`: the browser could not be opened.
 * - `Cancelled`: nothing was entered.
 * - `TimedOut`: nobody finished the login in time.
 * - `Unreachable`: the server did not respond.
 * - `ServerError`: the server responded that it cannot now.
 * - `Misconfigured`: the server refused the client or the request.
 * - `Malformed`: the response is unusable.
 *
 * @since 0.1.0
 * @category errors
 */
export const LoginReason = Schema.Literal(
  "Denied",
  "Expired",
  "StateMismatch",
  "IssuerMismatch",
  "OtherAccount",
  "PortBusy",
  "NoBrowser",
  "Cancelled",
  "TimedOut",
  "Unreachable",
  "ServerError",
  "Misconfigured",
  "Malformed"
)

/**
 * @since 0.1.0
 * @category errors
 */
export type LoginReason = typeof LoginReason.Type

/**
 * A login that failed. It holds no secret, and nothing was stored.
 *
 * @since 0.1.0
 * @category errors
 */
export class LoginError extends Schema.TaggedError<LoginError>("@latchkey/oauth/LoginError")("LoginError", {
  reason: LoginReason,
  /** What happened and what to do. Text from the server is truncated and escaped. */
  message: Schema.String,
  /** The server's `error` code, truncated and escaped. */
  oauthError: Schema.optional(Schema.String),
  /** The HTTP status, if there was a response. */
  status: Schema.optional(Schema.Number)
}) {}

/**
 * The user or the server refused.
 *
 * @since 0.1.0
 * @category constructors
 */
export const denied = (oauthError: string, said = ""): LoginError =>
  new LoginError({
    reason: "Denied",
    message: `The login was denied${said === "" ? "" : ` (${said})`}: start it again if that was a mistake.`,
    oauthError
  })

/**
 * The code that the user should enter has expired (RFC 8628 §3.5).
 *
 * @since 0.1.0
 * @category constructors
 */
export const expired = (): LoginError =>
  new LoginError({
    reason: "Expired",
    message: "The code expired before the login was finished: start it again for a new one."
  })

/** Maps the failures of requests to the failures of a login. */
const reasons = {
  NotSent: "Unreachable",
  MaybeSent: "Unreachable",
  Transient: "ServerError",
  GrantDead: "Expired",
  Misconfigured: "Misconfigured",
  Malformed: "Malformed"
} as const satisfies Record<RefreshError["reason"], LoginReason>

const advice: { readonly [reason in LoginReason]?: string } = {
  Unreachable: " Then start the login again.",
  Expired: " The code of this login had expired or was used before."
}

/**
 * Converts the failure of a login's request to the failure of the login.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromRequest = (error: OAuthError | RefreshError): LoginError => {
  if (error.oauthError === "access_denied") return denied(error.oauthError)
  if (interactionCodes.has(error.oauthError ?? "")) return denied(error.oauthError ?? "", error.oauthError)
  if (error.oauthError === "expired_token") return expired()
  const reason = reasons[error.reason]
  return new LoginError({
    reason,
    message: `${error.message}${advice[reason] ?? ""}`,
    ...(error.oauthError !== undefined && { oauthError: error.oauthError }),
    ...(error.status !== undefined && { status: error.status })
  })
}
