/** All faults of one refresh, and what happens to the refresh token. */
import type { TokenRefresher } from "@latchkey/core"
import { Fault } from "@latchkey/oauth/testing"

/**
 * `untouched`: the server never saw the refresh. `lost`: it rotated, and nobody can read the new refresh
 * token out of what came back. `saved`: the answer is unusable, but the new refresh token is in it.
 */
export interface Case {
  readonly fault: Fault.Fault
  readonly reason: TokenRefresher.RefreshReason
  readonly fate: "untouched" | "lost" | "saved"
}

const of = (fate: Case["fate"], reason: Case["reason"], ...list: ReadonlyArray<Fault.Fault>) =>
  list.map((fault): Case => ({ fault, reason, fate }))

export const faults: ReadonlyArray<Case> = [
  ...of("untouched", "NotSent", Fault.refused),
  ...of("untouched", "MaybeSent", Fault.lostRequest, Fault.silence(false), Fault.status(500)),
  ...of(
    "lost",
    "MaybeSent",
    Fault.lostAnswer,
    Fault.silence(),
    Fault.delayed(Fault.none, { request: "31 seconds" }),
    Fault.delayed(Fault.none, { answer: "31 seconds" }),
    Fault.status(502, { processed: true }),
    Fault.brokenOff(20)
  ),
  ...of(
    "untouched",
    "Transient",
    Fault.status(503, { error: "temporarily_unavailable" }),
    Fault.tooManyRequests("7 seconds"),
    Fault.tooManyRequests("7 seconds", "date"),
    Fault.status(400, { error: "slow_down" })
  ),
  ...of(
    "lost",
    "Transient",
    Fault.status(503, { error: "temporarily_unavailable", processed: true }),
    Fault.errorWith200("server_error")
  ),
  ...of(
    "untouched",
    "Misconfigured",
    Fault.status(401, { error: "invalid_client" }),
    Fault.status(404),
    Fault.redirect("https://elsewhere.test/token")
  ),
  ...of("lost", "Misconfigured", Fault.redirect("https://elsewhere.test/token", 302, true)),
  ...of("untouched", "Malformed", Fault.html()),
  ...of(
    "lost",
    "Malformed",
    Fault.html(true),
    Fault.truncated(0),
    Fault.truncated(20),
    Fault.body("JSON, but no object", () => "[]"),
    Fault.oversized("before"),
    Fault.without("refresh_token", "token_type"),
    Fault.withFields({ refresh_token: 7, expires_in: -1 })
  ),
  ...of(
    "saved",
    "Malformed",
    Fault.truncated(-2),
    Fault.brokenOff(-2),
    Fault.oversized("after"),
    Fault.without("access_token"),
    Fault.without("token_type"),
    Fault.withFields({ access_token: 7 }),
    Fault.withFields({ access_token: "line\nbreak" }),
    Fault.withFields({ token_type: "mac" }),
    Fault.withFields({ error: "server_error" })
  )
]
