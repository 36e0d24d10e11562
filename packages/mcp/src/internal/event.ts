/** What happens on the way to a login, and its words. Pure. */
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type { Scopes } from "../Scopes.js"
import { describe } from "./need.js"
import type { Reason } from "./reason.js"

/**
 * An event on the way to a login. `message` is for people and holds no secret.
 *
 * @since 0.1.0
 * @category models
 */
export type McpEvent =
  | {
      readonly _tag: "LoginNeeded"
      readonly reason: Reason
      readonly scopes: Scopes
      readonly message: string
    }
  | {
      readonly _tag: "Registered"
      readonly issuer: string
      readonly clientId: string
      readonly message: string
    }
  | {
      readonly _tag: "LoggedIn"
      readonly issuer: string
      readonly scopes: Scopes
      readonly message: string
    }

export const loginNeeded = (serverUrl: URL, reason: Reason, scopes: Scopes): McpEvent => ({
  _tag: "LoginNeeded",
  reason,
  scopes,
  message: `A login at ${Endpoint.display(serverUrl)} is needed: ${describe[reason]}.`
})

export const registered = (issuer: string, clientId: string): McpEvent => ({
  _tag: "Registered",
  issuer,
  clientId,
  message: `Registered this program as a client at ${issuer}.`
})

export const loggedIn = (serverUrl: URL, issuer: string, scopes: Scopes): McpEvent => ({
  _tag: "LoggedIn",
  issuer,
  scopes,
  message: `Logged in at ${Endpoint.display(serverUrl)} through ${issuer}.`
})
