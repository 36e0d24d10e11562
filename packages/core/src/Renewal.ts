/**
 * Renewal without being asked: each grant a while before it expires, so that callers always find a valid
 * token and never wait for one.
 *
 * One scheduler serves any number of grants, with one fiber and one timer: the earliest first, at most so many
 * at a time, in all and at each server. When a grant is renewed is spread by account and instance: those that
 * expire together are not renewed together, and of several instances that share an account another one comes
 * first for each; the others find it done and post nothing. A failed renewal waits for the grant's cool-down,
 * and a dead grant for a change in storage.
 *
 * The clock is looked at whenever the scheduler wakes, and at least every `lookEvery`: after the machine slept
 * or its clock was set, what is due by then is renewed at once.
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
import * as Scheduler from "./internal/Scheduler.js"
import { count, invalid, millis } from "./internal/Settings.js"

/**
 * The settings; each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many renewals run at a time, over all servers; 64. Accounts whose last refresh failed have no more than
   * half. Callers who wait are bounded at their server alone.
   */
  readonly concurrency?: number
  /**
   * How many refreshes run at a time at one server; 16. A quarter of them is kept for callers who wait, and
   * accounts whose last refresh failed have no more than half. So it needs no fewer than 2 for them to be kept
   * apart.
   */
  readonly perServer?: number
  /** How many refreshes begin within a second at one server; no limit unless given. */
  readonly perSecond?: number
  /**
   * Over how long before the grace of a token renewals are spread; 2 minutes, and at most a quarter of the
   * token's lifetime. The more accounts expire together, the longer it needs to be.
   */
  readonly window?: Duration.DurationInput
  /** How long the scheduler sleeps at most before it looks at the clock again; a minute, and at most a day. */
  readonly lookEvery?: Duration.DurationInput
}

/**
 * What the scheduler has to do now.
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
 * The scheduler. In context, it serves every `TokenManager` and `TokenManagers` that is made there: provide
 * {@link layer} to their layers.
 *
 * @since 0.1.0
 * @category tags
 */
export class Renewal extends Context.Tag("@latchkey/core/Renewal")<
  Renewal,
  {
    readonly status: Effect.Effect<Status>
    /** @internal */
    readonly scheduler: Scheduler.Scheduler
    /** @internal */
    readonly window: number
  }
>() {}

/**
 * A scheduler that stops with the scope. A setting that cannot work is a `ConfigError` that names it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<Context.Tag.Service<Renewal>, ConfigError.ConfigError, Scope.Scope> =>
  Effect.gen(function* () {
    const window = yield* millis("window", options.window ?? "2 minutes")
    const lookEvery = yield* millis("lookEvery", options.lookEvery ?? "1 minute")
    if (lookEvery < 1) return yield* invalid("lookEvery", "must be a millisecond at least")
    const scheduler = yield* Scheduler.make({
      concurrency: yield* count("concurrency", options.concurrency ?? 64),
      server: {
        places: yield* count("perServer", options.perServer ?? 16),
        perSecond: yield* rate(options.perSecond ?? Infinity)
      },
      lookEvery: Math.min(lookEvery, longestSleep)
    })
    return Renewal.of({
      scheduler,
      window,
      status: Effect.sync(() => ({
        scheduled: scheduler.heap.size,
        waiting: scheduler.lanes.waiting,
        running: scheduler.runningTasks,
        nextAt: scheduler.heap.earliest?.at ?? Infinity
      }))
    })
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
