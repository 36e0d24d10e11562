/**
 * The policy of a manager, as a service: how long to trust memory, when a token is due, and how long to wait.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Problems from "./edition/Problems.js"
import type { Policy } from "./grant/Decision.js"
import * as Settings from "./internal/Settings.js"
import { invalid, millis } from "./internal/Settings.js"

/**
 * The settings. Each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long credentials in memory are trusted before storage is read again. Default: 30 s. */
  readonly credentialsTtl?: Duration.DurationInput
  /**
   * How long before its expiry a token is due. At most half of the token's lifetime counts. Default: 120 s.
   */
  readonly refreshGrace?: Duration.DurationInput
  /**
   * What happens within the grace. `wait` waits for the refresh, for at most `patience`. `background` serves
   * the token at once and refreshes in the background.
   */
  readonly refreshMode?: "wait" | "background"
  /**
   * Within the grace, how long a caller waits for a refresh before it gets the token that is still valid.
   * Default: 10 s.
   */
  readonly patience?: Duration.DurationInput
  /** For `background`: the share of the grace that jitter may take away, from 0 to 1. Default: 0.5. */
  readonly jitter?: number
  /** A name that gives this instance its own jitter. Default: random. */
  readonly instance?: string
  /** How long one whole refresh may take. Default: 30 s. */
  readonly refreshTimeout?: Duration.DurationInput
  /** How long the lease lasts without renewal. Must be longer than `refreshTimeout`. Default: 60 s. */
  readonly leaseTtl?: Duration.DurationInput
  /** How long to wait for another holder's refresh. Default: 45 s. */
  readonly leaseWait?: Duration.DurationInput
  /** The first cool-down after a failure. Each further failure doubles it. Default: 1 s. */
  readonly coolDownBase?: Duration.DurationInput
  /**
   * The longest cool-down that the manager chooses. A server's `Retry-After` may be longer. Default: 5 min.
   */
  readonly coolDownMax?: Duration.DurationInput
  /** How long `cachedStatus` may be served from memory. Default: 60 s. */
  readonly statusTtl?: Duration.DurationInput
}

/**
 * The policy as the manager reads it: milliseconds, checked.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenConfig extends Context.Tag("@latchkey/core/TokenConfig")<
  TokenConfig,
  Policy & {
    readonly patience: number
    readonly instance: string | undefined
    readonly refreshTimeout: number
    readonly leaseTtl: number
    readonly leaseWait: number
    readonly statusTtl: number
  }
>() {}

/**
 * The default settings.
 *
 * @since 0.1.0
 * @category constructors
 */
export const defaults = {
  credentialsTtl: "30 seconds",
  refreshGrace: "120 seconds",
  refreshMode: "wait",
  patience: "10 seconds",
  jitter: 0.5,
  refreshTimeout: "30 seconds",
  leaseTtl: "60 seconds",
  leaseWait: "45 seconds",
  coolDownBase: "1 second",
  coolDownMax: "5 minutes",
  statusTtl: "60 seconds"
} as const satisfies Options

/**
 * Checks the settings and returns the policy. Fails with a `ConfigError` that names a setting that cannot
 * work.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Either.Either<Context.Tag.Service<TokenConfig>, ConfigError.ConfigError> => {
  const o = { ...defaults, ...options }
  return Either.gen(function* () {
    const refreshTimeout = yield* millis("refreshTimeout", o.refreshTimeout)
    const leaseTtl = yield* millis("leaseTtl", o.leaseTtl)
    if (leaseTtl <= refreshTimeout) {
      return yield* invalid(
        "leaseTtl",
        "must be longer than refreshTimeout, or a refresh can outlive its lease"
      )
    }
    if (!(o.jitter >= 0 && o.jitter <= 1)) return yield* invalid("jitter", "must be a number from 0 to 1")
    return {
      credentialsTtl: yield* millis("credentialsTtl", o.credentialsTtl),
      grace: yield* millis("refreshGrace", o.refreshGrace),
      mode: o.refreshMode,
      patience: yield* millis("patience", o.patience),
      jitter: o.jitter,
      instance: o.instance,
      refreshTimeout,
      leaseTtl,
      leaseWait: yield* millis("leaseWait", o.leaseWait),
      coolDownBase: yield* millis("coolDownBase", o.coolDownBase),
      coolDownMax: yield* millis("coolDownMax", o.coolDownMax),
      statusTtl: yield* millis("statusTtl", o.statusTtl)
    }
  })
}

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<TokenConfig, ConfigError.ConfigError> =>
  Layer.effect(TokenConfig, make(options))

const seconds = (name: string) =>
  Problems.textSetting(name, (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text)
    return Number.isFinite(value) && value >= 0
      ? Either.right(Duration.seconds(value))
      : Either.left(
          `${name} must be a number of seconds, finite and not negative; it is ${JSON.stringify(text.slice(0, 40))}`
        )
  })

/**
 * {@link layer}, with two settings read from the configuration if they are there, in seconds:
 * `AUTH__CREDENTIALS_TTL_SECONDS` and `AUTH__REFRESH_GRACE_SECONDS`. A value that is not a finite
 * non-negative number is a `ConfigError` that names the variable, never a silent default.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Options = {}): Layer.Layer<TokenConfig, ConfigError.ConfigError> =>
  Layer.effect(
    TokenConfig,
    Effect.gen(function* () {
      const credentialsTtl = yield* optionalSeconds("AUTH__CREDENTIALS_TTL_SECONDS")
      const refreshGrace = yield* optionalSeconds("AUTH__REFRESH_GRACE_SECONDS")
      return yield* make({
        ...options,
        ...(credentialsTtl && { credentialsTtl }),
        ...(refreshGrace && { refreshGrace })
      })
    })
  )

/** An absent variable is undefined. An invalid one stays an error. */
const optionalSeconds = (name: string): Config.Config<Duration.Duration | undefined> =>
  Config.withDefault(seconds(name), undefined)

/**
 * Converts a duration setting to milliseconds. NaN if it is negative or not a duration. `Duration.toMillis`
 * takes such input for zero, or throws.
 *
 * @since 0.1.0
 * @category utils
 */
export const millisOf: (input: Duration.DurationInput) => number = Settings.millisOf
