/** The two kinds of providers that the official SDK's transports take. */
import type { AuthProvider, OAuthClientProvider, OAuthDiscoveryState } from "@modelcontextprotocol/client"
import type { Credentials } from "@latchkey/core/Credentials"
import * as DPoP from "@latchkey/oauth/DPoP"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import { BearerToken } from "@latchkey/oauth/internal-api"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Service } from "../McpAuth.js"
import * as Refusals from "./refusals.js"
import type { Run } from "./run.js"
import * as SdkRequest from "./sdkRequest.js"

export const authProvider = (auth: Service, run: Run): Required<AuthProvider> => {
  const { credentials, recover } = makeTokens(auth, run)
  return {
    token: async () => {
      const current = await credentials()
      return current === undefined ? undefined : Redacted.value(current.accessToken)
    },
    onUnauthorized: ({ response }) =>
      recover({ isStepUp: false, challenge: response.headers.get("www-authenticate") ?? undefined })
  }
}

/** Any URL: without one, the SDK would send a token request itself. It is never used. */
const redirectUrl = "http://127.0.0.1/callback"

/**
 * The SDK refreshes only if it sees a refresh token, and registers only if it sees no client. So it sees a token without
 * a refresh token and a client that stands for ours. After a refusal it always builds an authorization URL. That is the
 * signal to recover, by a refresh or a login. The URL itself is not used.
 */
export const oauthClientProvider = (auth: Service, run: Run): OAuthClientProvider => {
  const { credentials, recover } = makeTokens(auth, run)
  let discovered: OAuthDiscoveryState | undefined
  return {
    redirectUrl,
    clientMetadata: { redirect_uris: [redirectUrl] },
    clientInformation: (context) => ({
      client_id: "latchkey",
      ...(context !== undefined && { issuer: context.issuer })
    }),
    tokens: async (context) => {
      // The SDK passes a context only when it looks for a refresh token.
      if (context !== undefined) return undefined
      const current = await credentials()
      return current === undefined
        ? undefined
        : {
            access_token: Redacted.value(current.accessToken),
            token_type: "Bearer",
            scope: [...current.scopes, SdkRequest.stepUpMark].join(" ")
          }
    },
    saveDiscoveryState: (state) => {
      discovered = state
    },
    redirectToAuthorization: (url) => recover(SdkRequest.read(url, discovered)),
    saveCodeVerifier: () => undefined,
    codeVerifier: () => Promise.reject(notNeeded()),
    saveTokens: () => Promise.reject(notNeeded())
  }
}

const notNeeded = () =>
  new Error("Do not call finishAuth with this provider: it has logged in already. Connect or call again.")

const bound = (serverUrl: URL) =>
  new Error(
    `The token for ${Endpoint.display(serverUrl)} is bound to a key (DPoP), and an SDK provider cannot prove it: pass fetch to the transport instead, without an authProvider.`
  )

/** The tokens that the SDK asks for, and the recovery from the refusal of one. */
const makeTokens = (auth: Service, run: Run) => {
  const { current } = BearerToken.make(auth.manager)
  const ready = Effect.flatMap(
    auth.token,
    Option.match({ onNone: () => Effect.succeedNone, onSome: () => Effect.asSome(current) })
  )
  let handed = Refusals.none
  return {
    credentials: async (): Promise<Credentials | undefined> => {
      const [credentials, now] = await run(Effect.zip(ready, Clock.currentTimeMillis))
      if (Option.exists(credentials, DPoP.isBound)) throw bound(auth.serverUrl)
      const token = Option.map(credentials, ({ accessToken }) => Redacted.value(accessToken))
      handed = Refusals.handOut(handed, token, now)
      return Option.getOrUndefined(credentials)
    },
    recover: async ({ challenge, isStepUp }: SdkRequest.SdkRequest): Promise<void> => {
      const { refused, state } = Refusals.refuse(handed, await run(Clock.currentTimeMillis))
      handed = state
      if (refused._tag === "Former") return
      const token = refused._tag === "None" ? Option.none() : Option.some(Redacted.make(refused.token))
      await run(
        isStepUp && Option.isSome(token)
          ? auth.insufficientScope(token.value, challenge)
          : auth.unauthorized(token, challenge)
      )
    }
  }
}
