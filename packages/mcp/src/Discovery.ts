/**
 * Finds the authorization servers of a protected MCP server (RFC 9728). Pure: it sends no requests.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Challenge from "@latchkey/oauth/Challenge"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type * as Server from "@latchkey/oauth/Server"

/**
 * The metadata of a protected resource (RFC 9728 §2), as far as a client needs it.
 *
 * - `resource`: the identifier as the document has it, for every `resource` parameter (RFC 8707).
 * - `issuers`: the authorization servers, in the order of the document. May be empty.
 * - `scopes`: `scopes_supported`, if present.
 *
 * @since 0.1.0
 * @category models
 */
export class ProtectedResource extends Data.Class<{
  readonly resource: string
  readonly issuers: ReadonlyArray<string>
  readonly scopes: Option.Option<ReadonlyArray<string>>
}> {}

/**
 * The challenge in a 401 or 403 of an MCP server (RFC 6750 §3, RFC 9728 §5.1).
 *
 * @since 0.1.0
 * @category models
 */
export class ServerChallenge extends Data.Class<{
  readonly resourceMetadata: Option.Option<string>
  readonly scopes: Option.Option<ReadonlyArray<string>>
  readonly error: Option.Option<string>
}> {}

/**
 * The challenge of a 401 without `WWW-Authenticate`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const noChallenge = new ServerChallenge({
  resourceMetadata: Option.none(),
  scopes: Option.none(),
  error: Option.none()
})

/**
 * Reads a `WWW-Authenticate` header. If it has several challenges for tokens, the first value of each parameter counts.
 *
 * @since 0.1.0
 * @category constructors
 */
export const challenge = (header: string | undefined): ServerChallenge => {
  const challenges = Challenge.forTokens(header)
  const parameter = (name: string) =>
    Option.fromNullable(
      challenges
        .map(({ parameters }) => parameters.get(name))
        .find((value) => value !== undefined && value !== "")
    )
  return new ServerChallenge({
    resourceMetadata: parameter("resource_metadata"),
    scopes: Option.filter(Option.map(parameter("scope"), words), (scopes) => scopes.length > 0),
    error: parameter("error")
  })
}

/** Splits a list of scopes (RFC 6749 §3.3). Drops words that are not scopes. */
const words = (text: string): ReadonlyArray<string> => [
  ...new Set(text.split(/\s+/).filter((word) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(word)))
]

/**
 * Returns the URLs to try for the metadata of the server, in order: the one in the challenge, or else the well-known
 * URL of the server's path and then of its host (RFC 9728 §3.1).
 *
 * @since 0.1.0
 * @category getters
 */
export const metadataUrls = (serverUrl: URL, challenged: Option.Option<string>): ReadonlyArray<string> => {
  if (Option.isSome(challenged)) return [challenged.value]
  const path = serverUrl.pathname.replace(/\/+$/, "")
  const at = (rest: string) => `${serverUrl.origin}/.well-known/oauth-protected-resource${rest}`
  return [...new Set([at(path + serverUrl.search), at("")])]
}

/**
 * The places of an authorization server's metadata, in the order of the MCP specification.
 *
 * @since 0.1.0
 * @category constants
 */
export const places: ReadonlyArray<Server.Place> = ["oauth2", "oidcInserted", "oidc"]

/**
 * Whether a resource identifier covers a URL: it has the same origin, and the same path or a parent of it.
 *
 * @since 0.1.0
 * @category predicates
 */
export const covers = (resource: string, url: URL): boolean => {
  if (!URL.canParse(resource) || resource.includes("#")) return false
  const { origin, pathname, search, username } = new URL(resource)
  // URLs without an origin all have the origin `null`.
  if (origin === "null" || origin !== url.origin || username !== "") return false
  if (search !== "" && search !== url.search) return false
  const above = pathname.replace(/\/+$/, "")
  return url.pathname === above || url.pathname.startsWith(`${above}/`)
}

/**
 * Returns the identifier of a server without metadata: its URL, without a slash after the host.
 *
 * @since 0.1.0
 * @category getters
 */
export const canonical = (serverUrl: URL): string =>
  serverUrl.pathname === "/" && serverUrl.search === "" ? serverUrl.origin : serverUrl.href

/**
 * Reads a metadata document of the server. Returns the problem in words if the document must not be used.
 *
 * Drops issuers that no request may be sent to; see `Endpoint.checkDiscovered`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (
  document: Readonly<Record<string, unknown>>,
  serverUrl: URL,
  options: Endpoint.DiscoveredOptions = {}
): Either.Either<ProtectedResource, string> => {
  const { authorization_servers: issuers, resource, scopes_supported: scopes } = document
  if (typeof resource !== "string" || resource === "") return Either.left("names no resource (RFC 9728 §2)")
  if (!covers(resource, serverUrl)) {
    return Either.left(
      `is for the resource ${Endpoint.display(resource)}, which does not cover ${Endpoint.display(serverUrl)} (RFC 9728 §3.3)`
    )
  }
  if (issuers !== undefined && !isTexts(issuers))
    return Either.left("has authorization_servers that are not a list of strings")
  const usable = (issuers ?? []).filter(
    (issuer) =>
      // Messages show it unchanged.
      /^[\x21-\x7e]+$/.test(issuer) &&
      Either.isRight(Endpoint.checkDiscovered("issuer", issuer, serverUrl, options))
  )
  if (issuers !== undefined && issuers.length > 0 && usable.length === 0) {
    return Either.left(
      "names only authorization servers that no request may be sent to: each must use https, and be public unless the MCP server is in the same network"
    )
  }
  return Either.right(
    new ProtectedResource({
      resource,
      issuers: [...new Set(usable)],
      scopes: isTexts(scopes) && scopes.length > 0 ? Option.some(scopes.flatMap(words)) : Option.none()
    })
  )
}

const isTexts = (value: unknown): value is ReadonlyArray<string> =>
  Array.isArray(value) && value.every((each) => typeof each === "string")

/**
 * Returns the defaults for a server without metadata (MCP specification of 2025-03-26): it is its own authorization
 * server.
 *
 * @since 0.1.0
 * @category constructors
 */
export const withoutMetadata = (serverUrl: URL): ProtectedResource =>
  new ProtectedResource({
    resource: canonical(serverUrl),
    issuers: [serverUrl.origin],
    scopes: Option.none()
  })

/**
 * Selects the authorization server to log in at: the issuer of the stored grant if it is still listed, or else the
 * preferred one if it is listed, or else the first.
 *
 * @since 0.1.0
 * @category getters
 */
export const selectIssuer = (
  listed: ReadonlyArray<string>,
  stored: Option.Option<string>,
  preferred: Option.Option<string>
): Option.Option<string> =>
  Option.firstSomeOf([
    Option.filter(stored, (issuer) => listed.includes(issuer)),
    Option.filter(preferred, (issuer) => listed.includes(issuer)),
    Option.fromNullable(listed[0])
  ])

/**
 * Whether the resource still trusts this issuer. A resource that lists no issuers trusts all.
 *
 * @since 0.1.0
 * @category predicates
 */
export const trusts = ({ issuers }: ProtectedResource, issuer: string): boolean =>
  issuers.length === 0 || issuers.includes(issuer)

/**
 * Returns why a login with a code is not allowed at an authorization server: the MCP specification requires it to
 * advertise PKCE (RFC 7636) with S256.
 *
 * @since 0.1.0
 * @category validation
 */
export const pkceProblem = (metadata: Server.Metadata): Option.Option<string> =>
  metadata.code_challenge_methods_supported?.includes("S256") === true
    ? Option.none()
    : Option.some(
        `${metadata.issuer} does not advertise PKCE with S256 (code_challenge_methods_supported), which MCP clients require: nothing was sent. If you know that it supports PKCE, set allowUnadvertisedPkce.`
      )

/**
 * Returns why a login on another device (RFC 8628) is not possible at an authorization server.
 *
 * @since 0.1.0
 * @category validation
 */
export const deviceProblem = (metadata: Server.Metadata): Option.Option<string> =>
  metadata.device_authorization_endpoint === undefined
    ? Option.some(
        `${metadata.issuer} does not support logins on another device (device_authorization_endpoint): nothing was sent. Use another way to log in, such as Login.browser or Login.manual.`
      )
    : Option.none()
