/** Whether a browser may have made a request on its own site's behalf. Pure. */
import * as Option from "effect/Option"
import { LoginError } from "../LoginError.js"

/** The headers of a request, with lower-case names. */
type Headers = Readonly<Record<string, string | undefined>>

/**
 * Returns the reason not to begin or finish a login: the address was not opened in a tab, but loaded by a page,
 * prefetched, or only asked about. A request without these headers passes, because old browsers send none.
 */
export const navigationProblem = (method: string, headers: Headers): Option.Option<LoginError> => {
  const mode = headers["sec-fetch-mode"]
  const isPrefetch = [headers["sec-purpose"], headers["purpose"]].some((purpose) =>
    purpose?.includes("prefetch")
  )
  return method === "GET" && (mode === undefined || mode === "navigate") && !isPrefetch
    ? Option.none()
    : Option.some(notOpened)
}

const notOpened = new LoginError({
  reason: "Denied",
  message: "The address of the login was loaded in the background, and nothing was done: open it in a tab."
})

/**
 * Returns the reason to refuse a request that changes something: it does not come from a page of `origin`. The
 * browser sets both headers, and a page cannot change them. `Origin` is `null` if the page sends no referrer;
 * then only `Sec-Fetch-Site` counts.
 */
export const crossSiteProblem = (headers: Headers, origin: string): Option.Option<LoginError> => {
  const { origin: from, "sec-fetch-site": site } = headers
  const isNamed = from !== undefined && from !== "null"
  const isOurs =
    site === undefined ? from === origin : site === "same-origin" && (!isNamed || from === origin)
  return isOurs ? Option.none() : Option.some(otherSite)
}

const otherSite = new LoginError({
  reason: "Denied",
  message:
    "The request did not come from a page of this site, and nothing was done: log out on a page of this site."
})
