/**
 * The login at an MCP server for code without Effect, such as the official SDK: a `fetch`, and providers for the SDK's
 * transports.
 *
 * Tokens are plain strings here: pass them to the client that needs them, and do not log them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { AuthProvider, OAuthClientProvider } from "@modelcontextprotocol/client"
import type { AuthStatus } from "@latchkey/core/AuthStatus"
import { Fibers } from "@latchkey/core/internal-api"
import * as Run from "./internal/run.js"
import * as sdk from "./internal/sdkProviders.js"
import * as tokenFetch from "./internal/tokenFetch.js"
import { McpAuth, type Service } from "./McpAuth.js"

export type { Fetch } from "./internal/tokenFetch.js"

/**
 * The login at an MCP server in promises; see `McpAuth.Service`. A failure rejects with the error itself, with its `_tag`
 * and `reason`.
 *
 * @since 0.1.0
 * @category models
 */
export interface McpPromise {
  /**
   * A `fetch` whose requests to the server's origin carry the token. Pass it to the SDK's transport as `fetch`, without
   * an `authProvider`. After a 401, it replaces the token by a refresh or a login, and after a 403 `insufficient_scope`
   * by a step-up. Each happens once for a request. Then the request is sent again, unless its body is a stream.
   */
  readonly fetch: tokenFetch.Fetch
  /**
   * An `authProvider` for the SDK's transports. It does not see a 403: the transport throws `InsufficientScopeError`.
   * Pass its scopes to `login`. Prefer `fetch`, which knows which token was refused.
   */
  readonly provider: Required<AuthProvider>
  /**
   * An `OAuthClientProvider`, for code that accepts nothing else. The SDK gets no refresh token and makes no login of its
   * own. It cannot learn that a refused token has been replaced: after each recovery from a 401 or 403, that call still
   * fails with the SDK's `UnauthorizedError`. Then call or connect again, without `finishAuth`.
   */
  readonly oauthProvider: OAuthClientProvider
  /** Returns a token that is valid now. Undefined until someone logs in. */
  readonly token: () => Promise<string | undefined>
  /** Asks the user to log in now. */
  readonly login: (options?: { readonly scopes?: ReadonlyArray<string> | undefined }) => Promise<string>
  /** Ends the grant at its server, and removes it from the storage. Returns whether there was one. */
  readonly logout: () => Promise<boolean>
  readonly status: () => Promise<AuthStatus>
}

/**
 * A login that owns its layer.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnMcpPromise extends McpPromise {
  /** Waits for a running refresh and its commit, then releases all resources. */
  readonly close: () => Promise<void>
}

/**
 * Options of {@link make} and {@link open}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Sends the requests. Default: the global `fetch`. */
  readonly fetch?: tokenFetch.Fetch | undefined
}

/**
 * Makes the promises of a login. They work until the scope of the login closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (auth: Service, options: Options = {}): Effect.Effect<McpPromise> =>
  Effect.gen(function* () {
    const run = Run.make(yield* Fibers.running())
    return {
      fetch: yield* tokenFetch.make(auth, run, options.fetch ?? ((url, init) => globalThis.fetch(url, init))),
      provider: sdk.authProvider(auth, run),
      oauthProvider: sdk.oauthClientProvider(auth, run),
      token: () =>
        run(Effect.map(auth.token, (current) => Option.getOrUndefined(Option.map(current, Redacted.value)))),
      login: (asked) => run(Effect.map(auth.login(asked), Redacted.value)),
      logout: () => run(auth.logout),
      status: () => run(auth.manager.status)
    }
  })

/**
 * Builds the layer and returns its login in promises. A program without Effect needs nothing else. Rejects if the layer
 * cannot be built. Call `close` at the end of the program.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = async <E>(
  layer: Layer.Layer<McpAuth, E>,
  options: Options = {}
): Promise<OwnMcpPromise> => {
  const runtime = ManagedRuntime.make(layer)
  const exit = await runtime.runPromiseExit(Effect.flatMap(McpAuth, (auth) => make(auth, options)))
  if (Exit.isSuccess(exit)) return { ...exit.value, close: () => runtime.dispose() }
  // The failure to build the layer matters more than a failure to release it.
  await runtime.dispose().catch(() => undefined)
  throw Run.errorOf(exit.cause)
}
