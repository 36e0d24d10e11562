/** The types of the hostile server, and its records. */
import type { Fingerprint } from "@latchkey/core/Fingerprint"
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type { Fault } from "../../testing/Fault.js"
import type * as Rotation from "../../testing/Rotation.js"

/**
 * The endpoints of the server.
 *
 * @since 0.1.0
 * @category models
 */
export type Endpoint =
  "discovery" | "token" | "revocation" | "introspection" | "device" | "userinfo" | "resource"

/**
 * One redemption of a refresh token. Tokens are fingerprints. Families are numbers in the order of their
 * logins.
 *
 * - `Granted`: the first use.
 * - `Replayed`: a later use within a window.
 * - `Reused`: a later use outside of a window.
 * - `Refused`: a use after the family had ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface Redemption {
  readonly at: number
  readonly family: number
  readonly redeemed: Fingerprint
  readonly outcome: "Granted" | "Replayed" | "Reused" | "Refused"
  /** The refresh token to use next, if tokens were given. */
  readonly brought: Fingerprint | undefined
}

/**
 * The behaviour of the server. Each setting has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Everything random follows from it. Default: 0. */
  readonly seed?: number
  /** What the server does with a spent refresh token. Default: `Rotation.strict()`. */
  readonly rotation?: Rotation.Rotation
  /** The `expires_in` of responses. Default: 1 hour. */
  readonly accessTokenLifetime?: Duration.DurationInput
  /** How long the resource really accepts an access token. Default: as long as `expires_in` says. */
  readonly acceptedFor?: Duration.DurationInput
  /** How long a refresh token is valid. Default: without limit. */
  readonly refreshTokenLifetime?: Duration.DurationInput
  /**
   * How far the server's clock is ahead, in milliseconds. Negative: behind. It shows in `Date` and `exp`. A
   * function is called for each response, so that the server's clock stays right while a test sets its own.
   */
  readonly clockSkew?: number | (() => number)
  /**
   * How long requests and responses travel, each: a fixed time, or a random number of whole milliseconds.
   * Default: 0.
   */
  readonly latency?:
    Duration.DurationInput | { readonly min: Duration.DurationInput; readonly max: Duration.DurationInput }
  /**
   * Faults of requests without a planned fault, each with its probability. Default endpoint: the token
   * endpoint.
   */
  readonly chances?: ReadonlyArray<{
    readonly fault: Fault
    readonly probability: number
    readonly endpoint?: Endpoint
  }>
  /** The only client that it accepts (none, basic or post). Default: any client. */
  readonly client?: { readonly clientId: string; readonly secret?: Redacted.Redacted }
}
