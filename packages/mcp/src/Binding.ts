/**
 * The origin of a grant for an MCP server: the MCP server, the authorization server that issued the grant, and the
 * client that received it. Pure.
 *
 * It is stored in the credentials' `extras`, in the same record as the tokens, so it works with every storage. It
 * contains the secret of a dynamically registered client.
 *
 * @since 0.1.0
 */
import { Credentials } from "@latchkey/core/Credentials"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import * as Data from "effect/Data"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Registered } from "./Registration.js"

/**
 * The origin of a grant for an MCP server.
 *
 * - `serverUrl`: the MCP server.
 * - `resource`: its identifier, for the `resource` parameter of requests (RFC 8707).
 * - `issuer`: the authorization server.
 * - `hasMetadata`: whether the authorization server publishes its metadata. If not, it has default endpoints.
 * - `requested`: the scopes that the login requested.
 * - `registrations`: the clients by issuer, including the client of the grant.
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
      grantTypes: Schema.Array(Schema.String),
      secretExpiresAt: option(Schema.Number)
    })
  )
})

const decode = Schema.decodeUnknownOption(Json)
const encode = Schema.encodeSync(Json)

/** An MCP server rarely moves between more authorization servers. The oldest registrations are dropped. */
const mostRegistrations = 8

/**
 * Returns the binding of a grant. None if the grant is not for an MCP server.
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

/** A cache, because the same credentials are read for every request. */
const bindings = new WeakMap<object, Option.Option<Binding>>()

/**
 * Adds a binding to credentials. It replaces a field of the same name in the server's response, so that no server can
 * choose where its grant is sent.
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
 * Adds a registration at the end. {@link attach} keeps the last ones.
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
 * Returns the client that received the grant.
 *
 * @since 0.1.0
 * @category getters
 */
export const client = ({ issuer, registrations }: Binding): Option.Option<Registered> =>
  Object.hasOwn(registrations, issuer) ? Option.fromNullable(registrations[issuer]) : Option.none()

/**
 * Whether the grants of two bindings are refreshed in the same way: at the same server, by the same client.
 *
 * @since 0.1.0
 * @category predicates
 */
export const hasSameClient = (a: Binding, b: Binding): boolean =>
  a.issuer === b.issuer &&
  a.hasMetadata === b.hasMetadata &&
  a.resource === b.resource &&
  Equal.equals(Option.map(client(a), authentication), Option.map(client(b), authentication))

/** Compared by value. */
class Authentication extends Data.Class<Pick<Registered, "clientId" | "method" | "secret">> {}

const authentication = ({ clientId, method, secret }: Registered) =>
  new Authentication({ clientId, method, secret })

/**
 * Returns the identity of the grant, from the grant itself; see `identityIn` of `TokenRefresher`.
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
