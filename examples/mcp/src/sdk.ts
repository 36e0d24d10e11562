/** A program with the official SDK. It uses Effect only for the layer that it opens. */
import { FetchHttpClient } from "@effect/platform"
import { TokenConfig } from "@latchkey/core"
import { type Login, McpAuth, McpPromise } from "@latchkey/mcp"
import { File } from "@latchkey/storage"
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { Layer } from "effect"

export const connect = async (serverUrl: string, path: string, login: Login.Way) => {
  const auth = await McpPromise.open(
    McpAuth.layer({ serverUrl, login }).pipe(
      Layer.provide([File.layer({ path }), TokenConfig.layer(), FetchHttpClient.layer])
    )
  )
  const client = new Client({ name: "example", version: "1.0.0" })
  await client.connect(new StreamableHTTPClientTransport(new URL(serverUrl), { fetch: auth.fetch }))
  return {
    day: async () => {
      const { content } = await client.callTool({ name: "day", arguments: {} })
      const [first] = content
      return first?.type === "text" ? first.text : ""
    },
    close: async () => {
      await client.close()
      await auth.close()
    }
  }
}
