/**
 * For AI SDKs, of two kinds. Those that take a function for the key get `getAccessToken` (`new OpenAI({
 * apiKey: apiKey(tokens) })`); those that take a `fetch` (`createOpenAICompatible({ fetch, … })`) get the one of
 * `./fetch.ts`, which also replaces a token that is refused.
 */
import type { PromiseManager } from "@latchkey/core"

export const apiKey = (tokens: PromiseManager.PromiseManager) => (): Promise<string> =>
  tokens.getAccessToken()
