/**
 * How a client authenticates to the authorization server (RFC 6749 §2.3, RFC 7523 §2.2, OpenID Connect Core
 * §9).
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import { importSigningKey } from "./internal/keys.js"

/**
 * A way to authenticate. None holds a secret in clear text.
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
  | {
      readonly _tag: "ClientAssertion"
      readonly assertion: Effect.Effect<Redacted.Redacted, RefreshError, HttpClient>
    }

/**
 * A client as the authorization server knows it. It is public (no secret) unless `auth` is given.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly clientId: string
  readonly auth?: ClientAuth | undefined
}

/**
 * A public client: only its ID is sent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: ClientAuth = { _tag: "None" }

/**
 * Sends ID and secret in the `Authorization` header, each form-encoded first (RFC 6749 §2.3.1). The
 * characters `-`, `_`, `.` and `~`, which need no encoding in a form, stay unchanged, because some servers do
 * not decode them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const basic = (secret: Redacted.Redacted): ClientAuth => ({ _tag: "ClientSecretBasic", secret })

/**
 * {@link basic} without the form-encoding (RFC 7617), for servers that do not decode it. These refuse an ID
 * or a secret with a `+`, `/`, `=` or `%` if it is sent in the standard way.
 *
 * @since 0.1.0
 * @category constructors
 */
export const basicRaw = (secret: Redacted.Redacted): ClientAuth => ({ _tag: "ClientSecretBasicRaw", secret })

/**
 * Sends ID and secret in the body (RFC 6749 §2.3.1).
 *
 * @since 0.1.0
 * @category constructors
 */
export const post = (secret: Redacted.Redacted): ClientAuth => ({ _tag: "ClientSecretPost", secret })

/**
 * Sends an assertion signed with the secret (HS256), with a fresh `jti` each time. Its audience defaults to
 * the issuer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientSecretJwt = (
  secret: Redacted.Redacted,
  options: { readonly audience?: string } = {}
): ClientAuth => ({ _tag: "ClientSecretJwt", secret, ...options })

/**
 * Sends an assertion signed with a private key, with a fresh `jti` each time. Its audience defaults to the
 * issuer. The key is a `CryptoKey`, or a JWK (with `alg`, if the key alone does not determine it).
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
 * Sends an assertion that somebody else has signed (RFC 7523 §2.2): the identity of a workload, for example. The
 * effect runs for each request. Only token requests can be sent with it: introspection, revocation and logins
 * fail with `OAuthConfigError`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const assertion = (given: Effect.Effect<Redacted.Redacted, RefreshError, HttpClient>): ClientAuth => ({
  _tag: "ClientAssertion",
  assertion: given
})

/**
 * Converts a client to the terms of `oauth4webapi`, for its functions.
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
 * Converts a method to the terms of `oauth4webapi`. Fails if a secret is empty or a key cannot be used.
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
    case "ClientAssertion":
      return Effect.fail(
        invalid("client.auth", "is an assertion from outside, which only token requests can carry")
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

/** Replaces the library's version, which also encodes `-`, `_`, `.` and `~`. */
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
  // Half of a UTF-16 pair cannot be encoded.
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
