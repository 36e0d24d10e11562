/**
 * Whether there is a session, as a plain record for display.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import type { Credentials } from "./Credentials.js"
import * as Expiry from "./grant/Expiry.js"

/**
 * Why there is no session.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = "NoCredentials" | "Expired" | "GrantMismatch"

/**
 * A problem to show. There may still be a session.
 *
 * - `Unsaved`: the newest credentials are not in storage yet.
 * - `GrantDead`: the grant ends with this token.
 * - `CoolingDown`: nothing is sent to the server for now.
 * - `GraceClamped`: the configured grace is not shorter than the token's lifetime. Half of the lifetime is
 *   used instead.
 * - `GrantMismatch`: the grant belongs to another server, client or account, and is not used.
 *
 * @since 0.1.0
 * @category models
 */
export type Warning = "Unsaved" | "GrantDead" | "CoolingDown" | "GraceClamped" | "GrantMismatch"

/**
 * Whether there is an access token that has not expired. `expiresAt` is epoch milliseconds.
 * `expiresInSeconds` is whole seconds, and none once the token has expired.
 *
 * @since 0.1.0
 * @category models
 */
export class AuthStatus extends Data.Class<{
  readonly authenticated: boolean
  readonly reason: Option.Option<Reason>
  readonly expiresAt: Option.Option<number>
  readonly expiresInSeconds: Option.Option<number>
  readonly accountId: Option.Option<string>
  readonly warnings: ReadonlyArray<Warning>
}> {}

/**
 * Returns the status of the given credentials at `now`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const of = (
  credentials: Option.Option<Credentials>,
  now: number,
  warnings: ReadonlyArray<Warning> = [],
  witness: Expiry.Witness = Expiry.noWitness
): AuthStatus => {
  if (Option.isNone(credentials)) {
    return new AuthStatus({
      authenticated: false,
      reason: Option.some("NoCredentials"),
      expiresAt: Option.none(),
      expiresInSeconds: Option.none(),
      accountId: Option.none(),
      warnings
    })
  }
  const { accountId, expiresAt } = credentials.value
  const expired = Expiry.isExpired(credentials.value, now, witness)
  const foreign = warnings.includes("GrantMismatch")
  return new AuthStatus({
    authenticated: !expired && !foreign,
    reason: foreign ? Option.some("GrantMismatch") : expired ? Option.some("Expired") : Option.none(),
    expiresAt,
    expiresInSeconds: expired
      ? Option.none()
      : Expiry.wholeSeconds(Expiry.timeToExpiry(credentials.value, now, witness)),
    accountId,
    warnings
  })
}

/**
 * Describes the reason in words.
 *
 * @since 0.1.0
 * @category getters
 */
export const describe = (reason: Reason): string => words[reason]

const words: Readonly<Record<Reason, string>> = {
  NoCredentials: "No credentials found",
  Expired: "Token expired",
  GrantMismatch: "The stored grant belongs to another server, client or account"
}
