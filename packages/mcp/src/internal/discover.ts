/** Sends the requests of discovery: for the metadata of the MCP server and of its authorization server. */
import * as Answer from "@latchkey/oauth/Answer"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type { OAuthError } from "@latchkey/oauth/OAuthError"
import * as Server from "@latchkey/oauth/Server"
import type * as Wire from "@latchkey/oauth/Wire"
import type { HttpClient } from "@effect/platform/HttpClient"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as oauth from "oauth4webapi"
import * as Discovery from "../Discovery.js"
import { McpError } from "../McpError.js"

export interface Settings extends Endpoint.DiscoveredOptions {
  readonly serverUrl: URL
  readonly wire: Wire.Wire
}

/** The metadata of the MCP server. `hasMetadata` is false if it has none, and defaults apply. */
export interface Found {
  readonly resource: Discovery.ProtectedResource
  readonly hasMetadata: boolean
}

export const problem = (serverUrl: URL, message: string): McpError =>
  new McpError({ reason: "Discovery", serverUrl: Endpoint.display(serverUrl), message })

/** Tries each place until one has a document. A server without one counts as its own authorization server. */
export const resource = (
  settings: Settings,
  challenged: Option.Option<string>
): Effect.Effect<Found, McpError | OAuthError> =>
  Effect.gen(function* () {
    const { serverUrl, wire, ...options } = settings
    for (const url of Discovery.metadataUrls(serverUrl, challenged)) {
      const checked = Endpoint.checkDiscovered("resource_metadata", url, serverUrl, options)
      if (Either.isLeft(checked))
        return yield* problem(serverUrl, `${checked.left.message}; nothing was sent.`)
      const answer = yield* wire.send((sendOptions) =>
        sendOptions[oauth.customFetch](checked.right.href, documentRequest)
      )
      if (Answer.isOk(answer)) {
        if (Option.isSome(answer.cut)) return yield* answer.cut.value
        const read = Either.flatMap(Answer.json(answer), (document) =>
          Discovery.parse(document, serverUrl, options)
        )
        if (Either.isRight(read)) return { resource: read.right, hasMetadata: true }
        return yield* problem(
          serverUrl,
          `The server's metadata at ${answer.endpoint} ${read.left}. Nothing was sent. Report it to the operator of the server.`
        )
      }
      const error = Answer.toError(answer)
      if (error.reason !== "Misconfigured" || Option.isSome(challenged)) return yield* error
    }
    return { resource: Discovery.withoutMetadata(serverUrl), hasMetadata: false }
  })

const documentRequest: Wire.FetchInit = {
  method: "GET",
  headers: { accept: "application/json" },
  body: undefined,
  redirect: "manual"
}

/** Returns an authorization server, by its issuer. */
export type Servers = (
  issuer: string,
  hasMetadata: boolean
) => Effect.Effect<Context.Tag.Service<Server.Server>, Endpoint.OAuthConfigError>

/** Keeps each server, because a server caches its metadata. */
export const servers = (options: Endpoint.DiscoveredOptions): Effect.Effect<Servers, never, HttpClient> =>
  Effect.map(Effect.context<HttpClient>(), (http): Servers => {
    const made = new Map<string, Context.Tag.Service<Server.Server>>()
    return (issuer, hasMetadata) =>
      Effect.suspend(() => {
        const key = `${hasMetadata} ${issuer}`
        const known = made.get(key)
        return known !== undefined
          ? Effect.succeed(known)
          : makeServer(issuer, hasMetadata, options).pipe(
              Effect.tap((server) => Effect.sync(() => made.set(key, server))),
              Effect.provide(http)
            )
      })
  })

/** A server without metadata has the endpoints of the MCP specification of 2025-03-26. */
const makeServer = (
  issuer: string,
  hasMetadata: boolean,
  options: Endpoint.DiscoveredOptions
): Effect.Effect<Context.Tag.Service<Server.Server>, Endpoint.OAuthConfigError, HttpClient> =>
  hasMetadata
    ? Server.make({ issuer, discovery: Discovery.places, allowPrivateEndpoints: options.allowPrivate })
    : Server.make({
        issuer,
        authorizationEndpoint: `${issuer}/authorize`,
        tokenEndpoint: `${issuer}/token`,
        registrationEndpoint: `${issuer}/register`
      })

/** Whether none of the places has a metadata document. */
export const isAbsent = (error: OAuthError): boolean =>
  error.reason === "Misconfigured" && error.status !== undefined && error.status >= 400
