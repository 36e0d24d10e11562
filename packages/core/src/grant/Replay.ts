/** Whether a refresh token may be sent again after a refresh that got no response. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Intent } from "../Entry.js"
import type { RotationPolicy } from "../RotationPolicy.js"

/**
 * The repetition of a refresh whose response was not seen. The server may have replaced the refresh token:
 * the process died, the response was lost, or another process is refreshing.
 */
export interface Replay {
  /** When the last request that may have reached the server was about to be sent. */
  readonly since: number
  /** How many such requests there were. */
  readonly attempts: number
  /** Until when the policy allows the spent refresh token to be sent again without harm. */
  readonly until: number
  /** Whether that time has not passed. Otherwise sending it again may end the grant. */
  readonly open: boolean
}

/**
 * Returns the replay that an open intent calls for. None if the refresh token is reusable and nothing can
 * have been lost.
 *
 * The window counts from the last request, not from the first. If the server saw the first one, its response
 * is lost anyway once its window is over. If it saw only the last one, a replay saves the grant. If a request
 * lies in the future, the clock was set back and the elapsed time is unknown: the window counts as over.
 */
export const replay = (
  rotation: RotationPolicy,
  intent: Option.Option<Intent>,
  now: number
): Option.Option<Replay> =>
  rotation._tag === "Reusable"
    ? Option.none()
    : Option.map(intent, ({ at, attempt }) => {
        const until = at + Duration.toMillis(rotation.window)
        return { since: at, attempts: attempt, until, open: at <= now && now < until }
      })

/**
 * Whether the response to a refresh may be the only copy of its refresh token once `refreshTimeout`
 * milliseconds have passed, because the server does not allow the request to be repeated for that long.
 */
export const holdsLastCopy = (rotation: RotationPolicy, refreshTimeout: number): boolean =>
  rotation._tag === "Rotating" && Duration.toMillis(rotation.window) <= refreshTimeout

/** After this many requests without a response, the window no longer shortens the pauses. */
const hurriedAttempts = 6

/**
 * The longest pause before the next attempt that leaves time for several within the window. Infinity if there
 * is no window. After a few attempts the window no longer counts, so that a server that does not respond is
 * not flooded.
 */
export const longestPause = (replay: Option.Option<Replay>): number =>
  Option.match(replay, {
    onNone: () => Infinity,
    onSome: ({ attempts, open, since, until }) =>
      open && attempts <= hurriedAttempts ? (until - since) / 4 : Infinity
  })

/**
 * The message for a grant that the server ended upon a replay: a rotation was lost, when, and the attempts.
 */
export const describeLoss = ({ attempts, open, since, until }: Replay, answered: string): string => {
  const attempt = attempts > 1 ? `, the last of ${attempts},` : ""
  const window = `${(until - since) / 1000} s in which the server accepts a repeat`
  const when =
    until === since ? "as a last resort" : open ? `within the ${window}` : `after the end of the ${window}`
  return (
    `the request of ${instant(since)}${attempt} may have replaced the refresh token, but its answer never ` +
    `arrived; the old one was sent again, ${when}. ${answered}`
  )
}

/** Total, because instants may come from anywhere. */
const instant = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : "an unknown time"
