/**
 * For AI SDKs, of two kinds. Those that accept a function for the key get `getAccessToken`
 * (`new OpenAI({ apiKey: apiKey(tokens) })`). Those that accept a `fetch`
 * (`createOpenAICompatible({ fetch, … })`) get the one of `./fetch.ts`, which also replaces a refused token.
 */
import type { PromiseManager } from "@latchkey/core"

export const apiKey = (tokens: PromiseManager.PromiseManager) => (): Promise<string> =>
  tokens.getAccessToken()
