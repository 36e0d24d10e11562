/**
 * What a JWT says (RFC 7519), unchecked: for tokens that came straight from their server, or from a file that
 * is trusted as it is. Loads nothing heavy.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/**
 * @since 0.1.0
 * @category models
 */
export type Claims = Readonly<Record<string, unknown>>

/**
 * The claims of a token; none where it is no JWT.
 *
 * @since 0.1.0
 * @category getters
 */
export const claims = (token: Redacted.Redacted): Option.Option<Claims> => {
  const [, payload] = Redacted.value(token).split(".")
  if (payload === undefined) return Option.none()
  try {
    const value: unknown = JSON.parse(utf8.decode(bytesOf(payload)))
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Option.some(value as Claims)
      : Option.none()
  } catch {
    return Option.none()
  }
}

const utf8 = new TextDecoder()

/** base64url (RFC 4648 §5). */
const bytesOf = (text: string): Uint8Array => {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"))
  const bytes = new Uint8Array(binary.length)
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at)
  return bytes
}
