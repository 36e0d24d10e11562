/**
 * The metrics of the managers of this process, by OpenTelemetry's conventions: names with dots, durations in
 * seconds, counts from the histograms. No tag has as many values as there are accounts, except on the sampled
 * gauges.
 *
 * Serving a cached token records nothing. Refreshes feed the histograms, and {@link sample} reads the age of
 * the token in use.
 *
 * | metric | tags besides `latchkey.provider` |
 * |---|---|
 * | `latchkey.events` | `latchkey.event` |
 * | `latchkey.refresh.duration` | `latchkey.refresh.outcome` (`refreshed`, `adopted`, `failed`), `error.type` |
 * | `latchkey.refresh.token.age`, `latchkey.refresh.token.time_to_expiry` | |
 * | `latchkey.lease.wait.duration` | |
 * | `latchkey.cool_down.duration` | `latchkey.cool_down.reason` |
 * | `latchkey.rotation.unsaved` | |
 * | `latchkey.token.age`, `latchkey.token.time_to_expiry` | `latchkey.account` |
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Credentials } from "./Credentials.js"
import { seconds, secondsNow, set, type Gauge } from "./edition/Observing.js"
import { timeToExpiry } from "./grant/Expiry.js"

/** OpenTelemetry's advice for request durations, extended to the longest refresh. */
const ofRequests = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60]
/** From short-lived tokens to those of a month. */
const ofTokens = [0, 1, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 28_800, 86_400, 604_800, 2_592_000]

/**
 * The events of the grants, by kind. See `TokenEvent`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const events = Metric.counter("latchkey.events", {
  description: "Events of the grants of this process, by kind",
  incremental: true
})

/**
 * One refresh, from the wait for the lease to the commit. Its count by outcome is the count of refreshes.
 *
 * @since 0.1.0
 * @category metrics
 */
export const refreshDuration = seconds(
  "latchkey.refresh.duration",
  "How long refreshes took, from the wait for the lease to the commit",
  ofRequests
)

/**
 * How old the replaced token was when a newer one took its place: the greatest age that was served.
 *
 * @since 0.1.0
 * @category metrics
 */
export const refreshTokenAge = seconds(
  "latchkey.refresh.token.age",
  "Age of the access token in use when a newer one took its place",
  ofTokens
)

/**
 * How long the replaced token was still valid when a newer one took its place. 0 if it had expired, so that
 * callers had to wait.
 *
 * @since 0.1.0
 * @category metrics
 */
export const refreshTimeToExpiry = seconds(
  "latchkey.refresh.token.time_to_expiry",
  "Time that the access token in use had left when a newer one took its place",
  ofTokens
)

/**
 * How long refreshes waited for the lease that they got.
 *
 * @since 0.1.0
 * @category metrics
 */
export const leaseWait = seconds(
  "latchkey.lease.wait.duration",
  "How long refreshes waited for their lease",
  ofRequests
)

/**
 * How long nothing is sent, after failures and after a server asked for a pause.
 *
 * @since 0.1.0
 * @category metrics
 */
export const coolDown = seconds("latchkey.cool_down.duration", "How long grants cool down", ofTokens)

/**
 * How many grants have credentials that storage does not hold yet. If the process dies, these are lost.
 * Repair the storage first.
 *
 * @since 0.1.0
 * @category metrics
 */
export const unsaved = Metric.counter("latchkey.rotation.unsaved", {
  description: "Grants whose newest credentials are not in storage yet"
})

/**
 * @since 0.1.0
 * @category metrics
 */
export const tokenAge = secondsNow("latchkey.token.age", "Age of the access token in use")

/**
 * Negative once it has expired.
 *
 * @since 0.1.0
 * @category metrics
 */
export const tokenTimeToExpiry = secondsNow(
  "latchkey.token.time_to_expiry",
  "Time that the access token in use has left"
)

/**
 * The part of a `TokenManager` that {@link sample} reads.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sampled {
  readonly location: string
  readonly credentials: Effect.Effect<Option.Option<Credentials>, unknown>
}

/**
 * Sets the gauges of one grant, {@link tokenAge} and {@link tokenTimeToExpiry}. It reads storage as
 * `credentials` does. Each account has its own gauges, so use this for a few grants, not for hundreds of
 * thousands.
 *
 * @since 0.1.0
 * @category observability
 */
export const sample = (
  manager: Sampled,
  options: { readonly provider?: string; readonly account?: string } = {}
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const credentials = yield* Effect.orElseSucceed(manager.credentials, Option.none)
    if (Option.isNone(credentials)) return
    const now = yield* Clock.currentTimeMillis
    const tags = {
      "latchkey.provider": options.provider ?? "oauth",
      "latchkey.account": options.account ?? manager.location
    }
    const show = (gauge: Gauge, millis: Option.Option<number>) =>
      Option.isNone(millis) ? Effect.void : set(gauge, millis.value / 1000, tags)
    yield* show(
      tokenAge,
      Option.map(credentials.value.obtainedAt, (at) => Math.max(0, now - at))
    )
    yield* show(tokenTimeToExpiry, timeToExpiry(credentials.value, now))
  })

/**
 * Samples a manager periodically while the layer lives, every 10 seconds by default:
 * `TokenMetrics.layerSampled(TokenManager.TokenManager)`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSampled = <Self, Service extends Sampled>(
  tag: Context.Tag<Self, Service>,
  options: {
    readonly provider?: string
    readonly account?: string
    readonly every?: Duration.DurationInput
  } = {}
): Layer.Layer<never, never, Self> =>
  Layer.scopedDiscard(
    Effect.flatMap(tag, (manager) =>
      sample(manager, options).pipe(
        Effect.repeat(Schedule.spaced(options.every ?? "10 seconds")),
        Effect.forkScoped
      )
    )
  )
