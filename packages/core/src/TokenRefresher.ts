/**
 * How a grant gets a new access token: a port, and the lattice of what can go wrong.
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
 * What became of a refresh that failed. The order is that of certainty.
 *
 * - `NotSent`: it never left (name, connect, TLS); the refresh token is untouched, safe to repeat.
 * - `MaybeSent`: time-out, reset, a 5xx without an OAuth answer; whether the token was spent is unknown.
 * - `Transient`: the server answered that it could not now (429, 503, `temporarily_unavailable`).
 * - `GrantDead`: `invalid_grant`; only this ends a grant, and only one with a refresh token: a refresher that needs none
 *   is asked again after a cool-down.
 * - `Misconfigured`: `invalid_client`, `unauthorized_client`, `invalid_scope` and the like.
 * - `Malformed`: a 200 that is no usable token response; what could be saved of it is in `salvaged`.
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
 * A refresh that failed. It holds no secret but in `salvaged`, which is redacted and leaves no trace in
 * logs or JSON.
 *
 * @since 0.1.0
 * @category errors
 */
export class RefreshError extends Schema.TaggedError<RefreshError>("@latchkey/core/RefreshError")(
  "RefreshError",
  {
    reason: RefreshReason,
    /** What happened and what to do; server text in it is cut and escaped. */
    message: Schema.String,
    /** The server's `error` code (RFC 6749 §5.2), cut and escaped. */
    oauthError: Schema.optional(Schema.String),
    /** The HTTP status, where there was an answer. */
    status: Schema.optional(Schema.Number),
    /** How long the server asked to wait, from its answer. */
    retryAfter: Schema.optional(Schema.DurationFromSelf),
    /** Credentials with the new refresh token that a malformed answer held: saved before all else. */
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
   * Each refresh replaces the refresh token; the predecessor may be replayed within `window`.
   *
   * @since 0.1.0
   * @category constructors
   */
  rotating
} from "./RotationPolicy.js"

/**
 * The port. `refresh` is called once at a time for a grant, under the lease, with what storage holds; it
 * is given a deadline by its caller and is interrupted at it.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenRefresher extends Context.Tag("@latchkey/core/TokenRefresher")<
  TokenRefresher,
  {
    /** Without a refresh token there is nothing to refresh with; if false, not even credentials are needed. */
    readonly needsRefreshToken: boolean
    readonly rotation: RotationPolicy
    /**
     * By how many milliseconds the server's clock is ahead of ours, as far as its answers told; absent where
     * nobody knows. Tokens are due that much earlier: an expiry that the server wrote is by its clock.
     */
    readonly serverAhead?: () => number
    /**
     * The server and the client whose grants it redeems. Nothing is sent for a stored grant of another identity, and
     * what is stored from now on is bound to this one. Absent where it is not known: nothing is bound or compared.
     */
    readonly identity?: GrantIdentity | undefined
    /** Issuers and token endpoints that the server had before; see `GrantIdentity.compare`. */
    readonly formerly?: ReadonlyArray<string> | undefined
    /** The client that a grant names itself, where programs with several clients share it; else that of `identity`. */
    readonly clientIdIn?: ((credentials: Credentials) => Option.Option<string>) | undefined
    /**
     * The whole identity that a grant names itself, where one refresher redeems the grants of several servers, each at its
     * own; it takes the place of `identity` and `clientIdIn`.
     */
    readonly identityIn?: ((credentials: Credentials) => Option.Option<GrantIdentity>) | undefined
    readonly refresh: (previous: Option.Option<Credentials>) => Effect.Effect<Credentials, RefreshError>
  }
>() {}

/**
 * Of whom a refresher's grants are, where it is known; see {@link TokenRefresher}.
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
 * Of whom the grant in these credentials is for a refresher, where that says so.
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
 * A refresher from a function that redeems a refresh token. Without `rotation` it is taken to rotate with
 * no window, which is the safe assumption.
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
                  "There is no refresh token to redeem: log in, with offline access if the server wants it asked for."
              })
            ),
          onSome: ({ credentials, refreshToken }) => options.refresh(credentials, refreshToken)
        }
      )
  })

/**
 * A refresher that needs no refresh token: client credentials, an assertion, an exchange. No answer ends its grant: after
 * `GrantDead` it cools down and is asked again.
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
