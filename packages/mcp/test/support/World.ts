/**
 * A protected MCP server of the official SDK and a real authorization server (`oidc-provider`), on loopback, with a user
 * who logs in and consents.
 */
import { RefreshLease, TokenConfig, TokenStorage } from "@latchkey/core"
import { FetchHttpClient } from "@effect/platform"
import {
  createMcpHandler,
  McpServer,
  OAuthError,
  OAuthErrorCode,
  requireBearerAuth
} from "@modelcontextprotocol/server"
import { Effect, Layer, type Scope } from "effect"
import * as Http from "node:http"
import { Readable } from "node:stream"
import * as Provider from "../../../oauth/test/Provider.js"
import { consent } from "../../../oauth/test/support/interaction.js"
import * as Login from "../../src/Login.js"
import * as Proof from "./Proof.js"

export interface World {
  /** The URL of the MCP server. */
  readonly url: string
  readonly auth: Provider.Harness
  /** How often the user was at the login page. */
  readonly logins: () => number
  /** The scopes that each authorization request asked for. */
  readonly asked: () => ReadonlyArray<string | null>
  readonly refreshes: () => number
  readonly registrations: () => number
  /** Answers of the MCP server, by status. */
  readonly statuses: ReadonlyArray<number>
  /** The access tokens that are valid now end, as if they had expired. */
  readonly endAccessTokens: Effect.Effect<void>
  /** The tool needs this scope from now on. */
  readonly require: (scope: string) => void
  /** The server trusts this authorization server from now on. */
  readonly move: (issuer: string) => void
  /** A login in the browser, by a user who is there at once. */
  readonly browser: Login.Way
}

export const scopes = ["mcp:read", "mcp:write"]

/** The authorization server, with clients that register themselves. */
export const authorizationServer = (
  options: {
    readonly accessTokenTtl?: number
    readonly configuration?: Record<string, unknown>
    readonly features?: Record<string, unknown>
  } = {}
): Effect.Effect<Provider.Harness, never, Scope.Scope> =>
  Provider.start({
    clients: [],
    accessTokenTtl: options.accessTokenTtl ?? 600,
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: scopes.join(" "),
          accessTokenFormat: "opaque",
          accessTokenTTL: options.accessTokenTtl ?? 600
        })
      },
      ...options.features
    },
    configuration: { scopes: ["openid", "offline_access"], ...options.configuration }
  })

/** Answers as a browser would, that follows the redirect to the program. */
const visit = (url: URL): Effect.Effect<void> =>
  Effect.async((resume) => {
    Http.get(url, (response) => {
      response.resume()
      response.on("end", () => resume(Effect.void))
    }).on("error", () => resume(Effect.void))
  })

const userAgent: Login.Way = Login.browser({
  openUrl: (url) => Effect.flatMap(consent(url), visit)
})

/** The same by hand: no port is listened on. */
export const byHand: Login.Way = Login.manual({
  ask: (url) => Effect.map(consent(url), ({ href }) => href)
})

export const make = (
  options: Parameters<typeof authorizationServer>[0] = {}
): Effect.Effect<World, never, Scope.Scope> =>
  Effect.gen(function* () {
    const auth = yield* authorizationServer(options)
    const issued = new Set<string>()
    const ended = new Set<string>()
    auth.provider.on("access_token.saved", (token: { readonly jti: string }) => issued.add(token.jti))
    const statuses: Array<number> = []
    let issuer = auth.issuer
    let required = "mcp:read"
    const mcp = createMcpHandler(() => {
      const server = new McpServer({ name: "notes", version: "1.0.0" })
      server.registerTool("ping", { description: "Answers." }, () => ({
        content: [{ type: "text", text: "pong" }]
      }))
      return server
    })
    const verify = async (value: string) => {
      const token = await auth.provider.AccessToken.find(value)
      if (token === undefined || ended.has(token.jti)) {
        throw new OAuthError(OAuthErrorCode.InvalidToken, "It is not known here")
      }
      return { token: value, clientId: token.clientId, scopes: [...token.scopes], expiresAt: token.exp }
    }
    const serve = async (request: Request, url: string): Promise<Response> => {
      const { origin, pathname } = new URL(url)
      const resourceMetadataUrl = `${origin}/.well-known/oauth-protected-resource/mcp`
      if (request.url === resourceMetadataUrl) {
        return Response.json({
          resource: url,
          authorization_servers: [issuer],
          scopes_supported: ["mcp:read"]
        })
      }
      if (new URL(request.url).pathname !== pathname) return new Response("nothing here", { status: 404 })
      const gate = requireBearerAuth({
        verifier: { verifyAccessToken: verify },
        requiredScopes: [required],
        resourceMetadataUrl
      })
      const refused = await Proof.check(request, async (token) => auth.provider.AccessToken.find(token))
      if (refused !== undefined) return refused
      const allowed = await gate(Proof.asBearer(request))
      return allowed instanceof Response ? allowed : mcp.fetch(request, { authInfo: allowed })
    }
    const { url: origin } = yield* Provider.listen((incoming, outgoing) => {
      const url = `${origin}/mcp`
      void serve(toRequest(incoming, origin), url).then((response) => {
        if (incoming.url === "/mcp") statuses.push(response.status)
        outgoing.writeHead(response.status, [...response.headers].flat())
        if (response.body === null) outgoing.end()
        else Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]).pipe(outgoing)
      })
    })
    const lines = (start: string) => auth.requests.filter(({ line }) => line.startsWith(start))
    const asked = () =>
      lines("GET /auth?").map(({ line }) =>
        new URL(line.split(" ")[1]!, auth.issuer).searchParams.get("scope")
      )
    return {
      url: `${origin}/mcp`,
      auth,
      asked,
      logins: () => asked().length,
      refreshes: () =>
        lines("POST /token").filter(({ body }) => body.includes("grant_type=refresh_token")).length,
      registrations: () => lines("POST /reg").length,
      statuses,
      endAccessTokens: Effect.sync(() => {
        for (const jti of issued) ended.add(jti)
      }),
      require: (scope) => {
        required = scope
      },
      move: (to) => {
        issuer = to
      },
      browser: userAgent
    }
  })

const toRequest = (incoming: Http.IncomingMessage, origin: string): Request => {
  const hasBody = incoming.method !== "GET" && incoming.method !== "HEAD"
  return new Request(new URL(incoming.url ?? "/", origin), {
    method: incoming.method ?? "GET",
    headers: Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
    ...(hasBody && { body: Readable.toWeb(incoming) as ReadableStream, duplex: "half" })
  } as RequestInit)
}

/** Tokens that are refused again and again are no reason to wait. */
export const config = TokenConfig.layer({ coolDownBase: 0, coolDownMax: 0 })

/** What a login needs beside its options: a grant in memory, and leases in this process. */
export const memory = Layer.mergeAll(
  TokenStorage.layerMemory,
  RefreshLease.layerProcess,
  config,
  FetchHttpClient.layer
)
