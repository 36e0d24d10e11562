/** Whether a refresh token may be sent once more after a refresh whose answer never came. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Intent } from "../Entry.js"
import type { RotationPolicy } from "../RotationPolicy.js"

/**
 * The repetition of a refresh whose answer was not seen. The server may have replaced the refresh token: the process died,
 * the answer was lost, or another process is refreshing.
 */
export interface Replay {
  /** When the last request that may have reached the server was about to be sent. */
  readonly since: number
  /** How many such requests there were. */
  readonly attempts: number
  /** Until when the spent refresh token may be sent again without harm, by the policy. */
  readonly until: number
  /** Whether that is so now. If not, sending it again may end the grant. */
  readonly open: boolean
}

/**
 * The replay that an open intent calls for; none where the refresh token is reusable and nothing can have been lost.
 *
 * The window counts from the last request, not from the first. If the server saw the first one, the answer is lost anyway
 * once its window is over; if it saw only the last one, a replay saves the grant. Where a request lies in the future, the
 * clock was set back and the time that has passed is unknown: the window counts as over.
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
 * Whether the answer to a refresh may be the only copy of its refresh token once `refreshTimeout` milliseconds are over,
 * because the server does not let the request be repeated for that long.
 */
export const holdsLastCopy = (rotation: RotationPolicy, refreshTimeout: number): boolean =>
  rotation._tag === "Rotating" && Duration.toMillis(rotation.window) <= refreshTimeout

/** After this many requests without an answer, the window no longer shortens the pauses. */
const hurriedAttempts = 6

/**
 * The longest pause before the next attempt that leaves the window time for several, or Infinity where there is no window to
 * meet. After a few attempts it no longer counts, so that a server that does not answer is not flooded.
 */
export const longestPause = (replay: Option.Option<Replay>): number =>
  Option.match(replay, {
    onNone: () => Infinity,
    onSome: ({ attempts, open, since, until }) =>
      open && attempts <= hurriedAttempts ? (until - since) / 4 : Infinity
  })

/**
 * The message for a grant that the server ended upon a replay: that a rotation was lost, when, and what was tried.
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

/** Total, as instants may come from anywhere. */
const instant = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : "an unknown time"
