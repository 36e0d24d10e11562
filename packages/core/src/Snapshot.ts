/**
 * A plain immutable view of a grant for display, and functions that mask its tokens.
 *
 * The tokens in it are `Redacted`. A preview shows only their ends.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Credentials } from "./Credentials.js"
import { wholeSeconds } from "./grant/Expiry.js"

/**
 * A grant for display. `expiresAt` is epoch milliseconds. `extras` holds a provider's public additions. The
 * unknown fields of the credentials are not copied here, because they may be secret.
 *
 * @since 0.1.0
 * @category models
 */
export class Snapshot extends Data.Class<{
  readonly provider: string
  readonly accountId: Option.Option<string>
  readonly accessToken: Option.Option<Redacted.Redacted>
  readonly refreshToken: Option.Option<Redacted.Redacted>
  /** When the access token was obtained, by the clock of the process that stored it. */
  readonly obtainedAt?: Option.Option<number>
  readonly expiresAt: Option.Option<number>
  readonly scopes: ReadonlyArray<string>
  readonly extras: Readonly<Record<string, unknown>>
}> {}

/**
 * Creates the view of the given credentials.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromCredentials = (
  credentials: Credentials,
  options: { readonly provider: string; readonly extras?: Readonly<Record<string, unknown>> }
): Snapshot =>
  new Snapshot({
    provider: options.provider,
    accountId: credentials.accountId,
    accessToken: Option.some(credentials.accessToken),
    refreshToken: credentials.refreshToken,
    ...(Option.isSome(credentials.obtainedAt) && { obtainedAt: credentials.obtainedAt }),
    expiresAt: credentials.expiresAt,
    scopes: credentials.scopes,
    extras: options.extras ?? {}
  })

/**
 * Returns the same view without tokens, for a grant that must not be used.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withoutTokens = (snapshot: Snapshot): Snapshot =>
  new Snapshot({ ...snapshot, accessToken: Option.none(), refreshToken: Option.none() })

const present = (token: Option.Option<Redacted.Redacted>): boolean =>
  Option.exists(token, (t) => Redacted.value(t) !== "")

/**
 * Whether there is an access token. An empty one counts as none.
 *
 * @since 0.1.0
 * @category predicates
 */
export const hasAccessToken = (snapshot: Snapshot): boolean => present(snapshot.accessToken)

/**
 * Whether there is a refresh token. An empty one counts as none.
 *
 * @since 0.1.0
 * @category predicates
 */
export const hasRefreshToken = (snapshot: Snapshot): boolean => present(snapshot.refreshToken)

/**
 * Returns the access token with `visible` characters at each end, 8 by default. A token that is too short to
 * hide anything becomes all stars.
 *
 * @since 0.1.0
 * @category masking
 */
export const accessTokenPreview = (snapshot: Snapshot, visible = 8): Option.Option<string> =>
  preview(snapshot.accessToken, visible)

/**
 * Returns the refresh token with `visible` characters at each end, 4 by default.
 *
 * @since 0.1.0
 * @category masking
 */
export const refreshTokenPreview = (snapshot: Snapshot, visible = 4): Option.Option<string> =>
  preview(snapshot.refreshToken, visible)

/**
 * Returns the whole seconds until the expiry, and 0 after it. None if the expiry is unknown. Never more than
 * the lifetime of the token, if that is known.
 *
 * @since 0.1.0
 * @category getters
 */
export const expiresInSeconds = (snapshot: Snapshot, now: number): Option.Option<number> =>
  wholeSeconds(
    Option.map(snapshot.expiresAt, (expiresAt) =>
      Option.match(snapshot.obtainedAt ?? Option.none<number>(), {
        onNone: () => expiresAt - now,
        onSome: (obtainedAt) => Math.min(expiresAt - now, expiresAt - obtainedAt)
      })
    )
  )

/**
 * Returns the same view with the given scopes.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withScopes = (snapshot: Snapshot, scopes: ReadonlyArray<string>): Snapshot =>
  new Snapshot({ ...snapshot, scopes })

const preview = (token: Option.Option<Redacted.Redacted>, visible: number): Option.Option<string> =>
  Option.flatMap(token, (t) => {
    const secret = Redacted.value(t)
    return secret === "" ? Option.none() : Option.some(mask(secret, visible))
  })

/**
 * Masks a secret except for `visible` characters at each end. Returns all stars if that would show the whole
 * secret, or if `visible` is less than one. Characters are code points, not UTF-16 units, so half of a pair
 * is never shown.
 *
 * @since 0.1.0
 * @category masking
 */
export const mask = (secret: string, visible: number): string => {
  const characters = Array.from(secret)
  return !(visible >= 1) || characters.length <= visible * 2
    ? "*".repeat(characters.length)
    : `${characters.slice(0, visible).join("")}...${characters.slice(-visible).join("")}`
}
