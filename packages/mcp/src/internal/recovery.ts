/** Decides what a client does after a response of an MCP server. Pure. */
import * as Option from "effect/Option"
import * as Discovery from "../Discovery.js"

/** `Take`: return the response. `Authorize`: get another token. `StepUp`: get more scopes. */
export type Recovery = "Take" | "Authorize" | "StepUp"

/** Each recovery happens once for a request, so no server can keep a client in a loop. */
export const of = (
  status: number,
  wwwAuthenticate: string | undefined,
  done: ReadonlySet<Recovery>
): Recovery => {
  const wanted = wants(status, wwwAuthenticate)
  return done.has(wanted) ? "Take" : wanted
}

const wants = (status: number, wwwAuthenticate: string | undefined): Recovery => {
  if (status !== 401 && status !== 403) return "Take"
  // Some servers send `insufficient_scope` with a 401.
  if (Option.contains(Discovery.challenge(wwwAuthenticate).error, "insufficient_scope")) return "StepUp"
  return status === 401 ? "Authorize" : "Take"
}
