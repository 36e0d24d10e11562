/** Converts a provider to the terms of `@latchkey/oauth`. */
import { byOurClock, Credentials, type Extras } from "@latchkey/core/Credentials"
import type * as Answer from "@latchkey/oauth/Answer"
import * as ClientAuth from "@latchkey/oauth/ClientAuth"
import * as ErrorRule from "@latchkey/oauth/ErrorRule"
import * as Jwt from "@latchkey/oauth/Jwt"
import type * as TokenEndpoint from "@latchkey/oauth/TokenEndpoint"
import * as WorkloadIdentity from "@latchkey/oauth/WorkloadIdentity"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Provider, ProviderError } from "../Provider.js"
import * as Expiry from "./expiry.js"
import { textAt } from "./json.js"
import { variableName } from "./variableName.js"

/** Returns the client, or what is missing. */
export const clientOf = (provider: Provider): Either.Either<ClientAuth.Client, ProviderError> => {
  const { assertion, authentication, clientId, secret } = provider.client
  const missing = (what: string, name: string) =>
    Either.left(
      new ProviderError({
        reason: "NoClient",
        provider: provider.id,
        message: `${provider.displayName} needs ${what}: register an application with it, and set ${variableName(provider.id, ["client", name])}, or client.${name} in the file of providers.`
      })
    )
  if (clientId === undefined) return missing("a client id of your own", "id")
  if (authentication === "none") return Either.right({ clientId })
  if (authentication === "assertion") {
    return assertion === undefined
      ? missing("the source of the client's assertion", "assertion")
      : Either.right({ clientId, auth: ClientAuth.assertion(WorkloadIdentity.read(assertion)) })
  }
  if (secret === undefined) return missing("the client's secret", "secret")
  const auth = {
    basic: ClientAuth.basic,
    basicRaw: ClientAuth.basicRaw,
    post: ClientAuth.post,
    secretJwt: (s: Redacted.Redacted) => ClientAuth.clientSecretJwt(s)
  }[authentication](secret)
  return Either.right({ clientId, auth })
}

/** Returns the provider with another client ID. For a public client, which has no other credential. */
export const withClientId = (provider: Provider, clientId: string): Provider =>
  new Provider({ ...provider, client: { ...provider.client, clientId } })

/** Returns what all requests to the token endpoint have in common. */
export const endpointOf = (provider: Provider): Either.Either<TokenEndpoint.Options, ProviderError> =>
  Either.map(clientOf(provider), (client) => ({
    server: provider.server,
    client,
    encoding: provider.token.encoding,
    parameters: provider.token.parameters,
    headers: provider.token.headers,
    ...errorsOf(provider),
    adapt: adapt(provider),
    defaultTokenType: provider.token.defaultType,
    ...(provider.refresh.by === "refreshToken" && { keepAlive: provider.refresh.keepAlive }),
    accountId: accountOf(provider)
  }))

/** What this provider's errors mean. */
export const errorsOf = ({ token }: Provider): Answer.ErrorSettings => ({
  deadCodes: token.deadCodes,
  ...(token.errors.length > 0 && { adaptError: ErrorRule.matching(token.errors) })
})

/** Converts a response of this provider to the terms of the standard. */
const adapt =
  ({ token }: Provider) =>
  (response: Extras): Extras => {
    const { expires_in: lifetime, ...rest } = response
    const { scope } = response
    return {
      ...rest,
      ...(token.type !== undefined && { token_type: token.type }),
      ...(token.expiry === "response" && lifetime !== undefined && { expires_in: lifetime }),
      ...(typeof scope === "string" && { scope: scope.split(token.scopeSeparator).join(" ") }),
      // Twitch sends a list.
      ...(Array.isArray(scope) && scope.every((one) => typeof one === "string") && { scope: scope.join(" ") })
    }
  }

/** Returns how this provider names the account. Undefined: the default applies. */
const accountOf = ({ account }: Provider): TokenEndpoint.Options["accountId"] =>
  account === undefined
    ? undefined
    : (response) => {
        if (account.from === "response") return textAt(response, account.path)
        const token = response[account.from === "idToken" ? "id_token" : "access_token"]
        return typeof token === "string" ? accountIn(Redacted.make(token), account.path) : Option.none()
      }

const accountIn = (token: Redacted.Redacted, path: ReadonlyArray<string>): Option.Option<string> =>
  Option.flatMap(Jwt.claims(token), (claims) => textAt(claims, path))

/** Adds what the response itself does not contain. */
export const finish =
  (provider: Provider) =>
  (credentials: Credentials): Credentials =>
    provider.token.expiry === "accessToken"
      ? new Credentials({
          ...credentials,
          expiresAt: Option.map(
            // A value that is not a sensible time counts as an unknown lifetime.
            Option.filter(Expiry.ofJwt(credentials.accessToken), (at) => at <= Expiry.latestSeconds * 1000),
            (at) => byOurClock(at, credentials)
          )
        })
      : credentials

/** The key of the extras that holds the rest of an exchange's response. */
export const exchangeKey = ({ credentials }: Provider): string =>
  credentials?.format === "copilot" ? "copilot_token" : "exchange"
