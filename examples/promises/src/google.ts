/**
 * For `googleapis`: the function that its `OAuth2Client` calls when it needs a token
 * (`client.refreshHandler = …`). It is not installed here. This is the type of that handler.
 */
import type { PromiseManager } from "@latchkey/core"

export const refreshHandler =
  (tokens: PromiseManager.PromiseManager) =>
  async (): Promise<{ access_token: string; expiry_date: number }> => ({
    access_token: await tokens.getAccessToken(),
    // In the past, so that it calls each time and does not cache a token itself.
    expiry_date: 1
  })
