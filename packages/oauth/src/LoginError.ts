/**
 * Why a login brought no grant, in words that say what to do next.
 *
 * @since 0.1.0
 */
import type { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Schema from "effect/Schema"
import { interactionCodes } from "./internal/codes.js"
import type { OAuthError } from "./OAuthError.js"

/**
 * - `Denied`: the user or the server said no. `Expired`: the code ran out, or was used before.
 * - `StateMismatch`: the answer is not that of this login, or comes a second time. `IssuerMismatch`: it
 *   comes from another server (RFC 9207).
 * - `PortBusy`: the loopback port could not be had. `NoBrowser`: the browser could not be opened.
 * - `Cancelled`: nothing was entered. `TimedOut`: nobody finished the login in time.
 * - `Unreachable`: the server did not answer. `ServerError`: it answered that it could not now.
 * - `Misconfigured`: it refused the client or what was asked. `Malformed`: what came is unusable.
 *
 * @since 0.1.0
 * @category errors
 */
export const LoginReason = Schema.Literal(
  "Denied",
  "Expired",
  "StateMismatch",
  "IssuerMismatch",
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
  /** What happened and what to do; server text in it is cut and escaped. */
  message: Schema.String,
  /** The server's `error` code, cut and escaped. */
  oauthError: Schema.optional(Schema.String),
  /** The HTTP status, where there was an answer. */
  status: Schema.optional(Schema.Number)
}) {}

/**
 * The user or the server said no.
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
 * The code that the user was to enter has run out (RFC 8628 §3.5).
 *
 * @since 0.1.0
 * @category constructors
 */
export const expired = (): LoginError =>
  new LoginError({
    reason: "Expired",
    message: "The code expired before the login was finished: start it again for a new one."
  })

/** What the lattice of requests means to a login. */
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
 * A request of a login that failed, as the failure of the login.
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
