/** What those are told who asked for a token and get none: why, until when, and what to do. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Decision from "../Decision.js"
import { grantMismatch, ReauthorizationRequired, RefreshUnavailable, type TokenError } from "../TokenError.js"
import type { Parts } from "./StoredGrant.js"

/** No refresh after all: somebody else did it, or nothing can be done now. */
export const settled = (
  parts: Parts,
  decision: Exclude<Decision.Decision, { _tag: "Refresh" | "UseAndRefresh" }>
): Effect.Effect<void, TokenError> => {
  switch (decision._tag) {
    case "Use":
    case "Reload":
      return Effect.void
    case "CoolDown":
      return new RefreshUnavailable({
        reason: "CoolingDown",
        retryAt: decision.until,
        message: coolDownAdvice[decision.reason](parts.state.lastFailure).trimEnd()
      })
    case "TooShortLived":
      return unavailable(
        "TooShortLived",
        `The server's tokens live for ${decision.lifetime / 1000} s, ${decision.minValidity / 1000} s were asked for: ask for less.`
      )
    case "Reauthorize":
      return reauthorize(parts, decision)
    case "Refuse":
      return grantMismatch(decision.mismatch, parts.storage.location, "use")
  }
}

const coolDownAdvice = {
  Failed: (last: string) => `The last refresh failed; nothing is posted before the retry time. ${last}`,
  ServerAsked: (last: string) => `The server asked to wait; nothing is posted before the retry time. ${last}`,
  Ineffective: (last: string) =>
    `The last refresh brought no newer token; it is not repeated before the retry time. ${last}`,
  Rejected: () => "A resource server keeps rejecting fresh tokens: check audience and scopes, not the token.",
  AnswerLost: () =>
    "The answer to a refresh was not seen, and the server may end the grant if it is repeated: that is left for when the token has expired. Until then, ask for a shorter validity."
} as const

export const unavailable = (
  reason: RefreshUnavailable["reason"],
  message: string
): Effect.Effect<never, RefreshUnavailable> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.fail(new RefreshUnavailable({ reason, retryAt: now + 1000, message }))
  )

/** Why only a login helps, and which: the first one, where nobody has logged in yet. */
const reasonOf = (
  { detail, reason }: Extract<Decision.Decision, { _tag: "Reauthorize" }>,
  location: string
): string => {
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

export const reauthorize = (
  parts: Parts,
  decision: Extract<Decision.Decision, { _tag: "Reauthorize" }>
): Effect.Effect<never, ReauthorizationRequired> =>
  Effect.fail(
    new ReauthorizationRequired({
      reason: decision.reason,
      location: parts.storage.location,
      message: reasonOf(decision, parts.storage.location)
    })
  )
