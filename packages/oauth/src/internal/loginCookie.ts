/** The cookies that lead a browser back to its logins. Pure. */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

type Cookies = Readonly<Record<string, string>>

/**
 * With this prefix, browsers accept the cookie only over https, for exactly this host and all its paths: no
 * other host of the domain can plant one (RFC 6265bis §4.1.3.2).
 */
const prefix = "__Host-latchkey-login"

/** The name of a login's cookie. It has a part of the state, so that each tab finds its own. */
export const nameOf = (createdAt: number, state: Redacted.Redacted): string =>
  `${prefix}-${createdAt}-${tagOf(Redacted.value(state))}`

const tagOf = (state: string): string => state.slice(0, 12)

const form = new RegExp(`^${prefix}-(\\d{1,16})-([\\w-]{12})$`)

interface Found {
  readonly name: string
  readonly createdAt: number
  readonly tag: string
}

/** The cookies of logins, the newest first. */
const all = (cookies: Cookies): ReadonlyArray<Found> =>
  Object.keys(cookies)
    .flatMap((name) => {
      const [, createdAt, tag] = form.exec(name) ?? []
      return tag === undefined ? [] : [{ name, createdAt: Number(createdAt), tag }]
    })
    .sort((a, b) => b.createdAt - a.createdAt)

/** The cookie of the login with this state. */
export const find = (
  cookies: Cookies,
  state: string
): Option.Option<{ readonly name: string; readonly ticket: Redacted.Redacted }> =>
  Option.map(Option.fromNullable(all(cookies).find(({ tag }) => tag === tagOf(state))), ({ name }) => ({
    name,
    ticket: Redacted.make(cookies[name] ?? "")
  }))

/** How many logins a browser may have under way. More cookies could make its requests too long for a server. */
const most = 3

/** The cookies to remove when another login begins: all but the newest. */
export const superfluous = (cookies: Cookies): ReadonlyArray<string> =>
  all(cookies)
    .slice(most - 1)
    .map(({ name }) => name)
