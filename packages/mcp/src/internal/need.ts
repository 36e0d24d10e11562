/** A login that is needed, and the decisions about it. Pure. */
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type { LoginError } from "@latchkey/oauth/LoginError"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Binding from "../Binding.js"
import type { ServerChallenge } from "../Discovery.js"
import { McpError } from "../McpError.js"
import * as Scopes from "../Scopes.js"
import type { Reason } from "./reason.js"

export interface Need {
  readonly reason: Reason
  readonly challenge: ServerChallenge
  /** The scopes to request in addition to those of the challenge. */
  readonly wanted: Scopes.Scopes
  /** The scopes that a step-up is about. */
  readonly lacking: Scopes.Scopes
  /** The token that the server refused. None if the request had no token. */
  readonly refused: Option.Option<Redacted.Redacted>
}

const isSame = (a: Option.Option<Redacted.Redacted>, b: Option.Option<Redacted.Redacted>): boolean =>
  Option.isSome(a) && Option.isSome(b) && Redacted.value(a.value) === Redacted.value(b.value)

/** Returns the current token if it is not the refused one. */
export const replacement = (
  refused: Option.Option<Redacted.Redacted>,
  current: Option.Option<Redacted.Redacted>
): Option.Option<Redacted.Redacted> => Option.filter(current, (token) => !isSame(refused, Option.some(token)))

/** Returns the current token if it already meets the need. */
export const met = (
  { lacking, refused }: Need,
  current: Option.Option<Redacted.Redacted>,
  granted: Scopes.Scopes
): Option.Option<Redacted.Redacted> =>
  Option.filter(replacement(refused, current), () => Scopes.missing(lacking, granted).length === 0)

/**
 * What to do after a 401. `Use`: another caller replaced the token. `Ask`: the user must log in. `Check`: there
 * is a grant; refresh it, unless the server has moved.
 */
export type AfterRefusal =
  | { readonly _tag: "Use"; readonly token: Redacted.Redacted }
  | { readonly _tag: "Ask"; readonly reason: Reason }
  | { readonly _tag: "Check"; readonly token: Redacted.Redacted; readonly binding: Binding.Binding }

export const afterRefusal = (known: {
  readonly refused: Option.Option<Redacted.Redacted>
  readonly current: Option.Option<Redacted.Redacted>
  readonly binding: Option.Option<Binding.Binding>
  readonly isForgotten: boolean
}): AfterRefusal => {
  const { binding, current, isForgotten, refused } = known
  const replaced = replacement(refused, current)
  if (Option.isSome(replaced)) return { _tag: "Use", token: replaced.value }
  if (Option.isNone(binding)) return { _tag: "Ask", reason: "FirstLogin" }
  return Option.match(current, {
    onNone: () => ({ _tag: "Ask", reason: isForgotten ? "ClientForgotten" : "GrantEnded" }),
    onSome: (token) => ({ _tag: "Check", token, binding: binding.value })
  })
}

const endings: ReadonlyArray<LoginError["reason"]> = [
  ...(["Denied", "Cancelled", "Expired", "TimedOut", "NoBrowser", "PortBusy"] as const)
]

/** Whether a login failed because the user refused it or was not there. */
export const isEndedByUser = ({ reason }: LoginError): boolean => endings.includes(reason)

/** Why a login is needed, as part of a sentence. */
export const describe: Readonly<Record<Reason, string>> = {
  Asked: "the program requested it",
  FirstLogin: "nobody has logged in yet",
  GrantEnded: "the grant has ended",
  ServerMoved: "the server now trusts another authorization server",
  ClientForgotten: "the authorization server no longer knows this client",
  StepUp: "the server wants more scopes than the token has"
}

export const loginRequired = (serverUrl: URL, { challenge, reason, wanted }: Need): McpError => {
  const scopes = Scopes.union(
    wanted,
    Option.getOrElse(challenge.scopes, (): Scopes.Scopes => [])
  )
  return new McpError({
    reason: "LoginRequired",
    serverUrl: Endpoint.display(serverUrl),
    message: `A login at ${Endpoint.display(serverUrl)} is needed (${describe[reason]}), but this program sets no way to log in: set \`login\`, or log in with another program that shares the storage.`,
    ...(scopes.length > 0 && { scopes })
  })
}

export const insufficientScope = (
  serverUrl: URL,
  why: "Granted" | "Asked" | "Unknown",
  scopes: Scopes.Scopes
): McpError =>
  new McpError({
    reason: "InsufficientScope",
    serverUrl: Endpoint.display(serverUrl),
    message: `${Endpoint.display(serverUrl)} wants ${scopes.length === 0 ? "scopes that it does not name" : `the scopes ${scopes.join(" ")}`}: ${whyNot[why]}.`,
    ...(scopes.length > 0 && { scopes })
  })

const whyNot = {
  Granted: "the token already has them, so another login does not help",
  Asked: "the user did not grant them when asked; call login to ask again",
  Unknown: "another login would bring the same token"
}
