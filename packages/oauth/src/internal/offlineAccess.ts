/** How to ask a server for a refresh token. */
import type { Credentials } from "@latchkey/core/Credentials"
import * as Option from "effect/Option"
import type { LoginEvent } from "../LoginEvent.js"

/** What is known about a server that departs from OpenID Connect Core §11. */
interface Habit {
  readonly hosts: RegExp
  /** Whether it gives refresh tokens at all. */
  readonly gives: boolean
  readonly scopes: ReadonlyArray<string>
  readonly parameters: Readonly<Record<string, string>>
}

const offlineScope = { gives: true, scopes: ["offline_access"], parameters: {} }

const habits: ReadonlyArray<Habit> = [
  {
    hosts: /(^|\.)google(apis)?\.com$/,
    gives: true,
    scopes: [],
    parameters: { access_type: "offline", prompt: "consent" }
  },
  // Entra: `prompt=consent` shows the page at every login, and users who may not consent get only as far as a
  // request to their administrator.
  { hosts: /(^|\.)(microsoftonline\.(com|us|de)|partner\.microsoftonline\.cn|live\.com)$/, ...offlineScope },
  { hosts: /(^|\.)(b2clogin|ciamlogin)\.com$/, ...offlineScope },
  // Auth0 and Okta give it by a setting of the API or the client, and show the consent page only if their
  // policy requires it.
  { hosts: /(^|\.)(auth0|okta|oktapreview|okta-emea)\.com$/, ...offlineScope },
  { hosts: /(^|\.)github\.com$/, gives: false, scopes: [], parameters: {} }
]

const habitOf = (endpoint: string): Habit | undefined => {
  const host = URL.canParse(endpoint) ? new URL(endpoint).hostname : ""
  return habits.find(({ hosts }) => hosts.test(host))
}

export interface Asked {
  /** The endpoint that the user or the device is sent to. It identifies the server. */
  readonly endpoint: string
  readonly scopes: ReadonlyArray<string>
  /** Parameters of the authorization URL. None if the login has no such URL. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  readonly promptForConsent?: boolean | undefined
  /** `prompt_values_supported` of the server's metadata. */
  readonly prompts?: ReadonlyArray<string> | undefined
}

/**
 * Returns the `prompt` of a login that requests `offline_access` and sets none: consent, because a server
 * must ignore the scope without it (OpenID Connect Core §11).
 */
export const promptOf = (asked: Asked): string | undefined => {
  if (!asked.scopes.includes("offline_access") || asked.parameters?.["prompt"] !== undefined) return undefined
  const wanted =
    asked.promptForConsent ??
    (habitOf(asked.endpoint) === undefined && (asked.prompts?.includes("consent") ?? true))
  return wanted ? "consent" : undefined
}

/** Returns the event for a login that brought no refresh token, if there is one to report. */
export const missing = (
  asked: Asked,
  credentials: Credentials,
  expects: boolean | undefined
): Option.Option<LoginEvent> => {
  const habit = habitOf(asked.endpoint)
  if (Option.isSome(credentials.refreshToken) || !(expects ?? habit?.gives ?? true)) return Option.none()
  const isOpenId = asked.scopes.includes("openid") || asked.scopes.includes("offline_access")
  const remedy = habit?.gives === true ? habit : isOpenId ? standard : undefined
  const scopes = (remedy?.scopes ?? []).filter((scope) => !asked.scopes.includes(scope))
  const parameters = Object.fromEntries(
    Object.entries(asked.parameters === undefined ? {} : (remedy?.parameters ?? {})).filter(
      ([name, value]) => !(asked.parameters?.[name] ?? "").split(" ").includes(value)
    )
  )
  const end = Option.match(credentials.expiresAt, {
    onNone: () => "its access token expires",
    onSome: (at) => `its access token expires, at ${new Date(at).toISOString()}`
  })
  return Option.some({
    _tag: "NoRefreshToken",
    message: `The server gave no refresh token: this login ends when ${end}. ${advice(remedy !== undefined, scopes, parameters)}`,
    scopes,
    parameters
  })
}

/** OpenID Connect Core §11. */
const standard: Pick<Habit, "scopes" | "parameters"> = {
  scopes: ["offline_access"],
  parameters: { prompt: "consent" }
}

const advice = (
  isKnown: boolean,
  scopes: ReadonlyArray<string>,
  parameters: Readonly<Record<string, string>>
): string => {
  const wanted = [
    ...scopes.map((scope) => `the scope ${scope}`),
    ...Object.entries(parameters).map(([name, value]) => `the authorization parameter ${name}=${value}`)
  ]
  if (wanted.length > 0) return `To get one, log in again with ${wanted.join(" and ")}.`
  return isKnown
    ? "The login asked for one: check that the client is registered for the refresh_token grant and may ask for the scope offline_access."
    : "See the server's documentation for how to ask for one: often with a scope (offline_access) or an authorization parameter."
}
