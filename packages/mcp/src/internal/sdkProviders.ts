/** The two kinds of providers that the official SDK's transports take. */
import type { AuthProvider, OAuthClientProvider, OAuthDiscoveryState } from "@modelcontextprotocol/client"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Service } from "../McpAuth.js"
import * as Refusals from "./refusals.js"
import * as SdkRequest from "./sdkRequest.js"

export type Run = <A, E>(effect: Effect.Effect<A, E>, signal?: AbortSignal | null) => Promise<A>

export const authProvider = (auth: Service, run: Run): Required<AuthProvider> => {
  const { recover, token } = makeTokens(auth, run)
  return {
    token,
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
  const { recover, token } = makeTokens(auth, run)
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
      const current = await token()
      if (current === undefined) return undefined
      const credentials = await run(auth.manager.credentials)
      const scopes = Option.match(credentials, { onNone: () => [], onSome: ({ scopes }) => scopes })
      return {
        access_token: current,
        token_type: "Bearer",
        scope: [...scopes, SdkRequest.stepUpMark].join(" ")
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

/** The tokens that the SDK asks for, and the recovery from the refusal of one. */
const makeTokens = (auth: Service, run: Run) => {
  let handed = Refusals.none
  return {
    token: async (): Promise<string | undefined> => {
      const [current, now] = await run(Effect.zip(auth.token, Clock.currentTimeMillis))
      const token = Option.map(current, Redacted.value)
      handed = Refusals.handOut(handed, token, now)
      return Option.getOrUndefined(token)
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
