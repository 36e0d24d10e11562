/** What the hostile server is made of, and what it records. */
import type { Fingerprint } from "@latchkey/core/Fingerprint"
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type { Fault } from "../../testing/Fault.js"
import type * as Rotation from "../../testing/Rotation.js"

/**
 * Which of the server's doors a request goes to.
 *
 * @since 0.1.0
 * @category models
 */
export type Endpoint =
  "discovery" | "token" | "revocation" | "introspection" | "device" | "userinfo" | "resource"

/**
 * One redemption of a refresh token; tokens by fingerprint, families by number in the order of their
 * logins. `Granted`: on its first use. `Replayed`: again, within a window. `Reused`: again, outside of one.
 * `Refused`: of a family that had ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface Redemption {
  readonly at: number
  readonly family: number
  readonly redeemed: Fingerprint
  readonly outcome: "Granted" | "Replayed" | "Reused" | "Refused"
  /** The refresh token to be used next, where tokens were given out. */
  readonly brought: Fingerprint | undefined
}

/**
 * How the server is; each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** What is random follows from it; 0. */
  readonly seed?: number
  /** What becomes of a used refresh token; `Rotation.strict()`. */
  readonly rotation?: Rotation.Rotation
  /** The `expires_in` of answers; 1 hour. */
  readonly accessTokenLifetime?: Duration.DurationInput
  /** For how long the resource really takes an access token; as long as `expires_in` says. */
  readonly acceptedFor?: Duration.DurationInput
  /** For how long a refresh token is good; for ever. */
  readonly refreshTokenLifetime?: Duration.DurationInput
  /**
   * How far the server's clock is ahead, in milliseconds; negative is behind. It shows in `Date` and `exp`. A
   * function is asked with each answer: where it gives what a test sets its clock by, the server's stays right.
   */
  readonly clockSkew?: number | (() => number)
  /** How long requests and answers travel, each: always the same, or drawn anew in whole milliseconds; 0. */
  readonly latency?:
    Duration.DurationInput | { readonly min: Duration.DurationInput; readonly max: Duration.DurationInput }
  /** Faults of requests for which none is planned, each with its probability; at the token endpoint unless given. */
  readonly chances?: ReadonlyArray<{
    readonly fault: Fault
    readonly probability: number
    readonly endpoint?: Endpoint
  }>
  /** The only client that it knows (none, basic or post); without it, it takes everyone. */
  readonly client?: { readonly clientId: string; readonly secret?: Redacted.Redacted }
}
