/**
 * Converts a failure of the machine to the typed error for callers: why, until when, and what to do. Pure.
 */
import type { CoolingDown } from "./grant/BackOff.js"
import type { Decision, ReauthorizeReason } from "./grant/Decision.js"
import type { Failure } from "./grant/State.js"
import { grantMismatch, ReauthorizationRequired, RefreshUnavailable, type TokenError } from "./TokenError.js"
import { StorageError } from "./TokenStorage.js"

/** What the message needs besides the failure. */
export interface Setting {
  readonly location: string
  /** The message of the last failed refresh. */
  readonly lastFailure: string
  readonly now: number
}

export const fromFailure = (failure: Failure, setting: Setting): TokenError => {
  switch (failure._tag) {
    case "Decided":
      return fromDecision(failure.decision, setting)
    case "Unavailable": {
      const { cause, message, reason, retryAt } = failure
      return new RefreshUnavailable({ reason, retryAt, message, ...(cause && { cause }) })
    }
    case "StorageFailed":
      return failure.error
    case "RolledBack":
      return rolledBack(setting.location)
    case "TooShort":
      return unavailable(
        "TooShortLived",
        "The new token does not live long enough: ask for a shorter validity.",
        setting.now
      )
    case "Closed":
      return closed(setting.now)
  }
}

/** The same for callers that only read storage. */
export const storageErrorOf = (failure: Failure, { location }: Setting): StorageError =>
  failure._tag === "StorageFailed"
    ? failure.error
    : failure._tag === "Closed"
      ? closedStorage(location)
      : rolledBack(location)

const fromDecision = (decision: Decision, { lastFailure, location, now }: Setting): TokenError => {
  switch (decision._tag) {
    case "CoolDown":
      return new RefreshUnavailable({
        reason: "CoolingDown",
        retryAt: decision.until,
        message: coolDownAdvice[decision.reason](lastFailure).trimEnd()
      })
    case "Reauthorize":
      return new ReauthorizationRequired({
        reason: decision.reason,
        location,
        message: reasonOf(decision.reason, decision.detail, location)
      })
    case "Refuse":
      return grantMismatch(decision.mismatch, location, "use")
    case "TooShortLived":
      return unavailable(
        "TooShortLived",
        `The server's tokens live for ${decision.lifetime / 1000} s, but ${decision.minValidity / 1000} s were asked for: ask for a shorter validity.`,
        now
      )
    case "Use":
    case "Reload":
    case "UseAndRefresh":
    case "Refresh":
      return unavailable("LeaseBusy", "The credentials changed meanwhile; try again.", now)
  }
}

const unavailable = (
  reason: RefreshUnavailable["reason"],
  message: string,
  now: number
): RefreshUnavailable => new RefreshUnavailable({ reason, retryAt: now + 1000, message })

const closedMessage = "The manager is closed: use it while its layer is open."

const closed = (now: number) =>
  new RefreshUnavailable({ reason: "Closed", retryAt: now, message: closedMessage })

const closedStorage = (location: string): StorageError =>
  new StorageError({ reason: "Unavailable", operation: "load", location, message: closedMessage })

const rolledBack = (location: string): StorageError =>
  new StorageError({
    reason: "RolledBack",
    operation: "load",
    location,
    message:
      `${location} went back to an earlier state of this grant, whose refresh token is spent; ` +
      "it was not sent. Restore the newer state, or log in again."
  })

const coolDownAdvice: Record<CoolingDown["reason"] | "AnswerLost", (last: string) => string> = {
  Failed: (last) => `The last refresh failed; nothing is sent before the retry time. ${last}`,
  ServerAsked: (last) => `The server asked to wait; nothing is sent before the retry time. ${last}`,
  Ineffective: (last) =>
    `The last refresh brought no newer token; it is not repeated before the retry time. ${last}`,
  Rejected: () => "A resource server keeps rejecting fresh tokens: check audience and scopes, not the token.",
  AnswerLost: () =>
    "The answer to a refresh was lost, and the server may end the grant if the refresh is repeated. Latchkey repeats it when the token has expired. Until then, ask for a shorter validity."
}

/** Why only a login helps. Nobody may have logged in yet, so it may be the first one. */
const reasonOf = (reason: ReauthorizeReason, detail: string, location: string): string => {
  const ended = detail.replace(/[.\s]+$/, "")
  switch (reason) {
    case "NoCredentials":
      return `There are no credentials yet. Log in and save them to ${location}.`
    case "NoRefreshToken":
      return `The access token has expired and there is no refresh token. ${again(location)}`
    case "GrantDead":
      return `The authorization server ended this grant: ${ended}. ${again(location)}`
    case "RotationLost":
      return `The answer to a refresh was lost, and the authorization server ended the grant: ${ended}. ${again(location)}`
  }
}

const again = (location: string): string =>
  `Log in again and save the new credentials to ${location}; nothing there was deleted.`
