/**
 * Where a protected MCP server says which authorization servers it trusts (RFC 9728), and what to make of it. Pure: the
 * requests are sent elsewhere.
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
 * What the metadata of a protected resource says (RFC 9728 §2), as far as a client needs it.
 *
 * - `resource`: as the document writes it; it goes into every `resource` parameter (RFC 8707).
 * - `issuers`: its authorization servers, in its order. Empty where it names none.
 * - `scopes`: `scopes_supported`, where it is there.
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
 * What a 401 or 403 of an MCP server says to a client (RFC 6750 §3, RFC 9728 §5.1).
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
 * No challenge at all: a server that answers 401 without a word.
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
 * The challenge in a `WWW-Authenticate` header. Of several for a token, each parameter's first value counts.
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

/** Scopes as RFC 6749 §3.3 writes them; what is none is left out. */
const words = (text: string): ReadonlyArray<string> => [
  ...new Set(text.split(/\s+/).filter((word) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(word)))
]

/**
 * Where the metadata of the server may be, in the order in which to look: where the challenge says; else at the well-known
 * place of the server's path, then at that of its host (RFC 9728 §3.1).
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
 * Where an authorization server's metadata may be, in the order of the MCP specification.
 *
 * @since 0.1.0
 * @category constants
 */
export const places: ReadonlyArray<Server.Place> = ["oauth2", "oidcInserted", "oidc"]

/**
 * Whether a resource identifier covers a URL: the same origin, and the same path or one above it.
 *
 * @since 0.1.0
 * @category predicates
 */
export const covers = (resource: string, url: URL): boolean => {
  if (!URL.canParse(resource) || resource.includes("#")) return false
  const { origin, pathname, search, username } = new URL(resource)
  // `null` is the origin of everything that has none.
  if (origin === "null" || origin !== url.origin || username !== "") return false
  if (search !== "" && search !== url.search) return false
  const above = pathname.replace(/\/+$/, "")
  return url.pathname === above || url.pathname.startsWith(`${above}/`)
}

/**
 * The identifier of a server that has no metadata: its URL, without the slash after the host.
 *
 * @since 0.1.0
 * @category getters
 */
export const canonical = (serverUrl: URL): string =>
  serverUrl.pathname === "/" && serverUrl.search === "" ? serverUrl.origin : serverUrl.href

/**
 * Reads a metadata document of the server. What is wrong with it comes in words; then nothing in it may be used.
 *
 * Issuers that no request may go to are left out: see `Endpoint.checkDiscovered`.
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
      `is of the resource ${Endpoint.display(resource)}, which does not cover ${Endpoint.display(serverUrl)} (RFC 9728 §3.3)`
    )
  }
  if (issuers !== undefined && !isTexts(issuers))
    return Either.left("has authorization_servers that are no list")
  const usable = (issuers ?? []).filter(
    (issuer) =>
      // It is shown to people as it is.
      /^[\x21-\x7e]+$/.test(issuer) &&
      Either.isRight(Endpoint.checkDiscovered("issuer", issuer, serverUrl, options))
  )
  if (issuers !== undefined && issuers.length > 0 && usable.length === 0) {
    return Either.left(
      "names only authorization servers that nothing may be sent to: each must be https, and public unless the MCP server is in the same network"
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
 * What a server without metadata is taken for, by the first edition of the specification (2025-03-26): it is its own
 * authorization server.
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
 * The authorization server to log in at: the one that issued the stored grant, if it is still listed; else the preferred
 * one, if it is listed; else the first.
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
 * Whether the grant of this issuer may still be used at the resource. A resource that lists no issuer does not say.
 *
 * @since 0.1.0
 * @category predicates
 */
export const trusts = ({ issuers }: ProtectedResource, issuer: string): boolean =>
  issuers.length === 0 || issuers.includes(issuer)

/**
 * Why a login by code may not go to an authorization server, or none: the MCP specification wants it to say that it supports
 * PKCE (RFC 7636) with S256.
 *
 * @since 0.1.0
 * @category validation
 */
export const pkceProblem = (metadata: Server.Metadata): Option.Option<string> =>
  metadata.code_challenge_methods_supported?.includes("S256") === true
    ? Option.none()
    : Option.some(
        `${metadata.issuer} does not say that it supports PKCE with S256 (code_challenge_methods_supported), which MCP clients must have: nothing was sent. Set allowUnadvertisedPkce if you know that it does.`
      )
