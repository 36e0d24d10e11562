/**
 * The same as interceptors of axios, which is not installed here: `Config` is the part of its types that is
 * used. An instance of axios 1.x accepts them:
 *
 * ```ts
 * api.interceptors.request.use(attach(tokens, origin))
 * api.interceptors.response.use(undefined, replace(tokens, (config) => api.request(config)))
 * ```
 */
import type { PromiseManager } from "@latchkey/core"

export interface Config {
  readonly url?: string
  readonly baseURL?: string
  readonly headers: {
    readonly get: (name: string) => unknown
    readonly set: (name: string, value: string) => unknown
  }
  /** Our own mark: the request was sent again. */
  isSecond?: boolean
}

export const attach =
  (tokens: PromiseManager.PromiseManager, origin: string) =>
  async <C extends Config>(config: C): Promise<C> => {
    if (new URL(config.url ?? "", config.baseURL).origin !== origin) return config
    config.headers.set("Authorization", `Bearer ${await tokens.getAccessToken()}`)
    return config
  }

/** On a 401 the token is replaced and the request is sent once more. `attach` adds the new token. */
export const replace =
  <C extends Config, R>(tokens: PromiseManager.PromiseManager, request: (config: C) => Promise<R>) =>
  async (error: { readonly config?: C; readonly response?: { readonly status: number } }): Promise<R> => {
    const { config } = error
    const [scheme, token] = String(config?.headers.get("Authorization") ?? "").split(" ")
    if (config === undefined || config.isSecond || error.response?.status !== 401 || scheme !== "Bearer") {
      throw error
    }
    await tokens.reject(token ?? "")
    config.isSecond = true
    return request(config)
  }
