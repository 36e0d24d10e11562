/**
 * An operator's view of an account: when it is renewed next, what went wrong last, and whether someone must
 * log in again. Pure, and without secrets.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type * as Entry from "./Entry.js"
import { isExpired } from "./grant/Expiry.js"
import { deadMark, openIntent } from "./grant/Marks.js"
import { type Account, atRest } from "./TokenStorages.js"

/**
 * The last failure that is stored with a grant. `at` is epoch milliseconds.
 *
 * - `GrantDead`: the server ended the grant.
 * - `RotationLost`: the server ended the grant after the response to a refresh was lost.
 * - `AnswerLost`: a refresh began, and no process stored its response.
 * - `ServerAsked`: the server could not respond, or asked clients to wait.
 *
 * A refresh that succeeds removes it. Other failures are not stored: only the process that saw them knows
 * about them.
 *
 * @since 0.1.0
 * @category models
 */
export interface LastError {
  readonly reason: "GrantDead" | "RotationLost" | "AnswerLost" | "ServerAsked"
  /** What happened and what to do. Text from the server is truncated and escaped. */
  readonly message: string
  readonly at: number
}

/**
 * An account as an operator sees it.
 *
 * @since 0.1.0
 * @category models
 */
export interface AccountReport extends Account {
  /** When the access token expires, in epoch milliseconds. None if the token has no known expiry. */
  readonly expiresAt: Option.Option<number>
  readonly lastError: Option.Option<LastError>
  /**
   * Whether only a login helps: the grant is dead, or its token has expired and cannot be renewed. The token
   * of a dead grant may still be valid until `expiresAt`.
   */
  readonly mustLogIn: boolean
}

/**
 * Returns the report of a stored grant at `now`, in epoch milliseconds. Total: it throws for no entry.
 *
 * @since 0.1.0
 * @category constructors
 */
export const of = (account: string, entry: Entry.Entry, now: number): AccountReport => {
  const place = atRest(entry)
  const { credentials } = entry
  return {
    account,
    ...place,
    expiresAt: credentials.expiresAt,
    lastError: lastError(entry, now),
    mustLogIn: place.state === "Dead" || (place.state === "Fixed" && isExpired(credentials, now))
  }
}

/** For how long an intent may belong to a refresh that is still running: the default duration of a lease. */
const underWay = 60_000

const lastError = (entry: Entry.Entry, now: number): Option.Option<LastError> => {
  const end = deadMark(entry)
  if (Option.isSome(end)) return Option.some(endOf(end.value))
  const lost = Option.filter(openIntent(entry), ({ at }) => now - at >= underWay)
  const answerLost = Option.map(lost, ({ at, attempt }): LastError => {
    const message =
      `A refresh was started and its answer was not stored (attempt ${attempt}). Latchkey repeats it when the account is due or ` +
      "someone asks for a token. If the server refuses, someone must log in again."
    return { reason: "AnswerLost", message, at }
  })
  const wait = Option.map(entry.serverWait, ({ at, until }): LastError => {
    const end = Option.match(isoOf(until), { onNone: () => "for now", onSome: (time) => `until ${time}` })
    const message = `The server could not answer, or asked to wait. Nothing is sent ${end}.`
    return { reason: "ServerAsked", message, at }
  })
  return [answerLost, wait]
    .flatMap(Option.toArray)
    .reduce(
      (newest, error) => (Option.exists(newest, ({ at }) => at > error.at) ? newest : Option.some(error)),
      Option.none<LastError>()
    )
}

const endOf = ({ at, reason, rotationLost }: Entry.DeadGrant): LastError => ({
  reason: rotationLost ? "RotationLost" : "GrantDead",
  message:
    (rotationLost ? "The answer to a refresh was lost, and the server" : "The server") +
    ` refused the refresh token: ${reason}. Log in again.`,
  at
})

/**
 * Formats an instant as ISO 8601. None if a `Date` cannot hold it.
 *
 * @since 0.1.0
 * @category rendering
 */
export const isoOf = (millis: number): Option.Option<string> =>
  Math.abs(millis) <= 8.64e15 ? Option.some(new Date(millis).toISOString()) : Option.none()
