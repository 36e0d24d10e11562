/** The same for undici's `request`. */
import type { PromiseManager } from "@latchkey/core"
import { type Dispatcher, request } from "undici"

type Options = Omit<Dispatcher.RequestOptions, "origin" | "path" | "method"> &
  Partial<Pick<Dispatcher.RequestOptions, "method">> & {
    readonly headers?: Record<string, string>
  }

export const requestWith =
  (tokens: PromiseManager.PromiseManager, origin: string) =>
  async (url: URL, options: Options = {}): Promise<Dispatcher.ResponseData> => {
    if (url.origin !== origin) return request(url, options)
    const send = (token: string) =>
      request(url, { ...options, headers: { ...options.headers, authorization: `Bearer ${token}` } })
    const token = await tokens.getAccessToken()
    const response = await send(token)
    if (response.statusCode !== 401) return response
    await response.body.dump()
    return send(await tokens.reject(token))
  }
