/**
 * A real authorization server for the tests: `oidc-provider`, in this process, on a free loopback port.
 */
import { Credentials } from "@latchkey/core"
import { Effect, type Scope } from "effect"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { Provider } from "oidc-provider"

export interface Harness {
  readonly provider: Provider
  readonly issuer: string
  /** Every request to the server: `POST /token`, with its body and headers, in order. */
  readonly requests: Array<{
    readonly line: string
    readonly headers: Http.IncomingHttpHeaders
    readonly body: string
  }>
  /** How many times the token endpoint was asked. */
  readonly tokenRequests: () => number
  /** A first grant, as after a login: a refresh token that was never used. */
  readonly grant: (options?: {
    readonly clientId?: string
    readonly scope?: string
    readonly accountId?: string
    readonly jkt?: string
    /** Resources that the grant is good for (RFC 8707), for its scopes. */
    readonly resources?: ReadonlyArray<string>
  }) => Effect.Effect<Credentials.Credentials>
}

export const publicClient = {
  client_id: "public-client",
  token_endpoint_auth_method: "none",
  redirect_uris: ["http://127.0.0.1/callback"],
  application_type: "native",
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"]
}

/** The server, closed with the scope; it rotates with reuse detection unless `configuration` says else. */
export const start = (
  options: {
    readonly clients?: ReadonlyArray<Record<string, unknown>>
    readonly configuration?: Record<string, unknown>
    readonly features?: Record<string, unknown>
    readonly accessTokenTtl?: number
    readonly setUp?: (provider: Provider) => void
  } = {}
): Effect.Effect<Harness, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Harness["requests"][number][] = []
    let handle: Http.RequestListener = (_, response) => response.writeHead(503).end()
    const server = yield* listen((request, response) => {
      const chunks: Array<Buffer> = []
      // Looked at on the way: a listener of our own would set it flowing before the provider reads it.
      const { emit } = request
      request.emit = (event: string | symbol, ...args: ReadonlyArray<unknown>) => {
        if (event === "data") chunks.push(args[0] as Buffer)
        return emit.call(request, event, ...args)
      }
      requests.push({
        line: `${request.method} ${request.url}`,
        headers: request.headers,
        get body() {
          return Buffer.concat(chunks).toString()
        }
      })
      handle(request, response)
    })
    const issuer = server.url
    const provider = yield* Effect.sync(() => quietly(() => new Provider(issuer, configuration(options))))
    options.setUp?.(provider)
    handle = provider.callback()

    const grant: Harness["grant"] = ({
      clientId = publicClient.client_id,
      scope = "openid offline_access",
      accountId = "alice",
      jkt,
      resources = []
    } = {}) =>
      Effect.promise(async () => {
        const client = await provider.Client.find(clientId)
        const entity = new provider.Grant({ accountId, clientId })
        entity.addOIDCScope(scope)
        for (const resource of resources) entity.addResourceScope(resource, scope)
        const grantId = await entity.save()
        const now = Math.floor(Date.now() / 1000)
        const common = {
          accountId,
          client,
          grantId,
          scope,
          ...(jkt !== undefined && { jkt }),
          ...(resources.length > 0 && { resource: resources })
        }
        const refreshToken = await new provider.RefreshToken({
          ...common,
          gty: "authorization_code",
          authTime: now,
          rotations: 0
        }).save()
        const accessToken = await new provider.AccessToken({ ...common, gty: "authorization_code" }).save()
        return Credentials.make({
          accessToken,
          refreshToken,
          tokenType: jkt === undefined ? "Bearer" : "DPoP",
          scopes: scope.split(" "),
          obtainedAt: now * 1000,
          expiresAt: (now + (options.accessTokenTtl ?? 60)) * 1000
        })
      })
    return {
      provider,
      issuer,
      requests,
      tokenRequests: () => requests.filter((r) => r.line.startsWith("POST /token")).length,
      grant
    }
  })

/** A raw server on a free loopback port, its connections cut when the scope closes. */
export const listen = (
  listener: Http.RequestListener
): Effect.Effect<
  { readonly url: string; readonly port: number; readonly server: Http.Server },
  never,
  Scope.Scope
> =>
  Effect.acquireRelease(
    Effect.async<{ url: string; port: number; server: Http.Server }>((resume) => {
      const server = Http.createServer(listener)
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, port, server }))
      })
    }),
    ({ server }) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )

const configuration = (options: Parameters<typeof start>[0] & object): Record<string, unknown> => ({
  clients: options.clients ?? [publicClient],
  clientAuthMethods: [
    "none",
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt"
  ],
  scopes: ["openid", "offline_access", "email", "profile", "api:read"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  conformIdTokenClaims: false,
  findAccount: (_ctx: unknown, id: string) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: id })
  }),
  rotateRefreshToken: true,
  ttl: { AccessToken: options.accessTokenTtl ?? 60, RefreshToken: 600, Grant: 600, ClientCredentials: 60 },
  cookies: { keys: ["only for tests"] },
  features: { devInteractions: { enabled: false }, ...options.features },
  ...options.configuration
})

/** It warns of development settings, which are what is wanted here. */
const quietly = <A>(make: () => A): A => {
  const { warn, info } = console
  console.warn = console.info = () => undefined
  try {
    return make()
  } finally {
    console.warn = warn
    console.info = info
  }
}
