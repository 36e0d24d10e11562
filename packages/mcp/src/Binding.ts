/**
 * What a login at an MCP server keeps beside its tokens, in the same record: the server that they are for, the
 * authorization server that issued them, and the client that they were issued to. Pure.
 *
 * It lies in the credentials' `extras`, so that every storage, wrapper and lease serves it unchanged. It holds the secret of
 * a client that was registered on the spot.
 *
 * @since 0.1.0
 */
import { Credentials } from "@latchkey/core/Credentials"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Registered } from "./Registration.js"

/**
 * The origin of a grant for an MCP server.
 *
 * - `serverUrl`: the server. `resource`: its identifier, as it goes into requests (RFC 8707).
 * - `issuer`: the authorization server. `endpoints`: where it has no metadata, what stands in for them.
 * - `requested`: the scopes that the login asked for.
 * - `registrations`: the clients by issuer, that of the grant among them.
 *
 * @since 0.1.0
 * @category models
 */
export class Binding extends Data.Class<{
  readonly serverUrl: string
  readonly resource: string
  readonly issuer: string
  readonly hasMetadata: boolean
  readonly requested: ReadonlyArray<string>
  readonly registrations: Readonly<Record<string, Registered>>
}> {}

const field = "latchkey_mcp"

const option = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { as: "Option" })

const Json = Schema.Struct({
  serverUrl: Schema.NonEmptyString,
  resource: Schema.NonEmptyString,
  issuer: Schema.NonEmptyString,
  hasMetadata: Schema.optionalWith(Schema.Boolean, { default: () => true }),
  requested: Schema.Array(Schema.String),
  registrations: Schema.Array(
    Schema.Struct({
      issuer: Schema.NonEmptyString,
      way: Schema.Literal("PreRegistered", "Document", "Dynamic"),
      clientId: Schema.NonEmptyString,
      method: Schema.Literal("none", "client_secret_basic", "client_secret_post"),
      secret: option(Schema.Redacted(Schema.NonEmptyString)),
      redirectUris: Schema.Array(Schema.String),
      secretExpiresAt: option(Schema.Number)
    })
  )
})

const decode = Schema.decodeUnknownOption(Json)
const encode = Schema.encodeSync(Json)

/** More authorization servers than an MCP server moves between; the oldest are dropped. */
const mostRegistrations = 8

/**
 * The binding of a grant; none where it is no grant for an MCP server.
 *
 * @since 0.1.0
 * @category getters
 */
export const of = (credentials: Credentials): Option.Option<Binding> => {
  const extras = Redacted.value(credentials.extras)
  const known = bindings.get(extras)
  if (known !== undefined) return known
  const binding = Option.map(
    decode(Object.hasOwn(extras, field) ? extras[field] : undefined),
    ({ registrations, ...rest }) =>
      new Binding({
        ...rest,
        registrations: Object.fromEntries(
          registrations.map(({ issuer, ...registration }) => [issuer, new Registered(registration)])
        )
      })
  )
  bindings.set(extras, binding)
  return binding
}

/** It is asked for again and again of credentials that do not change. */
const bindings = new WeakMap<object, Option.Option<Binding>>()

/**
 * The credentials with this binding. A server's field of the same name is replaced: no server chooses where its grant is
 * sent.
 *
 * @since 0.1.0
 * @category combinators
 */
export const attach = (credentials: Credentials, binding: Binding): Credentials => {
  const registrations = Object.entries(binding.registrations).slice(-mostRegistrations)
  const kept = new Binding({ ...binding, registrations: Object.fromEntries(registrations) })
  const json = encode({
    ...kept,
    registrations: registrations.map(([issuer, registration]) => ({ issuer, ...registration }))
  })
  const extras = { ...Redacted.value(credentials.extras), [field]: json }
  bindings.set(extras, Option.some(kept))
  return new Credentials({ ...credentials, extras: Redacted.make(extras) })
}

/**
 * The registrations with one more, which comes last: the last are kept.
 *
 * @since 0.1.0
 * @category combinators
 */
export const register = (
  registrations: Binding["registrations"],
  issuer: string,
  registration: Registered
): Binding["registrations"] => {
  const { [issuer]: _, ...others } = registrations
  return { ...others, [issuer]: registration }
}

/**
 * The client that the grant was issued to.
 *
 * @since 0.1.0
 * @category getters
 */
export const client = ({ issuer, registrations }: Binding): Option.Option<Registered> =>
  Object.hasOwn(registrations, issuer) ? Option.fromNullable(registrations[issuer]) : Option.none()

/**
 * The identity that the grant names itself; see `TokenRefresher`.
 *
 * @since 0.1.0
 * @category getters
 */
export const identity = (credentials: Credentials): Option.Option<GrantIdentity.GrantIdentity> =>
  Option.map(of(credentials), (binding) =>
    GrantIdentity.make({
      issuer: binding.issuer,
      clientId: Option.getOrUndefined(Option.map(client(binding), ({ clientId }) => clientId))
    })
  )
