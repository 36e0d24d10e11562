/**
 * Between what times the token in memory may be served without a decision: two comparisons for each caller. Pure.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Decision from "../Decision.js"
import type { Input } from "./Messages.js"
import { credentialsOf, decide, judge, type Policy, type State, witnessOf } from "./State.js"

/** For how long storage that just failed is not asked again while there is a valid token. */
const storagePause = 1000

/**
 * Sets between what times the token in memory may be served without a decision.
 *
 * @since 0.1.0
 * @category transitions
 */
export const reopen = (policy: Policy, state: State, input: Input, now: number): State => {
  const window = openWindow(policy, state, input, now)
  return window.from === state.openFrom && window.until === state.openUntil
    ? state
    : { ...state, openFrom: window.from, openUntil: window.until }
}

const closed = { from: Infinity, until: -Infinity }

const openWindow = (policy: Policy, state: State, input: Input, now: number) => {
  if (state.memory._tag === "Unread") return closed
  const decision = decide(policy, state, now, Decision.anyValid)
  // A clock that was set back comes by this moment once more: not for longer than that may go unnoticed.
  if (decision._tag === "Use") {
    return { from: now, until: Math.min(decision.nextCheckAt, now + Decision.clockTolerance) }
  }
  if (input._tag !== "ObserveFailed") return closed
  // Storage that just failed is left alone for a moment, while there is a valid token.
  const token = Decision.servable(judge(policy, state, now, Decision.anyValid))
  if (Option.isNone(token)) return closed
  const left = Option.flatMap(credentialsOf(state), (c) =>
    Decision.timeToExpiry(c, now, witnessOf(policy, state, now))
  )
  return {
    from: now,
    until:
      now +
      Math.min(
        storagePause,
        Option.getOrElse(left, () => Infinity)
      )
  }
}
