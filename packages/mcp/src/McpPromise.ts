/**
 * The login at an MCP server for code without Effect, such as the official SDK: a `fetch`, and providers for the SDK's
 * transports.
 *
 * Tokens are plain strings here: pass them to the client that needs them, and do not log them.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import type { AuthProvider, OAuthClientProvider } from "@modelcontextprotocol/client"
import type { AuthStatus } from "@latchkey/core/AuthStatus"
import * as Recovery from "./internal/recovery.js"
import * as sdk from "./internal/sdkProviders.js"
import { McpAuth, type Service } from "./McpAuth.js"

/**
 * The type of `fetch` in the SDK's transports.
 *
 * @since 0.1.0
 * @category models
 */
export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>

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
  readonly fetch: Fetch
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
  readonly fetch?: Fetch | undefined
}

/**
 * Makes the promises of a login. They work until the scope of the login closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (auth: Service, options: Options = {}): Effect.Effect<McpPromise> =>
  Effect.map(Effect.runtime(), (runtime) => {
    const runExit = Runtime.runPromiseExit(runtime)
    const run = async <A, E>(effect: Effect.Effect<A, E>, signal?: AbortSignal | null): Promise<A> => {
      signal?.throwIfAborted()
      const exit = await runExit(effect, signal == null ? {} : { signal })
      if (Exit.isSuccess(exit)) return exit.value
      signal?.throwIfAborted()
      throw errorOf(exit.cause)
    }
    const token = () =>
      run(Effect.map(auth.token, (current) => Option.getOrUndefined(Option.map(current, Redacted.value))))
    return {
      fetch: makeFetch(auth, run, options.fetch ?? ((url, init) => globalThis.fetch(url, init))),
      provider: sdk.authProvider(auth, run),
      oauthProvider: sdk.oauthClientProvider(auth, run),
      token,
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
  throw errorOf(exit.cause)
}

const makeFetch =
  (auth: Service, run: sdk.Run, send: Fetch): Fetch =>
  async (url, init) => {
    if (new URL(url).origin !== auth.serverUrl.origin) return send(url, init)
    const done = new Set<Recovery.Recovery>()
    while (true) {
      const token = await run(auth.token, init?.signal)
      const headers = new Headers(init?.headers)
      if (Option.isSome(token)) headers.set("authorization", `Bearer ${Redacted.value(token.value)}`)
      else headers.delete("authorization")
      const response = await send(url, { ...init, headers })
      const header = response.headers.get("www-authenticate") ?? undefined
      const recovery = Recovery.of(response.status, header, done)
      if (recovery === "Take") {
        const isRefusedAgain = done.has("Authorize") && response.status === 401
        if (isRefusedAgain && Option.isSome(token)) await run(Effect.ignore(auth.manager.reject(token.value)))
        return response
      }
      done.add(recovery)
      const replaced: Effect.Effect<unknown, unknown> =
        recovery === "StepUp" && Option.isSome(token)
          ? auth.insufficientScope(token.value, header)
          : auth.unauthorized(token, header)
      if (init?.body instanceof ReadableStream) {
        await run(Effect.ignore(replaced), init.signal)
        return response
      }
      await response.body?.cancel().catch(() => undefined)
      await run(replaced, init?.signal)
    }
  }

/** Returns the failure if it is an `Error`. Any other value may contain a secret, so the message does not quote it. */
const errorOf = (cause: Cause.Cause<unknown>): Error => {
  if (Cause.isInterruptedOnly(cause))
    return new Error("The call was interrupted: the login is closed or closing")
  const failure = Cause.squash(cause)
  return failure instanceof Error
    ? failure
    : new Error("The call failed with a value that is not an Error: see the cause", { cause: failure })
}
