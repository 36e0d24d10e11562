/** An API to call: it greets every token except those that it is set to refuse. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

export interface Api {
  readonly origin: string
  readonly refuse: (token: string) => void
  readonly close: () => void
}

export const start = async (): Promise<Api> => {
  const refused = new Set<string>()
  const server = createServer((request, response) => {
    const token = request.headers.authorization?.replace(/^Bearer /, "")
    const isGood = token !== undefined && !refused.has(token)
    response.writeHead(
      isGood ? 200 : 401,
      isGood ? {} : { "www-authenticate": 'Bearer error="invalid_token"' }
    )
    response.end(isGood ? "hello" : "")
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    refuse: (token) => refused.add(token),
    close: () => {
      server.close()
      server.closeAllConnections()
    }
  }
}
