/** A program's session: one grant, stored in a file, refreshed at its authorization server. */
import { FetchHttpClient } from "@effect/platform"
import { TokenConfig, TokenManager } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { File } from "@latchkey/storage"
import { Layer } from "effect"

export const clientId = "quickstart"

/**
 * How long before its expiry a token is refreshed here. The default of two minutes suits longer-lived tokens.
 */
const refreshGrace = "1 second"

export const session = (options: { readonly issuer: string; readonly file: string }) =>
  TokenManager.layer().pipe(
    Layer.provide(File.layer({ path: options.file })),
    Layer.provide(RefreshToken.layer({ server: { issuer: options.issuer }, client: { clientId } })),
    Layer.provide(TokenConfig.layer({ refreshGrace })),
    Layer.provide(FetchHttpClient.layer)
  )
