import * as Effect from "effect/Effect"
import type * as oauth from "oauth4webapi"
import { invalid, type OAuthConfigError } from "../Endpoint.js"

interface KeyAlgorithm {
  readonly name: string
  readonly namedCurve?: string
  readonly hash?: string
}

/** JWS algorithms (RFC 7518 §3.1, RFC 8037, RFC 9864) in the terms of Web Crypto. */
const algorithms: Readonly<Record<string, KeyAlgorithm>> = {
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

/** The assumed algorithm of a key without `alg`. */
const algorithmOf = (jwk: oauth.JWK): string | undefined => {
  if (jwk.alg !== undefined) return jwk.alg
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

/** Imports a key for signing or verifying. `setting` names its source. */
export const importSigningKey = (
  setting: string,
  jwk: oauth.JWK,
  usage: "sign" | "verify"
): Effect.Effect<oauth.CryptoKey, OAuthConfigError> => {
  const algorithm = algorithms[algorithmOf(jwk) ?? ""]
  if (algorithm === undefined) {
    return Effect.fail(invalid(setting, "is a JWK of a kind that is not supported: use EC, RSA or Ed25519"))
  }
  // The key's own restrictions on use are dropped, because they apply to its source.
  const { key_ops: _ops, use: _use, ext: _ext, alg: _alg, ...material } = jwk
  return Effect.tryPromise({
    try: () => crypto.subtle.importKey("jwk", material, algorithm, usage === "verify", [usage]),
    catch: () => invalid(setting, `is a JWK that holds no key to ${usage} with`)
  })
}
