/**
 * The client under test of the MCP conformance suite: the official SDK's client with the login of `@latchkey/mcp`. The
 * suite passes the server's URL as an argument, and the input of the scenario in the environment.
 */
import { FetchHttpClient } from "@effect/platform"
import { RefreshLease, TokenConfig, TokenStorage } from "@latchkey/core"
import { Login, McpAuth, McpPromise } from "@latchkey/mcp"
import { ClientAuth } from "@latchkey/oauth"
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { Effect, Layer, Logger, LogLevel, Redacted } from "effect"

const serverUrl = process.argv.at(-1) ?? ""
const context = JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}") as {
  readonly client_id?: string
  readonly client_secret?: string
}
const isBound = process.env["MCP_CONFORMANCE_SCENARIO"]?.startsWith("auth/dpop") === true
const version = process.env["MCP_CONFORMANCE_PROTOCOL_VERSION"]

/** The suite's authorization server redirects back at once, without a page. */
const login = Login.manual({
  redirectUri: "http://127.0.0.1:3000/callback",
  ask: (url) =>
    Effect.promise(async () => (await fetch(url, { redirect: "manual" })).headers.get("location") ?? "")
})

const auth = await McpPromise.open(
  McpAuth.layer({
    serverUrl,
    login,
    dpop: isBound,
    clientMetadataUrl: "https://conformance-test.local/client-metadata.json",
    ...(context.client_id !== undefined && {
      client: {
        clientId: context.client_id,
        ...(context.client_secret !== undefined && {
          auth: ClientAuth.basic(Redacted.make(context.client_secret))
        })
      }
    })
  }).pipe(
    Layer.provide([TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()]),
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(Logger.minimumLogLevel(LogLevel.None))
  )
)

const client = new Client(
  { name: "latchkey-conformance", version: "1.0.0" },
  version !== undefined && version >= "2026" ? { versionNegotiation: { mode: { pin: version } } } : {}
)
try {
  await client.connect(new StreamableHTTPClientTransport(new URL(serverUrl), { fetch: auth.fetch }))
  await client.listTools()
  await client.callTool({ name: "test-tool", arguments: {} })
} finally {
  await client.close()
  await auth.close()
}
