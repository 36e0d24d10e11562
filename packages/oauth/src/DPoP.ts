/**
 * Tokens bound to a key (RFC 9449): the key, stored with the grant; the proofs; the servers' nonces.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import { importSigningKey } from "./internal/keys.js"
import * as Wire from "./Wire.js"

/**
 * A key pair that proves possession. Its private half leaves this module only as a redacted JWK.
 *
 * @since 0.1.0
 * @category models
 */
export interface Key {
  readonly keyPair: oauth.CryptoKeyPair
  /** Both halves, for storage with the grant. */
  readonly jwk: Redacted.Redacted<oauth.JWK>
}

/**
 * The field of a grant's `extras` that holds its key. The two are stored together, because the grant is lost
 * without the key (RFC 9449 §5).
 *
 * @since 0.1.0
 * @category models
 */
export const extrasField = "dpop_jwk"

/**
 * Generates a key. Default algorithm: ES256.
 *
 * @since 0.1.0
 * @category constructors
 */
export const generate = (
  alg: "ES256" | "ES384" | "ES512" | "Ed25519" | "PS256" | "RS256" = "ES256"
): Effect.Effect<Key> =>
  Effect.promise(async () => {
    const { privateKey, publicKey } = await oauth.generateKeyPair(alg, { extractable: true })
    const jwk: oauth.JWK = { ...((await crypto.subtle.exportKey("jwk", privateKey)) as oauth.JWK), alg }
    return { keyPair: { privateKey, publicKey }, jwk: Redacted.make(jwk) }
  })

/**
 * Restores a key from the JWK that it was stored as.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromJwk = (jwk: Redacted.Redacted<oauth.JWK>): Effect.Effect<Key, OAuthConfigError> =>
  Effect.gen(function* () {
    const {
      d: _d,
      p: _p,
      q: _q,
      dp: _dp,
      dq: _dq,
      qi: _qi,
      key_ops: _ops,
      ...publicJwk
    } = Redacted.value(jwk)
    const privateKey = yield* importSigningKey(extrasField, Redacted.value(jwk), "sign")
    const publicKey = yield* importSigningKey(extrasField, publicJwk, "verify")
    return { keyPair: { privateKey, publicKey }, jwk }
  })

/** Each request needs the key of the same credentials, and importing it each time is slow. */
const imported = new WeakMap<Redacted.Redacted<Credentials.Extras>, Key>()

/**
 * Returns the key that a grant is bound to, or none. Fails if the grant is bound and its key is missing or
 * broken. Then only a new login helps, because there is no fallback to Bearer.
 *
 * @since 0.1.0
 * @category getters
 */
export const keyOf = (
  credentials: Credentials.Credentials
): Effect.Effect<Option.Option<Key>, OAuthConfigError> =>
  Effect.suspend(() => {
    const known = imported.get(credentials.extras)
    if (known !== undefined) return Effect.succeed(Option.some(known))
    const stored = Redacted.value(credentials.extras)[extrasField]
    if (stored === undefined) {
      return isBound(credentials)
        ? Effect.fail(invalid(extrasField, "is missing from a grant that is bound to a key: log in again"))
        : Effect.succeedNone
    }
    return isJwk(stored)
      ? fromJwk(Redacted.make(stored)).pipe(
          Effect.tap((key) => Effect.sync(() => imported.set(credentials.extras, key))),
          Effect.asSome
        )
      : Effect.fail(invalid(extrasField, "in the grant is not a key: log in again"))
  })

const isJwk = (value: unknown): value is oauth.JWK =>
  typeof value === "object" && value !== null && "kty" in value && typeof value.kty === "string"

/**
 * Whether an access token may only be used with a proof.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isBound = (credentials: Credentials.Credentials): boolean =>
  credentials.tokenType.toLowerCase() === "dpop"

/**
 * Returns the credentials together with the key that they are bound to.
 *
 * @since 0.1.0
 * @category combinators
 */
export const attach = (credentials: Credentials.Credentials, key: Key): Credentials.Credentials => {
  const extras = Redacted.make({
    ...Redacted.value(credentials.extras),
    [extrasField]: Redacted.value(key.jwk)
  })
  imported.set(extras, key)
  return new Credentials.Credentials({ ...credentials, extras })
}

/**
 * The latest nonces of servers of one kind, by origin (RFC 9449 §8, §9). Nonces of the authorization server
 * and of resource servers are never mixed, so each kind has its own store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Nonces {
  readonly get: (url: string | URL) => string | undefined
  /** Keeps the `DPoP-Nonce` of a response. Returns whether there was one. */
  readonly keep: (url: string | URL, headers: Readonly<Record<string, string | undefined>>) => boolean
}

const maxOrigins = 100

/**
 * @since 0.1.0
 * @category constructors
 */
export const makeNonces: Effect.Effect<Nonces> = Effect.sync(() => {
  const byOrigin = new Map<string, string>()
  return {
    get: (url) => byOrigin.get(new URL(url).origin),
    keep: (url, headers) => {
      const nonce = headers["dpop-nonce"]
      if (nonce === undefined || nonce === "") return false
      const { origin } = new URL(url)
      byOrigin.delete(origin)
      byOrigin.set(origin, nonce)
      for (const [oldest] of byOrigin) if (byOrigin.size > maxOrigins) byOrigin.delete(oldest)
      return true
    }
  }
})

/**
 * Creates the `DPoP` option for the functions of `oauth4webapi`: valid for one request, with its own `jti`.
 * `serverAhead` is by how many milliseconds the server's clock is ahead of ours, default 0. The proof is
 * dated by the server's clock.
 *
 * @since 0.1.0
 * @category constructors
 */
export const handle = (
  key: Key,
  nonce: string | undefined,
  serverAhead = 0
): Effect.Effect<oauth.DPoPHandle> =>
  Effect.map(
    Effect.flatMap(Clock.currentTimeMillis, (now) => Wire.clockSkew(now + serverAhead)),
    (skew) =>
      oauth.DPoP({ [oauth.clockSkew]: skew }, key.keyPair, {
        [oauth.modifyAssertion]: (_header, payload) => {
          if (nonce !== undefined) payload["nonce"] = nonce
        }
      })
  )

/**
 * Creates a proof for a request to a resource server, for its `DPoP` header (RFC 9449 §4.2). It is bound to
 * the method, the URL without its query, the access token, and the resource server's nonce, if there is one.
 * It is dated by the server's clock if `serverAhead` says by how many milliseconds that is ahead of ours.
 *
 * @since 0.1.0
 * @category constructors
 */
export const proof = (options: {
  readonly key: Key
  readonly nonces: Nonces
  readonly method: string
  readonly url: string | URL
  readonly accessToken: Redacted.Redacted
  readonly serverAhead?: number
}): Effect.Effect<string> =>
  Effect.flatMap(
    Effect.suspend(() => handle(options.key, options.nonces.get(options.url), options.serverAhead)),
    (dpop) =>
      hidden(async () => {
        let made = ""
        // The library has no function for the proof alone, so its request is intercepted before it is sent.
        await oauth.protectedResourceRequest(
          Redacted.value(options.accessToken),
          options.method,
          new URL(options.url),
          undefined,
          null,
          {
            DPoP: dpop,
            [oauth.allowInsecureRequests]: true,
            [oauth.customFetch]: async (_url, init) => {
              made = init.headers["dpop"] ?? ""
              return new Response()
            }
          }
        )
        return made
      })
  )

/** The error for an invalid header quotes it, and the token with it. */
const hidden = <A>(make: () => Promise<A>): Effect.Effect<A> =>
  Effect.catchAllDefect(Effect.promise(make), () =>
    Effect.die(new Error("No DPoP proof can be made: the access token, the method or the URL is not valid."))
  )

/**
 * Whether an authorization server asks for a proof with the nonce in its response (RFC 9449 §8). A resource
 * server does so in a challenge (§9).
 *
 * @since 0.1.0
 * @category predicates
 */
export const wantsNonce = (answer: Answer.Answer): boolean => {
  if (Answer.isOk(answer)) return false
  const challenge = answer.headers["www-authenticate"] ?? ""
  if (/\bDPoP\b/i.test(challenge) && /\berror="?use_dpop_nonce"?/.test(challenge)) return true
  return Answer.toError(answer).oauthError === "use_dpop_nonce"
}
