/**
 * The identity of a provider's grants: its server's and its client's. Pure, and imports little.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import type { Origin } from "@latchkey/core/TokenRefresher"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { textAt } from "./internal/json.js"
import type { Provider } from "./Provider.js"

/**
 * Returns the origin of a provider's grants, and the former names of its server. A grant that is used
 * elsewhere than at the token endpoint is bound to that place too.
 *
 * @since 0.1.0
 * @category getters
 */
export const of = (provider: Provider): Origin => {
  const { refresh } = provider
  return {
    identity: identityOf(
      provider,
      refresh.by === "clientCredentials" ? "client_credentials" : GrantIdentity.userGrant
    ),
    formerly: provider.server.formerly,
    clientIdIn: (credentials) => clientIdIn(provider, credentials)
  }
}

/**
 * Returns the origin of the client's own tokens, whatever else renews the provider's grants.
 *
 * @since 0.1.0
 * @category getters
 */
export const ofClient = (provider: Provider): Origin => ({
  identity: identityOf(provider, "client_credentials"),
  formerly: provider.server.formerly
})

const identityOf = (
  { client, refresh, server }: Provider,
  grantType: string
): GrantIdentity.GrantIdentity => {
  const tokenEndpoint = "tokenEndpoint" in server ? server.tokenEndpoint : undefined
  const names =
    refresh.by === "exchange" && grantType === GrantIdentity.userGrant
      ? { issuer: server.issuer ?? tokenEndpoint, tokenEndpoint: refresh.endpoint }
      : { issuer: server.issuer, tokenEndpoint }
  return GrantIdentity.make({ ...names, clientId: client.clientId, grantType })
}

/**
 * Returns the client that a grant names, if that is another one than the provider's.
 *
 * @since 0.1.0
 * @category getters
 */
export const clientIdIn = (provider: Provider, credentials: Credentials): Option.Option<string> =>
  provider.credentials?.format === "claude" && provider.client.authentication === "none"
    ? Option.filter(
        textAt(Redacted.value(credentials.extras), ["claudeAiOauth", "clientId"]),
        (id) => id !== provider.client.clientId
      )
    : Option.none()
