/**
 * A protected MCP server on this machine, which is its own authorization server. It grants every login. The example ends
 * its tokens with `endToken`.
 */
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"

export interface Server {
  readonly url: string
  readonly logins: () => number
  readonly refreshes: () => number
  /** Ends the current access token. */
  readonly endToken: () => void
  readonly stop: () => void
}

const mcp = createMcpHandler(() => {
  const server = new McpServer({ name: "clock", version: "1.0.0" })
  server.registerTool("day", { description: "Returns the day of the week." }, () => ({
    content: [{ type: "text", text: "Friday" }]
  }))
  return server
})

export const start = async (): Promise<Server> => {
  let [serial, logins, refreshes, valid] = [0, 0, 0, ""]
  const server = Http.createServer((request, response) => {
    void serve(request).then(async (answer) => {
      response.writeHead(answer.status, [...answer.headers].flat())
      response.end(Buffer.from(await answer.arrayBuffer()))
    })
  })
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const serve = async (request: Http.IncomingMessage): Promise<Response> => {
    const url = new URL(request.url ?? "/", origin)
    switch (url.pathname) {
      case "/.well-known/oauth-protected-resource/mcp":
        return Response.json({ resource: `${origin}/mcp`, authorization_servers: [origin] })
      case "/.well-known/oauth-authorization-server":
        return Response.json({
          issuer: origin,
          authorization_endpoint: `${origin}/authorize`,
          token_endpoint: `${origin}/token`,
          registration_endpoint: `${origin}/register`,
          code_challenge_methods_supported: ["S256"]
        })
      case "/register":
        return Response.json({ client_id: "example" }, { status: 201 })
      case "/authorize": {
        logins++
        const back = new URL(url.searchParams.get("redirect_uri") ?? "")
        back.searchParams.set("code", "code")
        back.searchParams.set("state", url.searchParams.get("state") ?? "")
        return Response.redirect(back, 302)
      }
      case "/token": {
        const form = new URLSearchParams(await new Response(Readable.toWeb(request) as ReadableStream).text())
        if (form.get("grant_type") === "refresh_token") refreshes++
        valid = `access-${++serial}`
        return Response.json({
          access_token: valid,
          refresh_token: `refresh-${serial}`,
          token_type: "Bearer",
          expires_in: 3600
        })
      }
      case "/mcp":
        return request.headers.authorization === `Bearer ${valid}`
          ? mcp.fetch(toRequest(request, url))
          : new Response("", { status: 401, headers: { "www-authenticate": 'Bearer error="invalid_token"' } })
      default:
        return new Response("", { status: 404 })
    }
  }
  return {
    url: `${origin}/mcp`,
    logins: () => logins,
    refreshes: () => refreshes,
    endToken: () => {
      valid = ""
    },
    stop: () => {
      server.close()
      server.closeAllConnections()
    }
  }
}

const toRequest = (request: Http.IncomingMessage, url: URL): Request => {
  const headers = Object.entries(request.headers).map(([name, value]): [string, string] => [
    name,
    String(value)
  ])
  const method = request.method ?? "GET"
  const init: RequestInit & { readonly duplex: "half" } = { method, headers, duplex: "half" }
  return method === "GET"
    ? new Request(url, init)
    : new Request(url, { ...init, body: Readable.toWeb(request) as ReadableStream })
}
