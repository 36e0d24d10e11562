/**
 * What the hostile server does with a spent refresh token.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"

/**
 * - `Reusable`: the refresh token stays the same. Responses hold none.
 * - `Strict`: a spent refresh token is refused. A lost response is a lost grant.
 * - `NewPair`: within `window` (milliseconds) of its first use it may be replayed, for another pair each
 *   time. The earlier pairs stay valid.
 * - `SamePair`: within `window`, and until the pair that it brought is used, it brings that pair again.
 * - `PredecessorValid`: it may be replayed, for another pair, until one that it brought is used.
 *
 * @since 0.1.0
 * @category models
 */
export type Rotation =
  | { readonly _tag: "Reusable" }
  | { readonly _tag: "Strict"; readonly onReuse: OnReuse }
  | { readonly _tag: "NewPair" | "SamePair"; readonly window: number; readonly onReuse: OnReuse }
  | { readonly _tag: "PredecessorValid"; readonly onReuse: OnReuse }

/**
 * What happens after a replay that is not allowed: `Revoke` ends the whole family (RFC 9700 §4.14.2).
 * `Refuse` only responds with `invalid_grant`.
 *
 * @since 0.1.0
 * @category models
 */
export type OnReuse = "Revoke" | "Refuse"

/**
 * @since 0.1.0
 * @category constructors
 */
export const reusable: Rotation = { _tag: "Reusable" }

/**
 * @since 0.1.0
 * @category constructors
 */
export const strict = (onReuse: OnReuse = "Revoke"): Rotation => ({ _tag: "Strict", onReuse })

/**
 * @since 0.1.0
 * @category constructors
 */
export const newPair = (window: Duration.DurationInput, onReuse: OnReuse = "Revoke"): Rotation => ({
  _tag: "NewPair",
  window: Duration.toMillis(window),
  onReuse
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const samePair = (window: Duration.DurationInput, onReuse: OnReuse = "Revoke"): Rotation => ({
  _tag: "SamePair",
  window: Duration.toMillis(window),
  onReuse
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const predecessorValid = (onReuse: OnReuse = "Revoke"): Rotation => ({
  _tag: "PredecessorValid",
  onReuse
})
