/** What a client does about an answer of an MCP server. Pure. */
import * as Option from "effect/Option"
import * as Discovery from "../Discovery.js"

/** `Take`: it is the answer. `Authorize`: another token is needed. `StepUp`: more scopes are. */
export type Recovery = "Take" | "Authorize" | "StepUp"

/** Each recovery is tried once for a request, so that no server keeps a client busy. */
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
  // Some servers say it with a 401.
  if (Option.contains(Discovery.challenge(wwwAuthenticate).error, "insufficient_scope")) return "StepUp"
  return status === 401 ? "Authorize" : "Take"
}
