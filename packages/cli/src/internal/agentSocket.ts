/**
 * Where an agent listens, and what it is asked. This module imports no Effect, so that `latchkey token` through
 * an agent starts nearly as fast as Node itself.
 */
import { statSync } from "node:fs"

/** Where an agent listens. */
export type Place = { readonly socketPath: string } | { readonly host: string; readonly port: number }

/** Parses the path of a socket, or a loopback URL. Undefined if it is neither. */
export const parsePlace = (text: string): Place | undefined => {
  if (text.startsWith("/") || text.startsWith("unix:/")) return { socketPath: text.replace(/^unix:/, "") }
  const [, host, port] = /^http:\/\/(127\.0\.0\.1|localhost):(\d{1,5})\/?$/.exec(text) ?? []
  return host === undefined ? undefined : { host, port: Number(port) }
}

/** A socket of another user may be anybody's. Root may be asked. */
export const ownerOf = (path: string): "own" | "foreign" | "missing" => {
  const uid = statSync(path, { throwIfNoEntry: false })?.uid
  if (uid === undefined) return "missing"
  return uid === process.getuid?.() || uid === 0 ? "own" : "foreign"
}

/** Returns the path of a request for a token that stays valid for `minValidity`, in milliseconds. */
export const tokenPath = (account: string, minValidity: number): string =>
  `/token?${new URLSearchParams({ account, min_validity: `${Math.ceil(minValidity / 1000)}` })}`
