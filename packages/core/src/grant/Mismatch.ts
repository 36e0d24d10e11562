/** Whether a client may use a stored grant, and whether a login may replace it. */
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import type * as Credentials from "../Credentials.js"
import type * as Entry from "../Entry.js"
import { type GrantIdentity, Mismatch, userGrant } from "../GrantIdentity.js"

/**
 * A stored grant: its identity, if it was written with one, and whether it has a refresh token. Only a user's
 * grant is certain to have one.
 */
export interface Stored {
  readonly identity: Option.Option<GrantIdentity>
  readonly hasRefreshToken: boolean
}

/**
 * How a stored grant differs from those that a client may use, if it does. `formerly` names issuers and token
 * endpoints that the client's server had before: a grant from one of them counts as a grant from the server.
 *
 * A server is identified by its token endpoint if that was configured by hand, and otherwise by its issuer.
 * URLs are compared as URLs (RFC 3986 §6.2.2, §6.2.3). A trailing slash makes no difference in an issuer, but
 * does in an endpoint. If only one side names a token endpoint, both must have the same issuer, and an
 * endpoint that the stored grant does not name must be below that issuer's URL.
 *
 * A grant that was stored without an identity passes, unless it has a refresh token and the client uses none.
 */
export const compare = (
  stored: Stored,
  current: GrantIdentity,
  formerly: ReadonlyArray<string> = []
): Option.Option<Mismatch> => {
  if (Option.isNone(stored.identity)) {
    return stored.hasRefreshToken && current.grantType !== userGrant
      ? Option.some(
          new Mismatch({
            difference: "GrantType",
            stored: grantWords(userGrant),
            current: grantWords(current.grantType)
          })
        )
      : Option.none()
  }
  const was = stored.identity.value
  if (was === current) return Option.none()
  if (!sameServer(was, current, formerly)) {
    return Option.some(new Mismatch({ difference: "Server", ...serverWords(was, current) }))
  }
  if (was.grantType !== current.grantType) {
    return Option.some(
      new Mismatch({
        difference: "GrantType",
        stored: grantWords(was.grantType),
        current: grantWords(current.grantType)
      })
    )
  }
  if (differs(was.clientId, current.clientId)) {
    return Option.some(
      new Mismatch({ difference: "Client", stored: words(was.clientId), current: words(current.clientId) })
    )
  }
  return differs(was.subject, current.subject)
    ? Option.some(
        new Mismatch({ difference: "Account", stored: words(was.subject), current: words(current.subject) })
      )
    : Option.none()
}

/** Whether a login belongs to another account than the stored grant. None if either account is unknown. */
export const compareAccounts = (
  stored: Option.Option<string>,
  login: Option.Option<string>
): Option.Option<Mismatch> =>
  differs(stored, login)
    ? Option.some(new Mismatch({ difference: "Account", stored: words(stored), current: words(login) }))
    : Option.none()

/** Whether both are known and differ. */
const differs = (a: Option.Option<string>, b: Option.Option<string>): boolean =>
  Option.isSome(a) && Option.isSome(b) && a.value !== b.value

const sameServer = (was: GrantIdentity, is: GrantIdentity, formerly: ReadonlyArray<string>): boolean => {
  const former = new Set(formerly.map(issuerOf))
  const isFormer = (name: Option.Option<string>): boolean =>
    Option.exists(name, (text) => former.has(issuerOf(text)))
  if (isNameless(was) || isNameless(is)) return true
  const issuers = Option.zipWith(was.issuer, is.issuer, (a, b) => issuerOf(a) === issuerOf(b))
  if (Option.contains(issuers, false) && !isFormer(was.issuer)) return false
  const endpoints = Option.zipWith(was.tokenEndpoint, is.tokenEndpoint, (a, b) => urlOf(a) === urlOf(b))
  if (Option.isSome(endpoints)) return endpoints.value || isFormer(was.tokenEndpoint)
  if (isFormer(was.issuer) || isFormer(was.tokenEndpoint)) return true
  if (Option.isNone(issuers)) return false
  // The stored grant names no endpoint. The configured one must look like this issuer's.
  return Option.match(is.tokenEndpoint, {
    onNone: () => true,
    onSome: (endpoint) => Option.exists(was.issuer, (issuer) => isBelow(endpoint, issuer))
  })
}

const isNameless = ({ issuer, tokenEndpoint }: GrantIdentity): boolean =>
  Option.isNone(issuer) && Option.isNone(tokenEndpoint)

const isBelow = (endpoint: string, issuer: string): boolean =>
  urlOf(endpoint).startsWith(`${issuerOf(issuer)}/`)

/** Returns the URL in its normal form, or the text if it is not a URL. */
const urlOf = (text: string): string => {
  const url = parse(text)
  return url === undefined ? text : url.href
}

const issuerOf = (text: string): string => urlOf(text).replace(/\/$/, "")

const parse = (text: string): URL | undefined => {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

const serverWords = (was: GrantIdentity, is: GrantIdentity): Pick<Mismatch, "stored" | "current"> => {
  const byIssuer =
    Option.isSome(was.issuer) && Option.isSome(is.issuer) && !Equal.equals(was.issuer, is.issuer)
  // Servers without a name do not differ.
  const name = ({ issuer, tokenEndpoint }: GrantIdentity): string =>
    Option.toArray(byIssuer ? issuer : Option.orElse(tokenEndpoint, () => issuer))
      .map(display)
      .join("")
  const stored = name(was)
  const current = name(is)
  return { stored, current: stored === current ? `${current} (with another query)` : current }
}

/** Without user info and query, which may hold secrets. */
const display = (text: string): string => {
  const url = parse(text)
  return shown(
    url === undefined
      ? text
      : `${url.protocol}//${url.host}${url.pathname === "/" && !text.endsWith("/") ? "" : url.pathname}`
  )
}

/** Only known values count. An unknown one does not differ. */
const words = (text: Option.Option<string>): string => Option.toArray(text).map(shown).join("")

const grantWords = (grantType: string): string =>
  grantType === userGrant ? "a user's grant" : `the client's own (${shown(grantType)})`

const longestShown = 200

/** Truncated. Escapes characters that a terminal might obey or hide. */
const shown = (text: string): string => {
  const cut = text.length > longestShown ? `${text.slice(0, longestShown)}…` : text
  return cut.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`)
}

/**
 * How the stored grant differs from those that a client with `current` may use, if it does. See
 * {@link compare}.
 */
export const mismatch = (
  entry: Entry.Entry,
  current: GrantIdentity,
  formerly: ReadonlyArray<string> = []
): Option.Option<Mismatch> =>
  compare(
    { identity: entry.identity, hasRefreshToken: Option.isSome(entry.credentials.refreshToken) },
    current,
    formerly
  )

/**
 * How the stored grant differs from a login that would replace it: another identity, or another account. None
 * if that is unknown.
 */
export const mismatchOfLogin = (
  stored: Entry.Entry,
  login: Credentials.Credentials,
  identity: Option.Option<GrantIdentity>,
  formerly: ReadonlyArray<string> = []
): Option.Option<Mismatch> =>
  Option.orElse(
    Option.flatMap(identity, (current) => mismatch(stored, current, formerly)),
    () => compareAccounts(stored.credentials.accountId, login.accountId)
  )
