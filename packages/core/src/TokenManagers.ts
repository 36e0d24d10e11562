/**
 * Many accounts, known only at run time: one manager each, made when first asked for, shared while in use,
 * released when idle.
 *
 * @since 0.1.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RcMap from "effect/RcMap"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { RefreshLease } from "./RefreshLease.js"
import type { TokenConfig } from "./TokenConfig.js"
import type { TokenError } from "./TokenError.js"
import * as TokenManager from "./TokenManager.js"
import type { TokenRefresher } from "./TokenRefresher.js"
import type { StorageError, TokenStorage } from "./TokenStorage.js"

/**
 * What can go wrong in setting up an account's manager.
 *
 * @since 0.1.0
 * @category errors
 */
export type SetupError = StorageError | ConfigError.ConfigError

/**
 * The pool.
 *
 * @since 0.1.0
 * @category models
 */
export interface Managers {
  /** The account's manager, shared with all who hold it; kept alive by the scope. */
  readonly get: (account: string) => Effect.Effect<TokenManager.Manager, SetupError, Scope.Scope>
  /** A valid token of the account. */
  readonly getAccessToken: (account: string) => Effect.Effect<Redacted.Redacted, TokenError | SetupError>
  /** The accounts whose managers are alive. */
  readonly accounts: Effect.Effect<ReadonlyArray<string>>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class TokenManagers extends Context.Tag("@latchkey/core/TokenManagers")<TokenManagers, Managers>() {}

/**
 * How an account's services come about, and when an idle one is let go.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<R> {
  /** The services of one account; built once for as long as its manager lives. */
  readonly services: (
    account: string
  ) => Layer.Layer<TokenStorage | RefreshLease | TokenRefresher | TokenConfig, SetupError, R>
  /** How long a manager that nobody holds is kept; a minute unless given. */
  readonly idleTimeToLive?: Duration.DurationInput
  readonly provider?: string
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <R>(options: Options<R>): Effect.Effect<Managers, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const pool = yield* RcMap.make({
      idleTimeToLive: options.idleTimeToLive ?? "1 minute",
      lookup: (account: string) =>
        Effect.flatMap(Layer.build(options.services(account)), (services) =>
          Effect.provide(
            TokenManager.make({
              account,
              ...(options.provider === undefined ? {} : { provider: options.provider })
            }),
            services
          )
        )
    })
    return {
      get: (account) => RcMap.get(pool, account),
      getAccessToken: (account) =>
        Effect.scoped(Effect.flatMap(RcMap.get(pool, account), (manager) => manager.getAccessToken)),
      accounts: Effect.orElseSucceed(RcMap.keys(pool), () => [])
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = <R>(options: Options<R>): Layer.Layer<TokenManagers, never, R> =>
  Layer.scoped(TokenManagers, make(options))
