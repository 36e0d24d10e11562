/**
 * What a server does with a refresh token once used, and what follows from it for a refresh whose answer
 * never came: may the spent token be sent once more, to get the answer after all?
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Intent } from "./Entry.js"

/**
 * What the server does with a refresh token once used. `window` is how long the spent one may still be
 * replayed to get the answer again: zero for the strict servers, where a replay revokes the grant; without
 * end where the spent one is good until its successor is used.
 *
 * @since 0.1.0
 * @category models
 */
export type RotationPolicy =
  { readonly _tag: "Reusable" } | { readonly _tag: "Rotating"; readonly window: Duration.Duration }

/**
 * The refresh token stays the same for the life of the grant.
 *
 * @since 0.1.0
 * @category constructors
 */
export const reusable: RotationPolicy = { _tag: "Reusable" }

/**
 * Each refresh replaces the refresh token; the predecessor may be replayed within `window`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const rotating = (window: Duration.DurationInput = Duration.zero): RotationPolicy => ({
  _tag: "Rotating",
  window: Duration.decode(window)
})

/**
 * A refresh whose answer was not seen: the server may have replaced the refresh token that is held here.
 * Its process died, the answer was lost, or another process is at it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Replay {
  /** When the last request that may have reached the server was about to be sent. */
  readonly since: number
  /** How many such requests there were. */
  readonly attempts: number
  /** Until when the spent refresh token may be sent again without harm, as far as the policy tells. */
  readonly until: number
  /** Whether that is so now. Where it is not, to send it again may end the grant. */
  readonly open: boolean
}

/**
 * The replay that an unanswered refresh calls for; none where the refresh token is reusable and nothing can
 * have been lost.
 *
 * The window counts from the last request, not from the first: if the first was the one that the server
 * saw, the answer is lost in any case once its window is over, but if it was the last, only a replay saves
 * the grant. A request that lies in the future says nothing of the time that has passed, the clock having
 * been set back: then the window is taken to be over.
 *
 * @since 0.1.0
 * @category decisions
 */
export const replay = (
  rotation: RotationPolicy,
  unanswered: Option.Option<Intent>,
  now: number
): Option.Option<Replay> =>
  rotation._tag === "Reusable"
    ? Option.none()
    : Option.map(unanswered, ({ at, attempt }) => {
        const until = at + Duration.toMillis(rotation.window)
        return { since: at, attempts: attempt, until, open: at <= now && now < until }
      })

/**
 * Whether the answer to a refresh is the last copy of its refresh token once `refreshTimeout` milliseconds are over: the
 * server does not let the request be repeated for that long.
 *
 * @since 0.1.0
 * @category decisions
 */
export const holdsLastCopy = (rotation: RotationPolicy, refreshTimeout: number): boolean =>
  rotation._tag === "Rotating" && Duration.toMillis(rotation.window) <= refreshTimeout

/** How many requests without an answer hurry for the sake of the window. */
const hurriedAttempts = 6

/**
 * The longest pause before the next attempt that leaves the window time for several, or infinity where
 * there is no window to meet. Not for ever: a server that goes on without an answer is not pressed.
 *
 * @since 0.1.0
 * @category decisions
 */
export const longestPause = (lost: Option.Option<Replay>): number =>
  Option.match(lost, {
    onNone: () => Infinity,
    onSome: ({ attempts, open, since, until }) =>
      open && attempts <= hurriedAttempts ? (until - since) / 4 : Infinity
  })

/**
 * What is to be told when the server ends the grant upon a replay: that a rotation was lost, when, and what
 * was tried.
 *
 * @since 0.1.0
 * @category getters
 */
export const describeLoss = ({ attempts, open, since, until }: Replay, answered: string): string => {
  const attempt = attempts > 1 ? `, the last of ${attempts},` : ""
  const window = `${(until - since) / 1000} s in which the server lets it be repeated`
  const when =
    until === since ? "as a last resort" : open ? `within the ${window}` : `after the end of the ${window}`
  return (
    `the request of ${instant(since)}${attempt} got no answer that was seen here, and the refresh token may ` +
    `have been replaced by it; the old one was sent again, ${when}. ${answered}`
  )
}

/** Total, as instants may come from anywhere. */
const instant = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : "an unknown time"
