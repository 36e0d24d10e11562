/**
 * How a client proves to the authorization server who it is (RFC 6749 §2.3, RFC 7523 §2.2,
 * OpenID Connect Core §9).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import { invalid, type OAuthConfigError } from "./Endpoint.js"

/**
 * A way to authenticate; none of them holds a secret in clear.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientAuth =
  | { readonly _tag: "None" }
  | { readonly _tag: "ClientSecretBasic"; readonly secret: Redacted.Redacted }
  | { readonly _tag: "ClientSecretPost"; readonly secret: Redacted.Redacted }
  | { readonly _tag: "ClientSecretJwt"; readonly secret: Redacted.Redacted; readonly audience?: string }
  | {
      readonly _tag: "PrivateKeyJwt"
      readonly key: oauth.CryptoKey | Redacted.Redacted<oauth.JWK>
      readonly kid?: string
      readonly audience?: string
    }

/**
 * A client as the authorization server knows it; public (no secret) unless `auth` is given.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly clientId: string
  readonly auth?: ClientAuth | undefined
}

/**
 * A public client: only its id is sent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: ClientAuth = { _tag: "None" }

/**
 * Id and secret in the `Authorization` header, each form-encoded first (RFC 6749 §2.3.1).
 *
 * @since 0.1.0
 * @category constructors
 */
export const basic = (secret: Redacted.Redacted): ClientAuth => ({ _tag: "ClientSecretBasic", secret })

/**
 * Id and secret in the body (RFC 6749 §2.3.1).
 *
 * @since 0.1.0
 * @category constructors
 */
export const post = (secret: Redacted.Redacted): ClientAuth => ({ _tag: "ClientSecretPost", secret })

/**
 * An assertion signed with the secret (HS256), with a fresh `jti` each time; its audience is the issuer
 * unless given.
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientSecretJwt = (
  secret: Redacted.Redacted,
  options: { readonly audience?: string } = {}
): ClientAuth => ({ _tag: "ClientSecretJwt", secret, ...options })

/**
 * An assertion signed with a private key, with a fresh `jti` each time; its audience is the issuer unless
 * given. The key is a `CryptoKey`, or a JWK (with `alg`, where the key alone does not tell it).
 *
 * @since 0.1.0
 * @category constructors
 */
export const privateKeyJwt = (options: {
  readonly key: oauth.CryptoKey | Redacted.Redacted<oauth.JWK>
  readonly kid?: string
  readonly audience?: string
}): ClientAuth => ({ _tag: "PrivateKeyJwt", ...options })

/**
 * The same in the terms of `oauth4webapi`. Fails where a secret is empty or a key cannot be used.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toOAuth = (auth: ClientAuth): Effect.Effect<oauth.ClientAuth, OAuthConfigError> => {
  switch (auth._tag) {
    case "None":
      return Effect.succeed(oauth.None())
    case "ClientSecretBasic":
      return Effect.map(secretOf(auth.secret), (secret) => oauth.ClientSecretBasic(secret))
    case "ClientSecretPost":
      return Effect.map(secretOf(auth.secret), (secret) => oauth.ClientSecretPost(secret))
    case "ClientSecretJwt":
      return Effect.map(secretOf(auth.secret), (secret) =>
        oauth.ClientSecretJwt(secret, audience(auth.audience))
      )
    case "PrivateKeyJwt":
      return Effect.flatMap(importKey(auth.key), (key) =>
        Effect.try({
          try: () =>
            oauth.PrivateKeyJwt(
              auth.kid === undefined ? key : { key, kid: auth.kid },
              audience(auth.audience)
            ),
          catch: () => invalid("client.auth.key", "must be a private key that can sign")
        })
      )
  }
}

const audience = (value: string | undefined): oauth.ModifyAssertionOptions =>
  value === undefined
    ? {}
    : {
        [oauth.modifyAssertion]: (_header, payload) => {
          payload["aud"] = value
        }
      }

const secretOf = (secret: Redacted.Redacted): Effect.Effect<string, OAuthConfigError> =>
  Redacted.value(secret) === ""
    ? Effect.fail(invalid("client.auth.secret", "is empty: set the client's secret, or use ClientAuth.none"))
    : Effect.succeed(Redacted.value(secret))

interface KeyAlgorithm {
  readonly name: string
  readonly namedCurve?: string
  readonly hash?: string
}

/** JWS algorithms (RFC 7518 §3.1, RFC 8037, RFC 9864) and what Web Crypto calls them. */
const importAlgorithms: Readonly<Record<string, KeyAlgorithm>> = {
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  ES384: { name: "ECDSA", namedCurve: "P-384" },
  ES512: { name: "ECDSA", namedCurve: "P-521" },
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  RS384: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-384" },
  RS512: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-512" },
  PS256: { name: "RSA-PSS", hash: "SHA-256" },
  PS384: { name: "RSA-PSS", hash: "SHA-384" },
  PS512: { name: "RSA-PSS", hash: "SHA-512" },
  Ed25519: { name: "Ed25519" },
  EdDSA: { name: "Ed25519" }
}

/** What a JWK without `alg` is taken for. */
const defaultAlgorithm = (jwk: oauth.JWK): string | undefined => {
  switch (jwk.kty) {
    case "RSA":
      return "RS256"
    case "OKP":
      return "Ed25519"
    case "EC":
      return jwk.crv === "P-521" ? "ES512" : jwk.crv === "P-384" ? "ES384" : "ES256"
    default:
      return undefined
  }
}

const importKey = (
  key: oauth.CryptoKey | Redacted.Redacted<oauth.JWK>
): Effect.Effect<oauth.CryptoKey, OAuthConfigError> => {
  if (!Redacted.isRedacted(key)) return Effect.succeed(key)
  const jwk = Redacted.value(key)
  const algorithm = importAlgorithms[jwk.alg ?? defaultAlgorithm(jwk) ?? ""]
  if (algorithm === undefined) {
    return Effect.fail(
      invalid("client.auth.key", "is a JWK of a kind that is not supported: use EC, RSA or Ed25519")
    )
  }
  return Effect.tryPromise({
    try: () => crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]),
    catch: () => invalid("client.auth.key", "is a JWK that does not hold a usable private key")
  })
}
