/**
 * `mcp-expiries`: several clients of the official SDK share one login at an MCP server, and all meet each expiry at the same
 * time. The authorization server rotates with reuse detection. Compares the login of `@latchkey/mcp` with the SDK's own
 * over a shared store.
 */
import {
  Client,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  StreamableHTTPClientTransport
} from "@modelcontextprotocol/client"
import * as McpAuth from "@latchkey/mcp/McpAuth"
import * as McpPromise from "@latchkey/mcp/McpPromise"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as World from "../../../mcp/test/support/World.js"
import { consent } from "../../../oauth/test/support/interaction.js"
import type * as Campaign from "./Campaign.js"

/** For each expiry: several clients, which compete, and one alone. */
const sizes = [8, 1]

interface Outcome {
  readonly calls: number
  readonly failed: number
  readonly refreshes: number
  readonly logins: number
}

type Call = () => Promise<unknown>

const ping = async (client: Client): Promise<unknown> => client.callTool({ name: "ping", arguments: {} })

const open = async (
  url: string,
  options: ConstructorParameters<typeof StreamableHTTPClientTransport>[1]
): Promise<readonly [Client, StreamableHTTPClientTransport]> => {
  const client = new Client({ name: "campaign", version: "1.0.0" })
  const transport = new StreamableHTTPClientTransport(new URL(url), options)
  await client.connect(transport)
  return [client, transport]
}

const ours = (
  world: World.World,
  clients: number
): Effect.Effect<ReadonlyArray<Call>, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const auth = yield* McpAuth.make({
      serverUrl: world.url,
      login: World.byHand,
      onEvent: () => Effect.void
    })
    const { fetch } = yield* McpPromise.make(auth)
    const opened = yield* Effect.promise(async () =>
      Promise.all(Array.from({ length: clients }, () => open(world.url, { fetch })))
    )
    return opened.map(
      ([client]): Call =>
        () =>
          ping(client)
    )
  }).pipe(Effect.provide(World.memory))

/** The provider of a program that uses the SDK's own login: one store for all clients. */
const sdkProvider = (): {
  readonly provider: OAuthClientProvider
  readonly answer: () => URLSearchParams
} => {
  let information: StoredOAuthClientInformation | undefined
  let tokens: StoredOAuthTokens | undefined
  let discovery: OAuthDiscoveryState | undefined
  let verifier = ""
  let answer = new URLSearchParams()
  const redirectUrl = "http://127.0.0.1/callback"
  return {
    answer: () => answer,
    provider: {
      redirectUrl,
      clientMetadata: {
        client_name: "campaign",
        redirect_uris: [redirectUrl],
        token_endpoint_auth_method: "none",
        // Without it, the SDK requests no refresh token.
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"]
      },
      clientInformation: () => information,
      saveClientInformation: (saved) => {
        information = saved
      },
      tokens: () => tokens,
      saveTokens: (saved) => {
        tokens = saved
      },
      discoveryState: () => discovery,
      saveDiscoveryState: (saved) => {
        discovery = saved
      },
      saveCodeVerifier: (saved) => {
        verifier = saved
      },
      codeVerifier: () => verifier,
      invalidateCredentials: (what) => {
        if (what === "all" || what === "tokens") tokens = undefined
        if (what === "all" || what === "client") information = undefined
      },
      redirectToAuthorization: async (url) => {
        url.searchParams.set("prompt", "consent")
        answer = (await Effect.runPromise(consent(url))).searchParams
      }
    }
  }
}

const sdks = async (world: World.World, clients: number): Promise<ReadonlyArray<Call>> => {
  const { answer, provider } = sdkProvider()
  const first = new StreamableHTTPClientTransport(new URL(world.url), { authProvider: provider })
  await new Client({ name: "campaign", version: "1.0.0" }).connect(first).catch((error: unknown) => {
    if (!(error instanceof Error && error.name === "UnauthorizedError")) throw error
  })
  await first.finishAuth(answer())
  await first.close()
  const opened = await Promise.all(
    Array.from({ length: clients }, () => open(world.url, { authProvider: provider }))
  )
  return opened.map(([client, transport]): Call => async () => {
    try {
      return await ping(client)
    } catch (error) {
      // The program sends its user to the login, and continues.
      if (error instanceof Error && error.name === "UnauthorizedError") await transport.finishAuth(answer())
      throw error
    }
  })
}

const play = (
  expiries: number,
  clients: number,
  connect: (world: World.World, clients: number) => Effect.Effect<ReadonlyArray<Call>, unknown, Scope.Scope>
): Effect.Effect<Outcome, unknown> =>
  Effect.gen(function* () {
    // The SDK registers the scopes that it will request.
    const world = yield* World.make({
      configuration: { scopes: ["openid", "offline_access", ...World.scopes] }
    })
    const calls = yield* connect(world, clients)
    let failed = 0
    for (let expiry = 0; expiry < expiries; expiry++) {
      yield* world.endAccessTokens
      const ended = yield* Effect.promise(() => Promise.allSettled(calls.map((call) => call())))
      failed += ended.filter(({ status }) => status === "rejected").length
    }
    return { calls: expiries * clients, failed, refreshes: world.refreshes(), logins: world.logins() }
  }).pipe(Effect.scoped)

export const run = async (expiries: number): Promise<Campaign.Figures> => {
  const results = []
  for (const clients of sizes) {
    const latchkey = await Effect.runPromise(play(expiries, clients, ours))
    const sdk = await Effect.runPromise(
      play(expiries, clients, (world) => Effect.promise(() => sdks(world, clients)))
    )
    results.push({ clients, latchkey, sdk })
  }
  const broken = results.flatMap(({ clients, latchkey: { failed, logins, refreshes } }) => [
    ...(failed > 0 ? [`${clients} clients: ${failed} calls failed`] : []),
    ...(refreshes === expiries ? [] : [`${clients} clients: ${refreshes} refreshes in ${expiries} expiries`]),
    ...(logins === 1 ? [] : [`${clients} clients: the user was asked ${logins} times`])
  ])
  return { expiries, results, broken }
}
