/** Describes decisions and tokens in words, for people. No text shows a token. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import { describeMismatch } from "../GrantIdentity.js"
import type { Decision } from "./Decision.js"
import { atLeastZero, clampedGrace, isGraceTooLong, noWitness, timeToExpiry, type Witness } from "./Expiry.js"
import type * as Replay from "./Replay.js"

/**
 * Describes a decision in words. Never shows a token.
 *
 * @since 0.1.0
 * @category getters
 */
export const describe = (decision: Decision, now: number): string => {
  const span = (time: number): string => `${atLeastZero(time) / 1000} s`
  const served = (fallback: Option.Option<unknown>): string =>
    Option.isSome(fallback) ? "the token is still valid and is served" : "there is no valid token"
  const again = (replay: Option.Option<Replay.Replay>): string =>
    Option.match(replay, {
      onNone: () => "",
      onSome: ({ open, since }) =>
        `; this repeats a refresh of ${span(now - since)} ago, whose answer was lost, ` +
        (open ? "while the server accepts a repeat" : "as a last resort: the server may end the grant")
    })
  switch (decision._tag) {
    case "Use": {
      const { nextCheckAt, reason } = decision
      const look = nextCheckAt === Infinity ? "it has no expiry" : `look again in ${span(nextCheckAt - now)}`
      return `use the token in memory${useWords[reason]}; ${look}`
    }
    case "Reload":
      return `read storage again (${reloadWords[decision.reason]})`
    case "UseAndRefresh":
      return `use the token and refresh it in the background (${dueWords[decision.reason]})${again(decision.replay)}`
    case "Refresh":
      return `refresh (${dueWords[decision.reason]}); meanwhile ${served(decision.fallback)}${again(decision.replay)}`
    case "CoolDown":
      return `send nothing for ${span(decision.until - now)} (${coolDownWords[decision.reason]}); ${served(decision.fallback)}`
    case "Reauthorize":
      return `log in${decision.reason === "NoCredentials" ? "" : " again"}: ${decision.detail}`
    case "TooShortLived":
      return `the server's tokens live for ${decision.lifetime / 1000} s, less than the ${decision.minValidity / 1000} s asked for`
    case "Refuse":
      return `do not use the stored grant: ${describeMismatch(decision.mismatch)}`
  }
}

const mayEnd = "the answer to a refresh was lost, and the server may end the grant if the refresh is repeated"

const useWords = {
  NotDue: "",
  NoRefreshToken: " to its end: there is no refresh token",
  GrantDead: " to its end: the authorization server ended the grant",
  AnswerLost: ` to its end: ${mayEnd}`
} as const

const reloadWords = {
  NotLoaded: "nothing is in memory",
  Stale: "what is in memory is older than the credentials TTL",
  Expired: "the token in memory has expired"
} as const

const dueWords = {
  NoToken: "there is no token yet",
  Expired: "the token has expired",
  AgeUnknown: "a clock was changed, so the age of the token is unknown",
  InGrace: "the token is within the grace of its expiry",
  KeepAlive: "the server ends a grant that is not used for long",
  MinValidity: "the token does not live as long as was asked for",
  Forced: "a refresh was asked for",
  Rejected: "a resource server rejected the token",
  AnswerLost: "the answer to an earlier refresh was lost"
} as const

const coolDownWords = {
  Failed: "the last refresh failed",
  ServerAsked: "the server asked to wait",
  Ineffective: "the last refresh brought no newer token",
  Rejected: "fresh tokens keep being rejected",
  AnswerLost: mayEnd
} as const

/** Describes a grace that is not shorter than the token's lifetime. Empty if it is shorter. */
export const describeGrace = (credentials: Credentials.Credentials, grace: number): string =>
  isGraceTooLong(credentials, grace)
    ? `; the grace of ${grace / 1000} s is not shorter than the token's lifetime: Latchkey uses ${clampedGrace(credentials, grace) / 1000} s`
    : ""

/**
 * Describes why a token that arrived at `now` is useless: it had already expired. Names the clock to correct,
 * if one is wrong. Empty if the token is usable.
 */
export const describeArrival = (
  credentials: Credentials.Credentials,
  now: number,
  witness: Witness = noWitness
): string =>
  Option.match(timeToExpiry(credentials, now, witness), {
    onNone: () => "",
    onSome: (left) => (left > 0 ? "" : describeLateArrival(credentials, now, -left))
  })

/** `late`: by how many milliseconds the token had expired when it arrived. */
const describeLateArrival = (credentials: Credentials.Credentials, now: number, late: number): string => {
  const span = (millis: number) => Duration.format(Duration.seconds(Math.round(millis / 1000)))
  const off = Option.map(credentials.serverTime, (server) => now - server)
  if (Option.isSome(off) && Math.abs(off.value) > Credentials.clockTolerance) {
    const way = off.value > 0 ? "ahead of" : "behind"
    return `The token had expired when it arrived, and the clock of this machine is ${span(Math.abs(off.value))} ${way} the server's: correct it.`
  }
  const ago = late > 0 ? `, by ${span(late)}` : ""
  return Option.isSome(off)
    ? `The token had expired when it arrived${ago}, although the clocks agree: the server gives it no lifetime.`
    : `The token had expired when it arrived${ago} by the clock of this machine, ${instantText(now)}: check that clock.`
}

/** Total, because clocks may show anything. */
const instantText = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : "which says no time"
