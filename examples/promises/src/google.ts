/**
 * For `googleapis`: what its `OAuth2Client` calls when it wants a token (`client.refreshHandler = …`). It is not
 * installed here; this is the type of that handler.
 */
import type { PromiseManager } from "@latchkey/core"

export const refreshHandler =
  (tokens: PromiseManager.PromiseManager) =>
  async (): Promise<{ access_token: string; expiry_date: number }> => ({
    access_token: await tokens.getAccessToken(),
    // Long ago: it is to ask each time, and not to cache what is cached better here.
    expiry_date: 1
  })
