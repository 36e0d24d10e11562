/** One of several processes that share a login: it calls the server's tool for each line that it is sent. */
import { FetchHttpClient } from "@effect/platform"
import { File } from "@latchkey/storage"
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { Effect, Layer } from "effect"
import { createInterface } from "node:readline"
import * as McpAuth from "../src/McpAuth.js"
import * as McpPromise from "../src/McpPromise.js"
import { byHand, config } from "./support/World.js"

const [serverUrl = "", path = ""] = process.argv.slice(2)

const auth = await McpPromise.open(
  McpAuth.layer({ serverUrl, login: byHand, onEvent: () => Effect.void }).pipe(
    Layer.provide([File.layer({ path }), config, FetchHttpClient.layer])
  )
)
const client = new Client({ name: "child", version: "1.0.0" })
const transport = new StreamableHTTPClientTransport(new URL(serverUrl), { fetch: auth.fetch })
let isConnected = false
for await (const line of createInterface({ input: process.stdin })) {
  try {
    if (!isConnected) await client.connect(transport)
    isConnected = true
    await client.callTool({ name: "ping", arguments: {} })
    console.log(`${line} ok`)
  } catch (error) {
    console.log(`${line} ${error instanceof Error ? error.message : String(error)}`)
  }
}
await client.close()
await auth.close()
