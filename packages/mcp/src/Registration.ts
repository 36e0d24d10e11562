/**
 * Decides which client a login uses: a pre-registered one, a client ID metadata document, or a dynamic registration
 * (RFC 7591). Pure: it sends no requests.
 *
 * @since 0.1.0
 */
import * as ClientAuth from "@latchkey/oauth/ClientAuth"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type * as Server from "@latchkey/oauth/Server"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/**
 * A client that you registered at an authorization server.
 *
 * @since 0.1.0
 * @category models
 */
export interface PreRegistered extends ClientAuth.Client {
  /** The issuer that it is registered at. A login at another one fails. Default: any issuer. */
  readonly issuer?: string | undefined
}

/**
 * How the program identifies itself to authorization servers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A client that you registered. First choice. */
  readonly client?: PreRegistered | undefined
  /**
   * The https URL of the program's client ID metadata document, which is its client ID at every server that supports
   * such documents. Second choice. The document must contain the redirect URIs of the logins.
   */
  readonly clientMetadataUrl?: string | undefined
  /** The name that users see after a dynamic registration. Default: `Latchkey`. */
  readonly clientName?: string | undefined
  /** Further fields of a dynamic registration (RFC 7591 §2), such as `logo_uri` or `software_id`. */
  readonly clientMetadata?: Readonly<Record<string, unknown>> | undefined
}

/**
 * How a registered client authenticates at the token endpoint.
 *
 * @since 0.1.0
 * @category models
 */
export type Method = "none" | "client_secret_basic" | "client_secret_post"

/**
 * The client of a login, as stored with the grant. Only a dynamic registration has `redirectUris`, `grantTypes` and
 * `secretExpiresAt` (epoch milliseconds).
 *
 * @since 0.1.0
 * @category models
 */
export class Registered extends Data.Class<{
  readonly way: "PreRegistered" | "Document" | "Dynamic"
  readonly clientId: string
  readonly method: Method
  readonly secret: Option.Option<Redacted.Redacted>
  readonly redirectUris: ReadonlyArray<string>
  readonly grantTypes: ReadonlyArray<string>
  readonly secretExpiresAt: Option.Option<number>
}> {}

/**
 * How to get a client at an authorization server. `Use`: use this one. `Register`: send `body` to `endpoint`. `Refuse`:
 * there is no way; `problem` says why, and what to do.
 *
 * @since 0.1.0
 * @category models
 */
export type Plan = Data.TaggedEnum<{
  Use: { readonly registered: Registered }
  Register: { readonly endpoint: string; readonly body: Readonly<Record<string, unknown>> }
  Refuse: { readonly problem: string }
}>

const { Refuse, Register, Use } = Data.taggedEnum<Plan>()

/**
 * The input of {@link plan}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Known {
  readonly options: Options
  readonly metadata: Server.Metadata
  /** The client that an earlier login registered at this issuer. */
  readonly stored: Option.Option<Registered>
  /** The redirect URIs of the login. Empty for a login on another device. */
  readonly redirectUris: ReadonlyArray<string>
  readonly grantTypes: ReadonlyArray<string>
  readonly now: number
}

/**
 * Chooses a client, with the priorities of the MCP specification.
 *
 * @since 0.1.0
 * @category constructors
 */
export const plan = (known: Known): Plan => {
  const { metadata, options, stored } = known
  if (options.client !== undefined) return preRegistered(options.client, metadata.issuer)
  if (options.clientMetadataUrl !== undefined) {
    const problem = documentUrlProblem(options.clientMetadataUrl)
    if (Option.isSome(problem)) return Refuse({ problem: problem.value })
    if (metadata.client_id_metadata_document_supported === true) {
      return Use({ registered: registered("Document", options.clientMetadataUrl) })
    }
  }
  const usable = Option.filter(stored, (registration) => isUsable(registration, known))
  if (Option.isSome(usable)) return Use({ registered: usable.value })
  const endpoint = metadata.registration_endpoint
  if (typeof endpoint === "string") return Register({ endpoint, body: request(known) })
  const unusable = metadata.unusable_fields?.["registration_endpoint"]
  return Refuse({
    problem:
      unusable === undefined
        ? `${metadata.issuer} does not support dynamic registration${options.clientMetadataUrl === undefined ? "" : " or client ID metadata documents"}: register a client there, and set it as \`client\``
        : `${metadata.issuer} has a registration_endpoint that cannot be used: ${unusable}`
  })
}

const preRegistered = ({ auth, clientId, issuer }: PreRegistered, at: string): Plan =>
  issuer !== undefined && issuer !== at
    ? Refuse({
        problem: `The client is registered at ${issuer}, but the MCP server now trusts ${at}: register a client there, and set it as \`client\``
      })
    : Use({
        registered: new Registered({
          ...registered("PreRegistered", clientId),
          method: auth === undefined || auth._tag === "None" ? "none" : methodOf(auth)
        })
      })

/** The stored method of a client whose authentication is in the program's settings. */
const methodOf = (auth: ClientAuth.ClientAuth): Method =>
  auth._tag === "ClientSecretPost" ? "client_secret_post" : "client_secret_basic"

const registered = (way: Registered["way"], clientId: string): Registered =>
  new Registered({
    way,
    clientId,
    method: "none",
    secret: Option.none(),
    redirectUris: [],
    grantTypes: [],
    secretExpiresAt: Option.none()
  })

/**
 * Returns the problem with the URL of a client ID metadata document: it must use https and have a path.
 *
 * @since 0.1.0
 * @category validation
 */
export const documentUrlProblem = (url: string): Option.Option<string> => {
  const checked = Endpoint.check("clientMetadataUrl", url)
  if (Either.isLeft(checked)) return Option.some(checked.left.message)
  return checked.right.protocol === "https:" && checked.right.pathname !== "/"
    ? Option.none()
    : Option.some("clientMetadataUrl must be an https URL with a path")
}

/** A dynamic registration can be reused for the same redirect URIs and grant types, until its secret expires. */
const isUsable = (registration: Registered, { grantTypes, now, redirectUris }: Known): boolean =>
  registration.way === "Dynamic" &&
  redirectUris.every((uri) => registration.redirectUris.includes(uri)) &&
  grantTypes.every((type) => registration.grantTypes.includes(type)) &&
  !Option.exists(registration.secretExpiresAt, (at) => at <= now)

/** The fields of a registration request (RFC 7591 §2). Without scopes, which would limit later step-ups. */
const request = (known: Known): Readonly<Record<string, unknown>> => {
  const { grantTypes, options, redirectUris } = known
  return {
    client_name: options.clientName ?? "Latchkey",
    ...options.clientMetadata,
    ...(redirectUris.length > 0 && { redirect_uris: redirectUris }),
    grant_types: grantTypes,
    response_types: redirectUris.length > 0 ? ["code"] : [],
    token_endpoint_auth_method: preferredMethod(known.metadata),
    // OpenID Connect Registration §2: the default is a web site, for which servers refuse loopback addresses.
    application_type: redirectUris.every(isNative) ? "native" : "web"
  }
}

/** A private-use scheme or a loopback address (RFC 8252 §7). */
const isNative = (uri: string): boolean => {
  const url = new URL(uri)
  return (url.protocol !== "https:" && url.protocol !== "http:") || Endpoint.isLoopback(url)
}

const methods: ReadonlyArray<Method> = ["none", "client_secret_basic", "client_secret_post"]

/** A program on a user's machine cannot keep a secret, so it prefers to have none (RFC 8252 §8.4). */
const preferredMethod = ({ token_endpoint_auth_methods_supported: supported }: Server.Metadata): Method =>
  methods.find((method) => supported === undefined || supported.includes(method)) ?? "none"

/**
 * Reads the response to a registration (RFC 7591 §3.2.1). Returns the problem in words if it cannot be used.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromResponse = (
  response: Readonly<Record<string, unknown>>,
  asked: Pick<Known, "grantTypes" | "metadata" | "redirectUris">
): Either.Either<Registered, string> => {
  const { client_id: clientId, client_secret: secret, client_secret_expires_at: expires } = response
  if (typeof clientId !== "string" || clientId === "") return Either.left("has no client_id")
  if (secret !== undefined && secret !== null && typeof secret !== "string") {
    return Either.left("has a client_secret that is not a string")
  }
  const hasSecret = typeof secret === "string" && secret !== ""
  const method = methodIn(response, hasSecret, asked.metadata)
  if (method === undefined) {
    return Either.left(
      "assigns the client an unsupported token_endpoint_auth_method: none, client_secret_basic and client_secret_post are supported"
    )
  }
  if (method !== "none" && !hasSecret) return Either.left(`has no client_secret for ${method}`)
  return Either.right(
    new Registered({
      way: "Dynamic",
      clientId,
      method,
      secret: hasSecret && method !== "none" ? Option.some(Redacted.make(secret)) : Option.none(),
      redirectUris: asked.redirectUris,
      grantTypes: asked.grantTypes,
      // RFC 7591 §3.2.1: in seconds; 0 means never.
      secretExpiresAt:
        typeof expires === "number" && expires > 0 && hasSecret ? Option.some(expires * 1000) : Option.none()
    })
  )
}

const methodIn = (
  response: Readonly<Record<string, unknown>>,
  hasSecret: boolean,
  { token_endpoint_auth_methods_supported: supported }: Server.Metadata
): Method | undefined => {
  const assigned = response["token_endpoint_auth_method"]
  if (typeof assigned === "string" && assigned !== "") return methods.find((method) => method === assigned)
  if (!hasSecret) return "none"
  return supported === undefined || supported.includes("client_secret_basic")
    ? "client_secret_basic"
    : "client_secret_post"
}

/**
 * Returns the client for requests. Its secret comes from the registration or, for a pre-registered client, from the
 * program's settings.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toClient = (registration: Registered, options: Options): ClientAuth.Client => {
  const { clientId, method, secret } = registration
  if (registration.way === "PreRegistered" && options.client?.clientId === clientId) {
    return { clientId, auth: options.client.auth }
  }
  const auth = Option.map(secret, method === "client_secret_post" ? ClientAuth.post : ClientAuth.basic)
  return { clientId, auth: Option.getOrElse(auth, () => ClientAuth.none) }
}

/**
 * Whether this error code means that the server has forgotten the client and a new registration helps. Only a dynamic
 * registration can be repeated.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isForgotten = ({ way }: Registered, oauthError: string | undefined): boolean =>
  way === "Dynamic" && (oauthError === "invalid_client" || oauthError === "unauthorized_client")
