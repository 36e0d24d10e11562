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
import { variableName } from "./internal/variableName.js"
import type { Provider } from "./Provider.js"
import type { Encoded } from "./ProviderSettings.js"

/** What the identity of a provider's grants depends on. */
interface Parts {
  readonly issuer?: string | undefined
  readonly tokenEndpoint?: string | undefined
  readonly formerly?: ReadonlyArray<string> | undefined
  readonly clientId?: string | undefined
  /** Whether the client authenticates with nothing. */
  readonly isPublic: boolean
  readonly by: string
  /** Where a grant is used instead of the token endpoint. */
  readonly exchange?: string | undefined
  readonly format?: string | undefined
}

const partsOf = ({ client, credentials, refresh, server }: Provider): Parts => ({
  issuer: server.issuer,
  tokenEndpoint: "tokenEndpoint" in server ? server.tokenEndpoint : undefined,
  formerly: server.formerly,
  clientId: client.clientId,
  isPublic: client.authentication === "none",
  by: refresh.by,
  exchange: refresh.by === "exchange" ? refresh.endpoint : undefined,
  format: credentials?.format
})

/**
 * Returns the origin of a provider's grants, and the former names of its server. A grant that is used
 * elsewhere than at the token endpoint is bound to that place too.
 *
 * @since 0.1.0
 * @category getters
 */
export const of = (provider: Provider): Origin => originOf(partsOf(provider))

/**
 * Returns the origin of the client's own tokens, whatever else renews the provider's grants.
 *
 * @since 0.1.0
 * @category getters
 */
export const ofClient = (provider: Provider): Origin => originOfClient(partsOf(provider))

const originOf = (parts: Parts): Origin => ({
  identity: identityOf(
    parts,
    parts.by === "clientCredentials" ? "client_credentials" : GrantIdentity.userGrant
  ),
  formerly: parts.formerly,
  clientIdIn: (credentials) => clientIdOf(parts, credentials)
})

const originOfClient = (parts: Parts): Origin => ({
  identity: identityOf(parts, "client_credentials"),
  formerly: parts.formerly
})

const identityOf = (
  { clientId, exchange, issuer, tokenEndpoint }: Parts,
  grantType: string
): GrantIdentity.GrantIdentity =>
  exchange !== undefined && grantType === GrantIdentity.userGrant
    ? GrantIdentity.make({ issuer: issuer ?? tokenEndpoint, tokenEndpoint: exchange, clientId, grantType })
    : GrantIdentity.make({ issuer, tokenEndpoint, clientId, grantType })

/**
 * Returns the client that a grant names, if that is another one than the provider's.
 *
 * @since 0.1.0
 * @category getters
 */
export const clientIdIn = (provider: Provider, credentials: Credentials): Option.Option<string> =>
  clientIdOf(partsOf(provider), credentials)

const clientIdOf = (
  { clientId, format, isPublic }: Parts,
  credentials: Credentials
): Option.Option<string> =>
  format === "claude" && isPublic
    ? Option.filter(
        textAt(Redacted.value(credentials.extras), ["claudeAiOauth", "clientId"]),
        (id) => id !== clientId
      )
    : Option.none()

/**
 * The origins of a provider with these settings, which are not checked: those of a user's grants and of the
 * client's own tokens. They are those of {@link of} and {@link ofClient}, without the time that the check of
 * all settings takes.
 *
 * @since 3.1.0
 * @category getters
 */
export const ofSettings = ({
  client = {},
  credentials,
  refresh = {},
  server = {}
}: Encoded): { readonly user: Origin; readonly client: Origin } => {
  const { by = "refreshToken", endpoint } = refresh
  const { assertion, authentication, secret } = client
  const parts: Parts = {
    issuer: server.issuer,
    tokenEndpoint: server.tokenEndpoint,
    formerly: server.formerly,
    clientId: client.id,
    isPublic: (authentication ?? assertion ?? secret ?? "none") === "none",
    by,
    exchange: by === "exchange" ? endpoint : undefined,
    format: credentials?.format
  }
  return { user: originOf(parts), client: originOfClient(parts) }
}

/** The settings on which {@link ofSettings} depends. */
const settings = [
  ["server", "issuer"],
  ["server", "tokenEndpoint"],
  ["server", "formerly"],
  ["client", "id"],
  ["client", "authentication"],
  ["client", "secret"],
  ["client", "assertion", "from"],
  ["refresh", "by"],
  ["refresh", "endpoint"],
  ["credentials", "format"]
]

/**
 * The environment variables that can change the origins of a provider.
 *
 * @since 3.1.0
 * @category getters
 */
export const variables = (id: string): ReadonlyArray<string> => settings.map((path) => variableName(id, path))
