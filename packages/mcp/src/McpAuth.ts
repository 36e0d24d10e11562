/**
 * The login at one MCP server: it returns a valid token, and recovers when the server refuses it.
 *
 * The tokens live in a `TokenStorage`. A `TokenManager` refreshes them under its lease, so all processes that share the
 * storage share one login. A network error never ends a login. The user is asked only if the grant is gone, and once for
 * all waiting callers.
 *
 * @since 0.1.0
 */
import { HttpClient } from "@effect/platform/HttpClient"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import type { TokenConfig } from "@latchkey/core/TokenConfig"
import type { TokenError } from "@latchkey/core/TokenError"
import * as TokenManager from "@latchkey/core/TokenManager"
import { TokenRefresher } from "@latchkey/core/TokenRefresher"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type * as LoginEvent from "@latchkey/oauth/LoginEvent"
import * as Wire from "@latchkey/oauth/Wire"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Discovery from "./Discovery.js"
import * as asking from "./internal/asking.js"
import * as authorizing from "./internal/authorize.js"
import * as boundStorage from "./internal/boundStorage.js"
import * as discover from "./internal/discover.js"
import type { McpEvent } from "./internal/event.js"
import * as Grant from "./internal/grant.js"
import * as leaving from "./internal/logout.js"
import * as refresher from "./internal/refresher.js"
import * as stepUp from "./internal/stepUp.js"
import * as unauthorized from "./internal/unauthorized.js"
import type * as Login from "./Login.js"
import type { LoginFailure } from "./McpError.js"
import type * as Registration from "./Registration.js"

export type { McpEvent } from "./internal/event.js"

/**
 * The settings of a login.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Registration.Options, Endpoint.DiscoveredOptions {
  /** The URL of the MCP server, as its clients use it. */
  readonly serverUrl: string | URL
  /** How the user logs in. Without it, a login that is needed fails with `McpError`, `LoginRequired`. */
  readonly login?: Login.Way | undefined
  /** Scopes to request in addition to those that the server wants. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** The issuer to log in at if the server lists several. Default: the first. */
  readonly authorizationServer?: string | undefined
  /**
   * Whether to use an authorization server that does not advertise PKCE, which the MCP specification forbids. The
   * challenge is sent anyway. Default: no.
   */
  readonly allowUnadvertisedPkce?: boolean | undefined
  /**
   * Whether to bind the tokens to a key (RFC 9449), so that a stolen token is useless. Both servers must support it.
   * The SDK's providers cannot send such tokens: use `McpClient` or `fetch`. Default: no.
   */
  readonly dpop?: boolean | undefined
  /** The name of the grant for the lease. Default: the storage's location. */
  readonly account?: string | undefined
  /** Whether to renew the grant in the background before it is due; see `TokenManager.Options`. */
  readonly renew?: boolean | undefined
  /** How long one request to an authorization server may take. Default and maximum: 30 s. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Receives the events. Default: they are logged. */
  readonly onEvent?: ((event: McpEvent) => Effect.Effect<void>) | undefined
  /** Receives the warnings of the logins. Default: they are logged. */
  readonly onLoginEvent?: LoginEvent.Options["onEvent"]
}

/**
 * The login at one MCP server. Tokens are `Redacted`. All members may be called concurrently.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly serverUrl: URL
  /** The manager of the grant, for its status, its events and `clear`. */
  readonly manager: TokenManager.Manager
  /**
   * Returns a token that is valid now, and refreshes it first if it is due. None until someone logs in, and after the
   * grant has ended: send the request without a token, and pass the server's 401 to `unauthorized`. Never asks the
   * user. Fails if a later call may return a token.
   */
  readonly token: Effect.Effect<Option.Option<Redacted.Redacted>, TokenError>
  /**
   * Call this after the server answered 401 to a request with this token, or without one. Returns another token. It
   * refreshes the token if that is still the current one, and asks the user if the grant is gone or the server now
   * trusts another authorization server.
   */
  readonly unauthorized: (
    refused: Option.Option<Redacted.Redacted>,
    wwwAuthenticate: string | undefined
  ) => Effect.Effect<Redacted.Redacted, LoginFailure>
  /**
   * Call this after the server answered 403 `insufficient_scope` to this token. Asks the user for the missing scopes,
   * and returns a token that has them. Fails with `InsufficientScope` if the user was asked before, or if asking does
   * not help.
   */
  readonly insufficientScope: (
    refused: Redacted.Redacted,
    wwwAuthenticate: string | undefined
  ) => Effect.Effect<Redacted.Redacted, LoginFailure>
  /** Asks the user to log in now, for these scopes in addition to the earlier ones. */
  readonly login: (options?: {
    readonly scopes?: ReadonlyArray<string> | undefined
  }) => Effect.Effect<Redacted.Redacted, LoginFailure>
  /**
   * Ends the grant at the server that issued it, if that supports revocation (RFC 7009), and removes it from the
   * storage. Returns whether there was one. If the grant cannot be ended, it stays: `manager.clear` removes it anyway.
   */
  readonly logout: Effect.Effect<boolean, LoginFailure>
}

/**
 * The login of a program that uses one MCP server.
 *
 * @since 0.1.0
 * @category tags
 */
export class McpAuth extends Context.Tag("@latchkey/mcp/McpAuth")<McpAuth, Service>() {}

/**
 * Makes a tag for one of several servers: `class Notes extends McpAuth.Tag("app/Notes")<Notes>() {}`.
 *
 * @since 0.1.0
 * @category tags
 */
export const Tag =
  <const Id extends string>(id: Id) =>
  <Self>(): Context.TagClass<Self, Id, Service> =>
    Context.Tag(id)<Self, Service>()

type Requirements = TokenStorage | RefreshLease | TokenConfig | HttpClient

/**
 * Makes the login at an MCP server from the services in the context. It lives in the scope. Sends nothing yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Service, OAuthConfigError, Requirements | Scope.Scope> =>
  Effect.gen(function* () {
    const serverUrl = yield* Endpoint.check("serverUrl", options.serverUrl)
    const http = yield* HttpClient
    const wire = yield* Wire.make({ timeout: options.timeout })
    const lease = yield* RefreshLease
    const storage = boundStorage.make(yield* TokenStorage, serverUrl)
    const account = options.account ?? storage.location
    const discovery: discover.Settings = { serverUrl, wire, allowPrivate: options.allowPrivate }
    const serverOf = yield* discover.servers(options)
    const manager = yield* TokenManager.make({
      provider: "mcp",
      account,
      ...(options.renew !== undefined && { renew: options.renew })
    }).pipe(
      Effect.provideService(TokenStorage, storage),
      Effect.provideServiceEffect(
        TokenRefresher,
        refresher.make({ registration: options, timeout: options.timeout, serverOf })
      )
    )
    const grant = Grant.make(manager)
    const report = (event: McpEvent): Effect.Effect<void> =>
      options.onEvent === undefined ? Effect.logInfo(event.message) : options.onEvent(event)
    const logins: authorizing.Parts = { serverUrl, options, grant, wire, discovery, serverOf, report }
    const ask = yield* asking.make({
      serverUrl,
      account,
      lease,
      grant,
      way: options.login,
      authorize: (way, need) =>
        Effect.provideService(authorizing.authorize(logins, way, need), HttpClient, http)
    })
    const stepUps = stepUp.make({ serverUrl, grant, discovery, ask })
    return {
      serverUrl,
      manager,
      token: grant.token,
      unauthorized: yield* unauthorized.make({ grant, discovery, ask }),
      insufficientScope: stepUps.run,
      login: ({ scopes = [] } = {}) =>
        Effect.suspend(() => {
          stepUps.allow(scopes)
          return Effect.flatMap(
            Effect.orElseSucceed(grant.token, Option.none<Redacted.Redacted>),
            (refused) =>
              ask({ reason: "Asked", challenge: Discovery.noChallenge, wanted: scopes, lacking: [], refused })
          )
        }),
      logout: Effect.provideService(leaving.logout({ grant, serverOf, options }), HttpClient, http)
    }
  })

/**
 * Provides {@link make} as a layer, under a tag of your own.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFor = <Self, Id extends string>(
  tag: Context.TagClass<Self, Id, Service>,
  options: Options
): Layer.Layer<Self, OAuthConfigError, Requirements> => Layer.scoped(tag, make(options))

/**
 * Provides {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<McpAuth, OAuthConfigError, Requirements> =>
  layerFor(McpAuth, options)
