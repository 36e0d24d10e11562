/**
 * Where a browser goes after a login: a path of your own site, and nothing else. An address that anybody may
 * put into a link to your login must not lead to another site (RFC 9700 §4.11.2).
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"

/** A longer address does not fit beside the rest of a login in a cookie. */
const longest = 1000

/** No site: the address must come out with the same origin for every site. */
const anySite = "https://site.invalid"

/**
 * Returns the address in its normal form (visible ASCII, dots resolved), if it is a path of the same origin.
 * None for anything that a browser or a proxy could read as another site: a URL, `//host`, a backslash, a
 * control character, a path that is `//host` once its dots are resolved, or more than 1,000 characters.
 *
 * @since 0.1.0
 * @category validation
 */
export const parse = (input: string): Option.Option<string> => {
  if (!input.startsWith("/") || input.length > longest || /[\\\p{Cc}]/u.test(input)) return Option.none()
  if (!URL.canParse(input, anySite)) return Option.none()
  const { hash, origin, pathname, search } = new URL(input, anySite)
  const path = `${pathname}${search}${hash}`
  return origin === anySite && !path.startsWith("//") && path.length <= longest
    ? Option.some(path)
    : Option.none()
}
