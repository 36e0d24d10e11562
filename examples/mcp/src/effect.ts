/** The same login in a program with Effect: an `HttpClient` that sends the token. */
import { FetchHttpClient, HttpClientRequest } from "@effect/platform"
import { TokenConfig } from "@latchkey/core"
import { type Login, McpAuth, McpClient } from "@latchkey/mcp"
import { File } from "@latchkey/storage"
import { Effect, Layer } from "effect"

const layer = (serverUrl: string, path: string, login: Login.Way) =>
  McpClient.layer.pipe(
    Layer.provide(McpAuth.layer({ serverUrl, login })),
    Layer.provide([File.layer({ path }), TokenConfig.layer(), FetchHttpClient.layer])
  )

/** Sends a request to the server, and returns the status of the response. */
export const status = (serverUrl: string, path: string, login: Login.Way) =>
  Effect.gen(function* () {
    const client = yield* McpClient.McpClient
    const ping = HttpClientRequest.bodyUnsafeJson(
      HttpClientRequest.post(serverUrl, { headers: { accept: "application/json, text/event-stream" } }),
      { jsonrpc: "2.0", id: 1, method: "ping" }
    )
    const response = yield* client.execute(ping)
    return response.status
  }).pipe(Effect.provide(layer(serverUrl, path, login)))
