/**
 * The identity of a grant: the authorization server that issued it, the client that it was issued to, and
 * whether it belongs to a user or to the client itself. A grant is never sent to another server or by another
 * client (RFC 6749 §10.4), and its tokens are never served for another identity.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"

/**
 * The origin of a grant, as far as it is known. Unknown fields are not compared.
 *
 * - `issuer`: the issuer identifier (RFC 8414 §2).
 * - `tokenEndpoint`: where the grant is sent, if it was configured by hand. A discovered endpoint belongs to
 *   the issuer and is left out.
 * - `clientId`: RFC 6749 §2.2.
 * - `grantType`: `refresh_token` for a user's grant. Otherwise the grant type (RFC 6749 §4.5) by which a
 *   client gets tokens without a user: `client_credentials`, an assertion, an exchange.
 * - `subject`: the subject that a client names in an assertion of its own (RFC 7523 §3).
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
 * The grant type of a user's grant, however the user logged in.
 *
 * @since 0.1.0
 * @category constants
 */
export const userGrant = "refresh_token"

/**
 * Creates an identity from plain values. A field that is left out or empty is unknown. `grantType` defaults
 * to {@link userGrant}.
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
 * Returns the same identity with another client.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withClientId = (identity: GrantIdentity, clientId: string): GrantIdentity =>
  share(new GrantIdentity({ ...identity, clientId: known(clientId) }))

/** A program has few identities, and a pool has an entry with one for each of its accounts. */
const shared = new Map<string, GrantIdentity>()

/**
 * Returns the same identity as one object that all entries share.
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
 * How a stored grant differs from the one that is requested or saved.
 *
 * - `Server`: another issuer or token endpoint.
 * - `Client`: another client ID.
 * - `GrantType`: one is a user's grant, the other the client's own.
 * - `Account`: another user, or another subject.
 *
 * @since 0.1.0
 * @category models
 */
export type Difference = "Server" | "Client" | "GrantType" | "Account"

/**
 * A difference, with each side described for people: truncated, escaped, without queries.
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
 * Describes a mismatch in a sentence that names both sides.
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
      return `The stored grant is ${stored}, but the settings ask for ${current}`
    case "Account":
      return `The stored grant belongs to ${stored}, not to ${current}`
  }
}
