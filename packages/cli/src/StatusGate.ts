/**
 * Decides who may see the status page of this machine: the browser that opened the link first. Pure.
 *
 * @since 3.1.0
 */
import * as Redacted from "effect/Redacted"
import { isSecret } from "./LocalGate.js"

/**
 * Random texts, new for each run. `path`: the part of the address below which the page is. Browsers send a
 * cookie to every port of a host, but only below its path: another server of this machine never gets it.
 *
 * @since 3.1.0
 * @category models
 */
export interface Keys {
  readonly path: string
  readonly ticket: Redacted.Redacted
  readonly session: Redacted.Redacted
}

/**
 * A request. The names of `headers` are in lower case. `isUsed`: whether the link was opened before.
 *
 * @since 3.1.0
 * @category models
 */
export interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly cookies: Readonly<Record<string, string>>
  readonly isUsed: boolean
}

/**
 * - `Page`: show the page.
 * - `SignIn`: the link was opened. Set the cookie, and redirect to the page.
 * - `Refused`: respond with `status` and `message`.
 *
 * @since 3.1.0
 * @category models
 */
export type Decision =
  | { readonly _tag: "Page" }
  | { readonly _tag: "SignIn" }
  | { readonly _tag: "Refused"; readonly status: number; readonly message: string }

/**
 * @since 3.1.0
 * @category constants
 */
export const cookieName = "latchkey_status"

/**
 * The address that is printed: it holds the ticket, which works once.
 *
 * @since 3.1.0
 * @category getters
 */
export const linkOf = ({ path, ticket }: Keys, port: number): string =>
  `http://127.0.0.1:${port}/${path}/?ticket=${Redacted.value(ticket)}`

const refused = (status: number, message: string): Decision => ({ _tag: "Refused", status, message })

/**
 * @since 3.1.0
 * @category predicates
 */
export const decide = (
  hosts: ReadonlyArray<string>,
  { path, session, ticket }: Keys,
  { cookies, headers, isUsed, method, url }: Asked
): Decision => {
  if (!hosts.includes((headers["host"] ?? "").toLowerCase())) {
    return refused(403, "The request names another host. Use the address that latchkey printed.")
  }
  if (!isOpened(headers)) return refused(403, "Web pages may not use this address.")
  if (method !== "GET") return refused(405, "The page can only be read.")
  const at = url.indexOf("?")
  if ((at === -1 ? url : url.slice(0, at)) !== `/${path}/`) return refused(404, "There is no such page.")
  const given = new URLSearchParams(at === -1 ? "" : url.slice(at + 1)).get("ticket")
  if (given !== null && !isUsed && isSecret(ticket, given)) return { _tag: "SignIn" }
  if (!isSecret(session, cookies[cookieName])) {
    return refused(
      401,
      "This link was opened before, or is wrong. Start latchkey status --web again for a new one."
    )
  }
  return given === null ? { _tag: "Page" } : { _tag: "SignIn" }
}

/** Whether a user opened the address in a tab, or followed a link on the page itself. */
const isOpened = (headers: Asked["headers"]): boolean => {
  const { origin, "sec-fetch-mode": mode, "sec-fetch-dest": dest, "sec-fetch-site": site } = headers
  const isPrefetch = [headers["sec-purpose"], headers["purpose"]].some((purpose) =>
    purpose?.includes("prefetch")
  )
  const isTab = (mode ?? "navigate") === "navigate" && (dest ?? "document") === "document"
  return origin === undefined && !isPrefetch && (site === undefined || isTab)
}
