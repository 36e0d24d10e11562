/**
 * Where an agent listens, and the paths of requests to it. This module imports no Effect, so that `latchkey token` with
 * an agent starts nearly as fast as Node itself.
 *
 * @since 3.1.0
 */
import { statSync } from "node:fs"

/**
 * Where an agent listens.
 *
 * @since 3.1.0
 * @category models
 */
export type Place = { readonly socketPath: string } | { readonly host: string; readonly port: number }

/**
 * Parses the path of a socket, or a loopback URL. Undefined if it is neither.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parsePlace = (text: string): Place | undefined => {
  if (text.startsWith("/") || text.startsWith("unix:/")) return { socketPath: text.replace(/^unix:/, "") }
  const [, host, port] = /^http:\/\/(127\.0\.0\.1|localhost):(\d{1,5})\/?$/.exec(text) ?? []
  return host === undefined ? undefined : { host, port: Number(port) }
}

/**
 * Whose socket this is. One of another user may be anybody's. One of root counts as this user's own.
 *
 * @since 3.1.0
 * @category predicates
 */
export const ownerOf = (path: string): "own" | "foreign" | "missing" => {
  const uid = statSync(path, { throwIfNoEntry: false })?.uid
  if (uid === undefined) return "missing"
  return uid === process.getuid?.() || uid === 0 ? "own" : "foreign"
}

/**
 * The path of a request for a token that stays valid for `minValidity`, in milliseconds.
 *
 * @since 3.1.0
 * @category getters
 */
export const tokenPath = (account: string, minValidity: number): string =>
  `/token?${new URLSearchParams({ account, min_validity: `${Math.ceil(minValidity / 1000)}` })}`

/**
 * The path of a request for another token. Its body is the token that a server has refused.
 *
 * @since 3.1.0
 * @category getters
 */
export const rejectPath = (account: string): string => `/reject?${new URLSearchParams({ account })}`
