/**
 * What a proxy changes in a request and in its response. Pure.
 *
 * @since 3.1.0
 */
import { isLoopback } from "@latchkey/oauth/Endpoint"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { type Failure, usage } from "./Failure.js"
import { without } from "./LocalGate.js"

type Headers = Readonly<Record<string, string>>

/** Headers of one connection (RFC 9110 §7.6.1), and those that describe the connection to the proxy. */
const ofConnection = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "expect",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto"
]

/** Removes the headers of the connection, with those that `Connection` names. */
const endToEnd = (headers: Headers): Headers =>
  without(headers, [
    ...ofConnection,
    ...(headers["connection"] ?? "").split(",").map((name) => name.trim().toLowerCase())
  ])

/**
 * The headers of the request to the server.
 *
 * @since 3.1.0
 * @category getters
 */
export const requestHeaders = endToEnd

/**
 * Parses where the requests go: an https URL, or http on this machine, perhaps with a path. No query, no
 * fragment, no user.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parseTarget = (text: string): Either.Either<URL, Failure> => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain =
    url !== undefined && url.username === "" && url.password === "" && url.search === "" && !/[?#]/.test(text)
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url))
  return isPlain && isSafe
    ? Either.right(url)
    : Either.left(
        usage(
          `${JSON.stringify(text.slice(0, 80))} is no address that a token may be sent to.`,
          "--to https://api.example.com, or http on this machine"
        )
      )
}

/**
 * The URL that a request goes to: its path and query below the target. None if the request names anything
 * else, or its path leads out of the target's, also once a server has decoded it.
 *
 * @since 3.1.0
 * @category getters
 */
export const urlOf = (target: URL, path: string): Option.Option<URL> => {
  if (!path.startsWith("/") || leadsUp(path)) return Option.none()
  const base = target.href.replace(/\/+$/, "")
  const url = URL.canParse(base + path) ? new URL(base + path) : undefined
  const isBelow = url !== undefined && (url.href === base || /^[/?]/.test(url.href.slice(base.length)))
  return isBelow && url.href.startsWith(base) ? Option.some(url) : Option.none()
}

/** Dots beside an encoded slash or backslash are no segment here, but may be one for the server. */
const leadsUp = (path: string): boolean =>
  path
    .replace(/[?#].*/s, "")
    .split(/[/\\]|%2f|%5c/i)
    .some((segment) => /^(?:\.|%2e){2}(?:;|$)/i.test(segment))

/**
 * The headers of the response to the program. A redirect within the target becomes one within the proxy, so
 * that the next request has the token too. Another redirect stays as it is, and gets none.
 *
 * @since 3.1.0
 * @category getters
 */
export const responseHeaders = (target: URL, requested: URL, headers: Headers): Headers => {
  // Cookies are passed on by themselves, because several of them cannot be one header.
  const kept = without(endToEnd(headers), ["set-cookie"])
  const location = kept["location"]
  if (location === undefined || !URL.canParse(location, requested.href)) return kept
  const to = new URL(location, requested.href)
  const base = target.pathname.replace(/\/+$/, "")
  const path = to.pathname.slice(base.length)
  // A path that begins with two slashes would be another host, which would get the local secret.
  const isBelow = to.origin === target.origin && to.pathname.startsWith(`${base}/`) && !path.startsWith("//")
  return isBelow ? { ...kept, location: path + to.search + to.hash } : { ...kept, location: to.href }
}
