/**
 * The identity of a grant: the authorization server that issued it, the client that it was issued to, and
 * whether it is a user's or the client's own. A grant is never sent to another server, nor by another client
 * (RFC 6749 §10.4), and its tokens are never served for another identity.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"

/**
 * The origin of a grant, as far as it is known. Unknown fields are not compared.
 *
 * - `issuer`: the issuer identifier (RFC 8414 §2). `tokenEndpoint`: where the grant is sent, if it was set by
 *   hand; a discovered endpoint is the issuer's own affair.
 * - `clientId`: RFC 6749 §2.2.
 * - `grantType`: `refresh_token` for what a user granted, or else the grant type (RFC 6749 §4.5) by which a
 *   client gets tokens without a user: `client_credentials`, an assertion, an exchange.
 * - `subject`: for whom a client asks in an assertion of its own (RFC 7523 §3).
 *
 * @since 0.1.0
 * @category models
 */
export class GrantIdentity extends Data.Class<{
  readonly issuer: Option.Option<string>
  readonly tokenEndpoint: Option.Option<string>
  readonly clientId: Option.Option<string>
  readonly grantType: string
  readonly subject: Option.Option<string>
}> {}

/**
 * The grant type of a user's grant, whichever way the user logged in.
 *
 * @since 0.1.0
 * @category constants
 */
export const userGrant = "refresh_token"

/**
 * An identity from plain values; a field that is left out or empty is unknown. `grantType` is {@link userGrant} by
 * default.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (fields: {
  readonly issuer?: string | undefined
  readonly tokenEndpoint?: string | undefined
  readonly clientId?: string | undefined
  readonly grantType?: string | undefined
  readonly subject?: string | undefined
}): GrantIdentity =>
  share(
    new GrantIdentity({
      issuer: known(fields.issuer),
      tokenEndpoint: known(fields.tokenEndpoint),
      clientId: known(fields.clientId),
      grantType: Option.getOrElse(known(fields.grantType), () => userGrant),
      subject: known(fields.subject)
    })
  )

const known = (text: string | undefined): Option.Option<string> =>
  Option.filter(Option.fromNullable(text), (value) => value !== "")

/**
 * The same identity with another client.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withClientId = (identity: GrantIdentity, clientId: string): GrantIdentity =>
  share(new GrantIdentity({ ...identity, clientId: known(clientId) }))

/** A program has a handful of identities, and a pool has an entry with one for each of its accounts. */
const shared = new Map<string, GrantIdentity>()

/**
 * The same identity, as one object for all entries that have it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const share = (identity: GrantIdentity): GrantIdentity => {
  const { clientId, grantType, issuer, subject, tokenEndpoint } = identity
  const key = JSON.stringify([...[issuer, tokenEndpoint, clientId, subject].map(Option.getOrNull), grantType])
  const found = shared.get(key)
  if (found === undefined && shared.size < 1000) shared.set(key, identity)
  return found ?? identity
}

/**
 * How a stored grant differs from the one that is requested, or saved. `Server`: another issuer or token
 * endpoint. `Client`: another client id. `GrantType`: a user's grant on one side, the client's own on the other.
 * `Account`: another user's, or another subject's.
 *
 * @since 0.1.0
 * @category models
 */
export type Difference = "Server" | "Client" | "GrantType" | "Account"

/**
 * A difference, and each side of it in words for people: cut, escaped, without queries.
 *
 * @since 0.1.0
 * @category models
 */
export class Mismatch extends Data.Class<{
  readonly difference: Difference
  readonly stored: string
  readonly current: string
}> {}

/**
 * A stored grant: its identity, where it was written with one, and whether it has a refresh token, which only a user's grant
 * is sure to have.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  readonly identity: Option.Option<GrantIdentity>
  readonly hasRefreshToken: boolean
}

/**
 * How a stored grant differs from those that a client may use, or none. `formerly` names issuers and token endpoints that
 * the client's server had before: a grant from there counts as one from the server.
 *
 * The token endpoint identifies a server where it was set by hand, else the issuer. URLs are compared as URLs
 * (RFC 3986 §6.2.2, §6.2.3). A slash at the end makes no difference in an issuer, but does in an endpoint. Where only one
 * side names a token endpoint, both must have the same issuer, and an endpoint that the stored grant does not name must be
 * below that issuer's URL.
 *
 * A grant that was stored without an identity passes, unless it has a refresh token and the client uses none.
 *
 * @since 0.1.0
 * @category comparisons
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

/**
 * Whether a login is another account's than the stored grant; none where either is not known.
 *
 * @since 0.1.0
 * @category comparisons
 */
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
  // The stored grant names no endpoint: the one that was set must look like this issuer's.
  return Option.match(is.tokenEndpoint, {
    onNone: () => true,
    onSome: (endpoint) => Option.exists(was.issuer, (issuer) => isBelow(endpoint, issuer))
  })
}

const isNameless = ({ issuer, tokenEndpoint }: GrantIdentity): boolean =>
  Option.isNone(issuer) && Option.isNone(tokenEndpoint)

const isBelow = (endpoint: string, issuer: string): boolean =>
  urlOf(endpoint).startsWith(`${issuerOf(issuer)}/`)

/** The URL in its normal form, or the text where it is none. */
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
  const name = (identity: GrantIdentity): string =>
    Option.match(byIssuer ? identity.issuer : Option.orElse(identity.tokenEndpoint, () => identity.issuer), {
      onNone: () => "a server without a name",
      onSome: display
    })
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

const words = (text: Option.Option<string>): string =>
  Option.match(text, { onNone: () => "unknown", onSome: shown })

const grantWords = (grantType: string): string =>
  grantType === userGrant ? "a user's grant" : `the client's own (${shown(grantType)})`

const longestShown = 200

/** Cut, with characters escaped that a terminal might obey or hide. */
const shown = (text: string): string => {
  const cut = text.length > longestShown ? `${text.slice(0, longestShown)}…` : text
  return cut.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`)
}

/**
 * A grant's origin in a few words for people; none of it is secret.
 *
 * @since 0.1.0
 * @category getters
 */
export const describe = (identity: GrantIdentity): string => {
  const server = Option.match(
    Option.orElse(identity.issuer, () => identity.tokenEndpoint),
    { onNone: () => "a server without a name", onSome: display }
  )
  const client = Option.match(identity.clientId, {
    onNone: () => "",
    onSome: (clientId) => `, client ${shown(clientId)}`
  })
  return `${grantWords(identity.grantType)} at ${server}${client}`
}

/**
 * A mismatch in a sentence that names both sides.
 *
 * @since 0.1.0
 * @category getters
 */
export const describeMismatch = ({ current, difference, stored }: Mismatch): string => {
  switch (difference) {
    case "Server":
      return `The stored grant was obtained from ${stored}, not from ${current}`
    case "Client":
      return `The stored grant was obtained by the client ${stored}, not by ${current}`
    case "GrantType":
      return `The stored grant is ${stored}, where ${current} is asked for`
    case "Account":
      return `The stored grant is that of ${stored}, not of ${current}`
  }
}
