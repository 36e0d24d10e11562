/**
 * The claims of a JWT (RFC 7519), unchecked: for tokens that came directly from their server, or from a file
 * that is trusted. It imports nothing large.
 *
 * @since 0.1.0
 */
import { Buffer } from "node:buffer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/**
 * @since 0.1.0
 * @category models
 */
export type Claims = Readonly<Record<string, unknown>>

/**
 * Returns the claims of a token. None if it is not a JWT.
 *
 * @since 0.1.0
 * @category getters
 */
export const claims = (token: Redacted.Redacted): Option.Option<Claims> => {
  const [, payload] = Redacted.value(token).split(".")
  if (payload === undefined) return Option.none()
  try {
    if (!/^[\w+/-]+=*$/.test(payload)) return Option.none()
    const value: unknown = JSON.parse(Buffer.from(payload, "base64url").toString())
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Option.some(value as Claims)
      : Option.none()
  } catch {
    return Option.none()
  }
}
