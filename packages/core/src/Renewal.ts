/**
 * Renewal without being asked: each grant is renewed a while before it expires, so that callers find a valid token and
 * never wait for one.
 *
 * One fiber serves any number of grants. A renewal never delays a caller, and runs within limits: over all servers, and at
 * each. Renewals are spread over a window by account and instance: accounts that expire together are not renewed together, and
 * of several instances that share an account one comes first, and the others find it done. A failed renewal waits for the
 * grant's cool-down, and a dead grant for a change in storage.
 *
 * @since 0.1.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Renewer from "./internal/Renewer.js"
import { count, invalid, millis } from "./internal/Settings.js"

/**
 * The settings; each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many renewals run at a time over all servers; default 64. Accounts whose last refresh failed have at most half.
   * Callers are bounded at their server alone.
   */
  readonly concurrency?: number
  /**
   * How many refreshes run at a time at one server; default 16. Renewals have at most three quarters, and accounts whose
   * last refresh failed at most half: with fewer than 2 they are not kept apart.
   */
  readonly perServer?: number
  /** How many refreshes begin within a second at one server; default: no limit. */
  readonly perSecond?: number
  /**
   * Over how long before the grace of a token renewals are spread; default 2 minutes, and at most a quarter of the token's
   * lifetime. The more accounts expire together, the longer it needs to be.
   */
  readonly window?: Duration.DurationInput
  /**
   * How long at most until a clock that was set, or a machine that slept, is noticed; default a minute, and at most a day.
   */
  readonly lookEvery?: Duration.DurationInput
}

/**
 * What there is to renew now.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** Grants whose time is known and has not come. */
  readonly scheduled: number
  /** Grants that are due and wait for their turn. */
  readonly waiting: number
  /** Renewals under way. */
  readonly running: number
  /** When the next one is due, epoch milliseconds; Infinity where none is. */
  readonly nextAt: number
}

/**
 * The renewal. In context, it serves every `TokenManager` and `TokenManagers` that is made there: provide {@link layer} to
 * their layers.
 *
 * @since 0.1.0
 * @category tags
 */
export class Renewal extends Context.Tag("@latchkey/core/Renewal")<
  Renewal,
  {
    readonly status: Effect.Effect<Status>
    /** @internal */
    readonly renewer: Renewer.Renewer
  }
>() {}

/**
 * A renewal that stops with the scope. A setting that cannot work is a `ConfigError` that names it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<Renewal>, ConfigError.ConfigError, Scope.Scope> =>
  Effect.gen(function* () {
    const lookEvery = yield* millis("lookEvery", options.lookEvery ?? "1 minute")
    if (lookEvery < 1) return yield* invalid("lookEvery", "must be a millisecond at least")
    const renewer = yield* Renewer.make({
      concurrency: yield* count("concurrency", options.concurrency ?? 64),
      perServer: yield* count("perServer", options.perServer ?? 16),
      perSecond: yield* rate(options.perSecond ?? Infinity),
      window: yield* millis("window", options.window ?? "2 minutes"),
      lookEvery: Math.min(lookEvery, longestSleep)
    })
    return Renewal.of({ renewer, status: renewer.status })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Renewal, ConfigError.ConfigError> =>
  Layer.scoped(Renewal, make(options))

/** Timers of JavaScript end at once where they are set for more than 24 days. */
const longestSleep = 86_400_000

const rate = (value: number) =>
  value > 0 ? Either.right(value) : invalid("perSecond", "must be a number above 0")
