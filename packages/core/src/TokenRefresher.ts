/**
 * How a grant gets a new access token: a port, and the ways in which it can fail.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Credentials } from "./Credentials.js"
import { type GrantIdentity, withClientId } from "./GrantIdentity.js"
import { reusable, rotating, type RotationPolicy } from "./RotationPolicy.js"

/**
 * The outcome of a failed refresh, ordered by certainty.
 *
 * - `NotSent`: the request never left (name, connect, TLS). The refresh token is unspent, and repeating is
 *   safe.
 * - `MaybeSent`: a time-out, a reset, or a 5xx without an OAuth body. Nobody knows whether the token was
 *   spent.
 * - `Transient`: the server cannot answer now (429, 503, `temporarily_unavailable`).
 * - `GrantDead`: `invalid_grant`. This alone ends a grant, and only a grant with a refresh token. A refresher
 *   that needs none is called again after a cool-down.
 * - `Misconfigured`: `invalid_client`, `unauthorized_client`, `invalid_scope` and the like.
 * - `Malformed`: a 200 that is not a usable token response. `salvaged` holds what could be saved of it.
 *
 * @since 0.1.0
 * @category errors
 */
export const RefreshReason = Schema.Literal(
  "NotSent",
  "MaybeSent",
  "Transient",
  "GrantDead",
  "Misconfigured",
  "Malformed"
)

/**
 * @since 0.1.0
 * @category errors
 */
export type RefreshReason = typeof RefreshReason.Type

const CredentialsSelf = Schema.declare((u: unknown): u is Credentials => u instanceof Credentials)

/**
 * A refresh that failed. The only secret in it is `salvaged`, which is redacted and leaves no trace in logs
 * or JSON.
 *
 * @since 0.1.0
 * @category errors
 */
export class RefreshError extends Schema.TaggedError<RefreshError>("@latchkey/core/RefreshError")(
  "RefreshError",
  {
    reason: RefreshReason,
    /** What happened and what to do. Text from the server is truncated and escaped. */
    message: Schema.String,
    /** The server's `error` code (RFC 6749 §5.2), truncated and escaped. */
    oauthError: Schema.optional(Schema.String),
    /** The HTTP status, if there was a response. */
    status: Schema.optional(Schema.Number),
    /** How long the server asked to wait, from its response. */
    retryAfter: Schema.optional(Schema.DurationFromSelf),
    /**
     * Credentials with the new refresh token from a malformed response. They are saved before anything else.
     */
    salvaged: Schema.optional(CredentialsSelf),
    cause: Schema.optional(Schema.Defect)
  }
) {}

export {
  /**
   * What the server does with a refresh token once used.
   *
   * @since 0.1.0
   * @category models
   */
  type RotationPolicy,
  /**
   * The refresh token stays the same for the life of the grant.
   *
   * @since 0.1.0
   * @category constructors
   */
  reusable,
  /**
   * Each refresh replaces the refresh token. The predecessor may be replayed within `window`.
   *
   * @since 0.1.0
   * @category constructors
   */
  rotating
} from "./RotationPolicy.js"

/**
 * The port. The manager calls `refresh` under the lease, with what storage holds, once at a time for a grant.
 * It sets a deadline, and interrupts the call at the deadline.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenRefresher extends Context.Tag("@latchkey/core/TokenRefresher")<
  TokenRefresher,
  {
    /** Whether a refresh needs a refresh token. If false, it does not even need credentials. */
    readonly needsRefreshToken: boolean
    readonly rotation: RotationPolicy
    /**
     * By how many milliseconds the server's clock is ahead of ours, as far as its responses show. Absent if
     * unknown. Tokens are due that much earlier, because the server wrote the expiry by its own clock.
     */
    readonly serverAhead?: () => number
    /**
     * The server and the client whose grants it redeems. Nothing is sent for a stored grant of another
     * identity, and what is stored from now on is bound to this one. Absent if unknown: then nothing is bound
     * or compared.
     */
    readonly identity?: GrantIdentity | undefined
    /** Issuers and token endpoints that the server had before. See `GrantIdentity.compare`. */
    readonly formerly?: ReadonlyArray<string> | undefined
    /**
     * Reads the client from a grant that names it, for programs with several clients that share it. Default:
     * that of `identity`.
     */
    readonly clientIdIn?: ((credentials: Credentials) => Option.Option<string>) | undefined
    /**
     * Returns the identity that a grant contains, for a refresher that sends each grant to its own server. Replaces
     * `identity` and `clientIdIn`.
     */
    readonly identityIn?: ((credentials: Credentials) => Option.Option<GrantIdentity>) | undefined
    readonly refresh: (previous: Option.Option<Credentials>) => Effect.Effect<Credentials, RefreshError>
  }
>() {}

/**
 * The identity of a refresher's grants, as far as it is known. See {@link TokenRefresher}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Origin {
  readonly identity?: GrantIdentity | undefined
  readonly formerly?: ReadonlyArray<string> | undefined
  readonly clientIdIn?: ((credentials: Credentials) => Option.Option<string>) | undefined
  readonly identityIn?: ((credentials: Credentials) => Option.Option<GrantIdentity>) | undefined
}

/**
 * Returns the identity that the grant in these credentials has for a refresher, if the refresher names one.
 *
 * @since 0.1.0
 * @category getters
 */
export const identityOf = (
  { clientIdIn, identity, identityIn }: Origin,
  credentials: Credentials
): Option.Option<GrantIdentity> =>
  identityIn !== undefined
    ? identityIn(credentials)
    : Option.map(Option.fromNullable(identity), (own) =>
        Option.match(clientIdIn?.(credentials) ?? Option.none(), {
          onNone: () => own,
          onSome: (clientId) => withClientId(own, clientId)
        })
      )

const unknownAhead = (): number => 0

/**
 * Creates a refresher from a function that redeems a refresh token. Default `rotation`: no replay window.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Origin & {
    readonly rotation?: RotationPolicy
    readonly serverAhead?: () => number
    readonly refresh: (
      credentials: Credentials,
      refreshToken: Redacted.Redacted
    ) => Effect.Effect<Credentials, RefreshError>
  }
): Context.Tag.Service<TokenRefresher> =>
  TokenRefresher.of({
    identity: options.identity,
    formerly: options.formerly,
    clientIdIn: options.clientIdIn,
    identityIn: options.identityIn,
    needsRefreshToken: true,
    rotation: options.rotation ?? rotating(),
    serverAhead: options.serverAhead ?? unknownAhead,
    refresh: (previous) =>
      Option.match(
        Option.flatMap(previous, (credentials) =>
          Option.map(credentials.refreshToken, (refreshToken) => ({ credentials, refreshToken }))
        ),
        {
          onNone: () =>
            Effect.fail(
              new RefreshError({
                reason: "NotSent",
                message:
                  "There is no refresh token: log in again, and ask for offline access if the server requires it."
              })
            ),
          onSome: ({ credentials, refreshToken }) => options.refresh(credentials, refreshToken)
        }
      )
  })

/**
 * Creates a refresher that needs no refresh token: client credentials, an assertion, an exchange. No response
 * ends its grant: after `GrantDead` it cools down and is called again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeIndependent = (
  refresh: (previous: Option.Option<Credentials>) => Effect.Effect<Credentials, RefreshError>,
  options: Origin & { readonly serverAhead?: () => number } = {}
): Context.Tag.Service<TokenRefresher> =>
  TokenRefresher.of({
    identity: options.identity,
    formerly: options.formerly,
    clientIdIn: options.clientIdIn,
    identityIn: options.identityIn,
    needsRefreshToken: false,
    rotation: reusable,
    serverAhead: options.serverAhead ?? unknownAhead,
    refresh
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Parameters<typeof make>[0]): Layer.Layer<TokenRefresher> =>
  Layer.succeed(TokenRefresher, make(options))

/**
 * {@link makeIndependent} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerIndependent = (
  refresh: Parameters<typeof makeIndependent>[0]
): Layer.Layer<TokenRefresher> => Layer.succeed(TokenRefresher, makeIndependent(refresh))
