/** A `fetch` that sends the token to one origin, and replaces it once if it is refused. */
import type { PromiseManager } from "@latchkey/core"

export const fetchWith =
  (tokens: PromiseManager.PromiseManager, origin: string): typeof fetch =>
  async (input, init) => {
    const request = new Request(input, init)
    if (new URL(request.url).origin !== origin) return fetch(request)
    const send = (token: string) => {
      const copy = request.clone()
      copy.headers.set("authorization", `Bearer ${token}`)
      return fetch(copy)
    }
    const { signal } = request
    const token = await tokens.getAccessToken({ signal })
    const response = await send(token)
    if (response.status !== 401) return response
    // So that its connection can be used again.
    await response.body?.cancel()
    return send(await tokens.reject(token, { signal }))
  }
