/** Reads what the SDK wants from the authorization URL that it builds for an `OAuthClientProvider`. Pure. */

/**
 * A scope that the SDK sees with each token. It requests the scopes of the token only in a step-up, so this one in a
 * request means a step-up. No server sees it.
 */
export const stepUpMark = "latchkey:step-up"

/** What the SDK found before it built the URL. */
export interface Discovered {
  /** Where the server's challenge says that its metadata is. */
  readonly resourceMetadataUrl?: string | undefined
  readonly resourceMetadata?: { readonly scopes_supported?: ReadonlyArray<string> | undefined } | undefined
}

/** `challenge` has the parameters of the server's `WWW-Authenticate`, as far as the SDK passes them on. */
export interface SdkRequest {
  readonly isStepUp: boolean
  readonly challenge: string | undefined
}

export const read = (authorizationUrl: URL, discovered: Discovered | undefined): SdkRequest => {
  const requested = (authorizationUrl.searchParams.get("scope") ?? "").split(" ").filter(isScope)
  const isStepUp = requested.includes(stepUpMark)
  const scopes = requested.filter((scope) => scope !== stepUpMark)
  // If the challenge names no scopes, the SDK requests all those in the metadata.
  const isDefault =
    !isStepUp && scopes.join(" ") === discovered?.resourceMetadata?.scopes_supported?.join(" ")
  const metadataUrl = discovered?.resourceMetadataUrl
  const parameters = [
    ...(isStepUp ? ['error="insufficient_scope"'] : []),
    ...(scopes.length > 0 && !isDefault ? [`scope="${scopes.join(" ")}"`] : []),
    ...(metadataUrl !== undefined && URL.canParse(metadataUrl)
      ? [`resource_metadata="${new URL(metadataUrl).href}"`]
      : [])
  ]
  return { isStepUp, challenge: parameters.length === 0 ? undefined : `Bearer ${parameters.join(", ")}` }
}

/** RFC 6749 §3.3. */
const isScope = (word: string): boolean => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(word)
