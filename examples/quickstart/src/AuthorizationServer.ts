/**
 * The embedded default: a real authorization server (`oidc-provider`) on a free loopback port. Its access
 * tokens live for two seconds. Its refresh tokens rotate, and one that is used twice revokes the grant.
 */
import { Credentials } from "@latchkey/core"
import { Clock, Effect, type Scope } from "effect"
import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { clientId } from "./Session.js"

/** How long its access tokens live here, in seconds. */
export const lifetime = 2

export interface AuthorizationServer {
  readonly issuer: string
  /** How many requests its token endpoint has received. */
  readonly tokenRequests: Effect.Effect<number>
  /** Creates a first grant, as after a login in a browser. */
  readonly login: Effect.Effect<Credentials.Credentials>
  /** Ends all grants, as a user or an administrator does. */
  readonly revokeAll: Effect.Effect<void>
  readonly goDown: Effect.Effect<void>
  readonly comeUp: Effect.Effect<void>
}

const listen = (server: Server, port: number) =>
  Effect.async<number, Error>((resume) => {
    server.once("error", (error) => resume(Effect.fail(error)))
    server.listen(port, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
  })

const close = (server: Server) =>
  Effect.async<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

export const startWith = (tokenLifetime: number): Effect.Effect<AuthorizationServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    let handle: RequestListener = (_, response) => response.writeHead(503).end()
    let requests = 0
    const server = createServer((request, response) => {
      if (request.method === "POST" && request.url === "/token") requests++
      handle(request, response)
    })
    const port = yield* Effect.acquireRelease(Effect.orDie(listen(server, 0)), () => close(server))
    const issuer = `http://127.0.0.1:${port}`
    const provider = yield* Effect.promise(() => openProvider(issuer, tokenLifetime))
    handle = provider.callback()

    const grants = new Set<string>()
    const login = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.promise(async () => {
        const client = await provider.Client.find(clientId)
        const scope = "openid offline_access"
        const grant = new provider.Grant({ accountId: "ada", clientId })
        grant.addOIDCScope(scope)
        const grantId = await grant.save()
        grants.add(grantId)
        const common = { accountId: "ada", client, grantId, scope, gty: "authorization_code" }
        const authTime = Math.floor(now / 1000)
        return Credentials.make({
          accessToken: await new provider.AccessToken(common).save(),
          refreshToken: await new provider.RefreshToken({ ...common, authTime, rotations: 0 }).save(),
          scopes: scope.split(" "),
          accountId: "ada",
          obtainedAt: now,
          expiresAt: now + tokenLifetime * 1000
        })
      })
    )
    return {
      issuer,
      tokenRequests: Effect.sync(() => requests),
      login,
      revokeAll: Effect.promise(async () => {
        for (const id of grants) {
          await provider.RefreshToken.revokeByGrantId(id)
          await provider.AccessToken.revokeByGrantId(id)
        }
      }),
      goDown: close(server),
      comeUp: Effect.asVoid(Effect.orDie(listen(server, port)))
    }
  })

/** The server of the quickstart itself. */
export const start = startWith(lifetime)

const configuration = {
  clients: [
    {
      client_id: clientId,
      token_endpoint_auth_method: "none",
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/callback"],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"]
    }
  ],
  clientAuthMethods: ["none"],
  scopes: ["openid", "offline_access"],
  findAccount: (_context: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  cookies: { keys: ["a key for a demonstration"] },
  features: { devInteractions: { enabled: false } }
}

/** It warns about settings that are not for production, which a demonstration needs. */
const openProvider = async (issuer: string, tokenLifetime: number) => {
  const { info, warn } = console
  console.warn = console.info = () => undefined
  try {
    const { Provider } = await import("oidc-provider")
    const ttl = { AccessToken: tokenLifetime, IdToken: 60, RefreshToken: 600, Grant: 600 }
    return new Provider(issuer, { ...configuration, ttl })
  } finally {
    console.warn = warn
    console.info = info
  }
}
