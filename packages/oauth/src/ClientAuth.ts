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
import { importSigningKey } from "./internal/keys.js"

/**
 * A way to authenticate; none of them holds a secret in clear.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientAuth =
  | { readonly _tag: "None" }
  | { readonly _tag: "ClientSecretBasic"; readonly secret: Redacted.Redacted }
  | { readonly _tag: "ClientSecretBasicRaw"; readonly secret: Redacted.Redacted }
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
 * Id and secret in the `Authorization` header, each form-encoded first (RFC 6749 §2.3.1). Characters that mean
 * themselves in a form (`-`, `_`, `.`, `~`) stay as they are, since some servers do not decode them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const basic = (secret: Redacted.Redacted): ClientAuth => ({ _tag: "ClientSecretBasic", secret })

/**
 * {@link basic} without the form-encoding (RFC 7617), for servers that compare what they get: with these, an id or a
 * secret with a `+`, `/`, `=` or `%` is refused by the standard way.
 *
 * @since 0.1.0
 * @category constructors
 */
export const basicRaw = (secret: Redacted.Redacted): ClientAuth => ({ _tag: "ClientSecretBasicRaw", secret })

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
 * A client in the terms of `oauth4webapi`, ready to be handed to its functions.
 *
 * @since 0.1.0
 * @category conversions
 */
export const authenticate = (
  client: Client
): Effect.Effect<{ readonly client: oauth.Client; readonly method: oauth.ClientAuth }, OAuthConfigError> =>
  client.clientId === ""
    ? Effect.fail(invalid("client.clientId", "is empty: set the id that the server gave the client"))
    : client.auth?._tag === "ClientSecretBasicRaw" && client.clientId.includes(":")
      ? Effect.fail(
          invalid("client.clientId", "has a colon, which basicRaw cannot send: use ClientAuth.basic")
        )
      : Effect.map(toOAuth(client.auth ?? none), (method) => ({
          client: { client_id: client.clientId },
          method
        }))

/**
 * A method in the terms of `oauth4webapi`. Fails where a secret is empty or a key cannot be used.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toOAuth = (auth: ClientAuth): Effect.Effect<oauth.ClientAuth, OAuthConfigError> => {
  switch (auth._tag) {
    case "None":
      return Effect.succeed(oauth.None())
    case "ClientSecretBasic":
      return Effect.map(secretOf(auth.secret), (secret) => basicHeader(secret, formEncode))
    case "ClientSecretBasicRaw":
      return Effect.map(secretOf(auth.secret), (secret) => basicHeader(secret, (text) => text))
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

/** Not the library's, which encodes `-`, `_`, `.` and `~` too. */
const basicHeader =
  (secret: string, encode: (text: string) => string): oauth.ClientAuth =>
  (_server, client, _body, headers) => {
    const bytes = new TextEncoder().encode(`${encode(client.client_id)}:${encode(secret)}`)
    headers.set("authorization", `Basic ${btoa(String.fromCharCode(...bytes))}`)
  }

/** RFC 6749, appendix B. */
const formEncode = (text: string): string => encodeURIComponent(text).replaceAll("%20", "+")

const audience = (value: string | undefined): oauth.ModifyAssertionOptions =>
  value === undefined
    ? {}
    : {
        [oauth.modifyAssertion]: (_header, payload) => {
          payload["aud"] = value
        }
      }

const secretOf = (redacted: Redacted.Redacted): Effect.Effect<string, OAuthConfigError> => {
  const secret = Redacted.value(redacted)
  const refuse = (problem: string) => Effect.fail(invalid("client.auth.secret", problem))
  if (secret === "") return refuse("is empty: set the client's secret, or use ClientAuth.none")
  // Half of a pair of UTF-16: it cannot be encoded.
  return /\p{Surrogate}/u.test(secret)
    ? refuse("has half of a character: copy it again")
    : Effect.succeed(secret)
}

const importKey = (
  key: oauth.CryptoKey | Redacted.Redacted<oauth.JWK>
): Effect.Effect<oauth.CryptoKey, OAuthConfigError> =>
  Redacted.isRedacted(key)
    ? importSigningKey("client.auth.key", Redacted.value(key), "sign")
    : Effect.succeed(key)
