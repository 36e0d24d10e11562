/**
 * As which client a login is made at an authorization server: pre-registered, by a client ID metadata document, or
 * registered on the spot (RFC 7591). Pure: the requests are sent elsewhere.
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
 * A client that was registered at one authorization server by hand.
 *
 * @since 0.1.0
 * @category models
 */
export interface PreRegistered extends ClientAuth.Client {
  /** The server that it is registered at: at another one the login fails. The first one that is met, unless given. */
  readonly issuer?: string | undefined
}

/**
 * Who the program is to authorization servers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A client that is registered already; it comes first. */
  readonly client?: PreRegistered | undefined
  /**
   * The https URL of the program's client ID metadata document, which is its client id at every server that supports
   * these; it comes second. The redirect URIs of the logins must be in the document.
   */
  readonly clientMetadataUrl?: string | undefined
  /** What users are shown where the program registers itself; `Latchkey` unless given. */
  readonly clientName?: string | undefined
  /** More fields of the registration (RFC 7591 §2), such as `logo_uri` or `software_id`. */
  readonly clientMetadata?: Readonly<Record<string, unknown>> | undefined
}

/**
 * How a client authenticates at the token endpoint, as far as a registration can say.
 *
 * @since 0.1.0
 * @category models
 */
export type Method = "none" | "client_secret_basic" | "client_secret_post"

/**
 * The client of a login, as it is stored beside the grant. `redirectUris` and `secretExpiresAt` (epoch milliseconds) are
 * those of a registration on the spot.
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
  readonly secretExpiresAt: Option.Option<number>
}> {}

/**
 * How to get a client at an authorization server. `Use`: there is one. `Register`: send `body` to `endpoint`. `Refuse`:
 * none can be had; `problem` says why, and what to do.
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
 * What is known when a client is needed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Known {
  readonly options: Options
  readonly metadata: Server.Metadata
  /** What earlier logins registered at this issuer. */
  readonly stored: Option.Option<Registered>
  /** Where the login's answer may come back to; empty for a login on another device. */
  readonly redirectUris: ReadonlyArray<string>
  readonly grantTypes: ReadonlyArray<string>
  readonly now: number
}

/**
 * Which client to use, by the priority of the MCP specification.
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
        ? `${metadata.issuer} registers no clients on the spot${options.clientMetadataUrl === undefined ? "" : " and takes no client ID metadata documents"}: register one there by hand, and set it as the client`
        : `${metadata.issuer} names a registration_endpoint that cannot be used: ${unusable}`
  })
}

const preRegistered = ({ auth, clientId, issuer }: PreRegistered, at: string): Plan =>
  issuer !== undefined && issuer !== at
    ? Refuse({
        problem: `The client is registered at ${issuer}, but the MCP server now trusts ${at}: register it there, and set the new client`
      })
    : Use({
        registered: new Registered({
          ...registered("PreRegistered", clientId),
          method: auth === undefined || auth._tag === "None" ? "none" : methodOf(auth)
        })
      })

/** What a record says of a client whose authentication is in the program's settings. */
const methodOf = (auth: ClientAuth.ClientAuth): Method =>
  auth._tag === "ClientSecretPost" ? "client_secret_post" : "client_secret_basic"

const registered = (way: Registered["way"], clientId: string): Registered =>
  new Registered({
    way,
    clientId,
    method: "none",
    secret: Option.none(),
    redirectUris: [],
    secretExpiresAt: Option.none()
  })

/**
 * What is wrong with the URL of a client ID metadata document, or none: it must be https and have a path.
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

/** A registration on the spot serves another login that comes back to the same place, while its secret lasts. */
const isUsable = (registration: Registered, { now, redirectUris }: Known): boolean =>
  registration.way === "Dynamic" &&
  redirectUris.every((uri) => registration.redirectUris.includes(uri)) &&
  !Option.exists(registration.secretExpiresAt, (at) => at <= now)

/** The fields of a registration request (RFC 7591 §2); no scopes, which would bound those of later step-ups. */
const request = (known: Known): Readonly<Record<string, unknown>> => {
  const { grantTypes, options, redirectUris } = known
  return {
    client_name: options.clientName ?? "Latchkey",
    ...options.clientMetadata,
    ...(redirectUris.length > 0 && { redirect_uris: redirectUris }),
    grant_types: grantTypes,
    response_types: redirectUris.length > 0 ? ["code"] : [],
    token_endpoint_auth_method: preferredMethod(known.metadata),
    // OpenID Connect Registration §2: without it a server takes the program for a web site, and refuses loopback.
    application_type: redirectUris.every(isNative) ? "native" : "web"
  }
}

/** RFC 8252 §7: a private-use scheme, or a loopback address. */
const isNative = (uri: string): boolean => {
  const url = new URL(uri)
  return (url.protocol !== "https:" && url.protocol !== "http:") || Endpoint.isLoopback(url)
}

const methods: ReadonlyArray<Method> = ["none", "client_secret_basic", "client_secret_post"]

/** A program on a user's machine keeps no secret, so that it asks for none where it may (RFC 8252 §8.4). */
const preferredMethod = ({ token_endpoint_auth_methods_supported: supported }: Server.Metadata): Method =>
  methods.find((method) => supported === undefined || supported.includes(method)) ?? "none"

/**
 * The client in the answer to a registration (RFC 7591 §3.2.1), or what is wrong with it in words.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromResponse = (
  response: Readonly<Record<string, unknown>>,
  asked: { readonly redirectUris: ReadonlyArray<string>; readonly metadata: Server.Metadata }
): Either.Either<Registered, string> => {
  const { client_id: clientId, client_secret: secret, client_secret_expires_at: expires } = response
  if (typeof clientId !== "string" || clientId === "") return Either.left("has no client_id")
  if (secret !== undefined && secret !== null && typeof secret !== "string") {
    return Either.left("has a client_secret that is no string")
  }
  const hasSecret = typeof secret === "string" && secret !== ""
  const method = methodIn(response, hasSecret, asked.metadata)
  if (method === undefined) {
    return Either.left(
      "gives the client a way to authenticate that is not supported here: none, client_secret_basic and client_secret_post are"
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
      // RFC 7591 §3.2.1: seconds, and 0 for never.
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
  const told = response["token_endpoint_auth_method"]
  if (typeof told === "string" && told !== "") return methods.find((method) => method === told)
  if (!hasSecret) return "none"
  return supported === undefined || supported.includes("client_secret_basic")
    ? "client_secret_basic"
    : "client_secret_post"
}

/**
 * The client as requests name it. Its secret comes from the registration or, for a pre-registered one, from the program's
 * settings.
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
 * Whether a server that answers with this code has forgotten the client, so that a new registration helps: only one on the
 * spot can be made again.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isForgotten = ({ way }: Registered, oauthError: string | undefined): boolean =>
  way === "Dynamic" && (oauthError === "invalid_client" || oauthError === "unauthorized_client")
