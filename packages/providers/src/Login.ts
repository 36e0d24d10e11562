/**
 * Gets the first grant of a provider, by each way that the provider offers. The result is ready to save.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import * as BrowserLogin from "@latchkey/oauth/BrowserLogin"
import * as DeviceLogin from "@latchkey/oauth/DeviceLogin"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import { fromRequest, type LoginError } from "@latchkey/oauth/LoginError"
import type * as LoginEvent from "@latchkey/oauth/LoginEvent"
import * as ManualLogin from "@latchkey/oauth/ManualLogin"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { pending } from "./internal/pending.js"
import * as Wire from "./internal/wire.js"
import { type Login, type Provider, ProviderError } from "./Provider.js"
import * as Refresher from "./Refresher.js"

/**
 * What a login may request instead of the provider's settings.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Pick<LoginEvent.Options, "onEvent"> {
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Additional parameters of the authorization URL: `login_hint`, `prompt`. */
  readonly authorizationParameters?: Readonly<Record<string, string>> | undefined
}

/**
 * Why a login brought no grant.
 *
 * @since 0.1.0
 * @category errors
 */
export type Failure = LoginError | OAuthConfigError | ProviderError

/**
 * Logs in with the browser of this machine.
 *
 * @since 0.1.0
 * @category logins
 */
export const browser = <E, R>(
  provider: Provider,
  options: Options & Pick<BrowserLogin.Options<E, R>, "openUrl" | "patience" | "redirectUri">
): Effect.Effect<Credentials, Failure | E, HttpClient | R> =>
  Effect.gen(function* () {
    const common = yield* codeOptions(provider, "browser", options)
    return yield* BrowserLogin.login({
      ...common,
      openUrl: options.openUrl,
      patience: options.patience,
      redirectUri: options.redirectUri ?? provider.login.redirectUri
    })
  }).pipe(Effect.flatMap(complete(provider)))

/**
 * Logs in with any browser. The user pastes the response.
 *
 * @since 0.1.0
 * @category logins
 */
export const manual = <E, R>(
  provider: Provider,
  options: Options & Pick<ManualLogin.Options<E, R>, "ask" | "redirectUri">
): Effect.Effect<Credentials, Failure | E, HttpClient | R> =>
  Effect.gen(function* () {
    const common = yield* codeOptions(provider, "manual", options)
    const { manualRedirectUri, redirectUri } = provider.login
    return yield* ManualLogin.login({
      ...common,
      ask: options.ask,
      redirectUri: options.redirectUri ?? manualRedirectUri ?? redirectUri
    })
  }).pipe(Effect.flatMap(complete(provider)))

/**
 * Logs in on another device, with a short code.
 *
 * @since 0.1.0
 * @category logins
 */
export const device = <E, R>(
  provider: Provider,
  options: Options & Pick<DeviceLogin.Options<E, R>, "prompt">
): Effect.Effect<Credentials, Failure | E, HttpClient | R> =>
  Effect.gen(function* () {
    yield* offered(provider, "device")
    return yield* DeviceLogin.login({
      ...(yield* Wire.endpointOf(provider)),
      scopes: options.scopes ?? provider.scopes,
      deviceParameters: provider.login.deviceParameters,
      expectsRefreshToken: expectsRefreshToken(provider),
      onEvent: options.onEvent,
      prompt: options.prompt
    })
  }).pipe(Effect.flatMap(complete(provider)))

/**
 * Gets a token for the client itself, without a user.
 *
 * @since 0.1.0
 * @category logins
 */
export const clientCredentials = (
  provider: Provider,
  options: Pick<Options, "scopes"> = {}
): Effect.Effect<Credentials, Failure, HttpClient> =>
  Effect.gen(function* () {
    yield* offered(provider, "clientCredentials")
    const refresher = yield* Refresher.forClient(provider, options.scopes)
    return yield* Effect.mapError(refresher.refresh(Option.none()), fromRequest)
  })

const offered = (provider: Provider, way: Login): Either.Either<void, ProviderError> =>
  provider.login.ways.includes(way)
    ? Either.right(undefined)
    : Either.left(
        new ProviderError({
          reason: "NotOffered",
          provider: provider.id,
          message: `${provider.displayName} offers no login by ${words[way]}: use ${provider.login.ways.map((w) => words[w]).join(" or ")}.`
        })
      )

const words: Record<Login, string> = {
  browser: "browser",
  device: "device code",
  manual: "pasting the code",
  clientCredentials: "client credentials"
}

const codeOptions = (provider: Provider, way: Login, options: Options) =>
  Either.gen(function* () {
    yield* offered(provider, way)
    const { authorizationParameters, promptForConsent, pushAuthorizationRequest, sendState } = provider.login
    return {
      ...(yield* Wire.endpointOf(provider)),
      scopes: options.scopes ?? provider.scopes,
      authorizationParameters: { ...authorizationParameters, ...options.authorizationParameters },
      promptForConsent,
      pushAuthorizationRequest,
      expectsRefreshToken: expectsRefreshToken(provider),
      onEvent: options.onEvent,
      sendState
    }
  })

/** Undefined: use the default for the server. Other grants than the refresh grant are renewed without it. */
const expectsRefreshToken = ({ login, refresh }: Provider): boolean | undefined =>
  refresh.by === "refreshToken" ? login.expectsRefreshToken : false

/**
 * Completes what a login brought for storage. If its token is only good for an exchange, it gets the
 * exchanged token and keeps both. If that fails now, the login still succeeds, and the first refresh gets it.
 */
const complete =
  (provider: Provider) =>
  (credentials: Credentials): Effect.Effect<Credentials, Failure, HttpClient> =>
    Effect.gen(function* () {
      if (provider.refresh.by !== "exchange") return Wire.finish(provider)(credentials)
      const kept = pending(credentials, yield* Clock.currentTimeMillis)
      const refresher = yield* Refresher.make(provider)
      return yield* Effect.catchAll(refresher.refresh(Option.some(kept)), (error) =>
        error.reason === "NotSent" || error.reason === "MaybeSent" || error.reason === "Transient"
          ? Effect.succeed(kept)
          : Effect.fail(fromRequest(error))
      )
    })
