/**
 * What a server does with a spent refresh token.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"

/**
 * What the server does with a spent refresh token. `window` is how long it may still be replayed to get the
 * response again: zero for strict servers, where a replay revokes the grant; infinite if it stays valid until
 * its successor is used.
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
 * Each refresh replaces the refresh token. The predecessor may be replayed within `window`. Default: no
 * replay window.
 *
 * @since 0.1.0
 * @category constructors
 */
export const rotating = (window: Duration.DurationInput = Duration.zero): RotationPolicy => ({
  _tag: "Rotating",
  window: Duration.decode(window)
})
