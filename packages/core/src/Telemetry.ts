/**
 * Metrics, structured logs and the refresh span, from events and from two states. Starts nothing and decides nothing.
 * Never shows a secret.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as LogLevel from "effect/LogLevel"
import type * as Metric from "effect/Metric"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { timeToExpiry } from "./grant/Expiry.js"
import type { Failure, State } from "./grant/State.js"
import * as GrantState from "./grant/State.js"
import type { TokenEvent } from "./TokenEvent.js"
import * as TokenMetrics from "./TokenMetrics.js"

/** Whose grant it is, for the tags of metrics, logs and spans. */
export interface Names {
  readonly provider: string
  readonly account: string
}

const tagsOf = ({ account, provider }: Names) => ({
  "latchkey.provider": provider,
  "latchkey.account": account
})

type Numbers<Type, Out> = Metric.Metric<Type, number, Out>

type Tags = Readonly<Record<string, string>>

const labels = new Map<string, ReadonlyArray<MetricLabel.MetricLabel>>()

/** The same array each time, by which a metric finds its hook. There are as many as there are providers and reasons. */
const labelsOf = (provider: string, tags: Tags): ReadonlyArray<MetricLabel.MetricLabel> => {
  const key = [provider, ...Object.values(tags)].join("\n")
  const known = labels.get(key)
  if (known !== undefined) return known
  const made = Object.entries({ "latchkey.provider": provider, ...tags }).map(([name, value]) =>
    MetricLabel.make(name, value)
  )
  labels.set(key, made)
  return made
}

type Measure = <Type, Out>(metric: Numbers<Type, Out>, value: number, tags?: Tags) => void

/** Updates metrics by the labels of the fiber, all in one step. */
const measuring = (
  { provider }: Names,
  update: (measure: Measure, fiber: Fiber.RuntimeFiber<void>) => Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    const around = fiber.getFiberRef(FiberRef.currentMetricLabels)
    return update((metric, value, tags = {}) => {
      const own = labelsOf(provider, tags)
      metric.unsafeUpdate(value, around.length === 0 ? own : [...own, ...around])
    }, fiber)
  })

/** Counts and logs an event. `before` is what callers had until then. Where nobody reads the log, nothing is made for it. */
export const record = (names: Names, event: TokenEvent, before: State): Effect.Effect<void> =>
  measuring(names, (measure, fiber) => {
    measure(TokenMetrics.events, 1, { "latchkey.event": event._tag })
    measureEvent(measure, event, before)
    const level = worrying.has(event._tag) ? LogLevel.Warning : LogLevel.Debug
    const isRead = LogLevel.greaterThanEqual(level, fiber.getFiberRef(FiberRef.currentMinimumLogLevel))
    return isRead ? log(names, event, level) : Effect.void
  })

const measureEvent = (measure: Measure, event: TokenEvent, before: State): void => {
  if (event._tag === "CoolingDown") {
    measure(TokenMetrics.coolDown, Math.max(0, event.until - event.at) / 1000, {
      "latchkey.cool_down.reason": event.reason
    })
  }
  const replaced = event._tag === "Refreshed" ? GrantState.credentialsOf(before) : Option.none()
  if (Option.isNone(replaced)) return
  const { obtainedAt } = replaced.value
  const left = timeToExpiry(replaced.value, event.at)
  const seconds = (millis: number) => Math.max(0, millis) / 1000
  if (Option.isSome(obtainedAt)) measure(TokenMetrics.refreshTokenAge, seconds(event.at - obtainedAt.value))
  if (Option.isSome(left)) measure(TokenMetrics.refreshTimeToExpiry, seconds(left.value))
}

/** Up when storage does not take a rotation, down when it has, or when nobody can say any more. */
export const countUnsaved = (names: Names, before: State, after: State): Effect.Effect<void> => {
  const change = Number(GrantState.isSaveOverdue(after)) - Number(GrantState.isSaveOverdue(before))
  if (change === 0) return Effect.void
  return measuring(names, (measure) => {
    measure(TokenMetrics.unsaved, change)
    return Effect.void
  })
}

/** How a flight ended: with a failure or none, and when it had its lease. */
export interface Outcome {
  readonly failure: Option.Option<Failure>
  readonly leasedAt: Option.Option<number>
}

/** A flight in its span, timed, and counted by what came of it. */
export const flight = (
  names: Names,
  state: () => State,
  effect: Effect.Effect<Outcome>
): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (began) => {
    const { answers } = state()
    return Effect.flatMap(Effect.zip(effect, Clock.currentTimeMillis), ([{ failure, leasedAt }, ended]) => {
      const tags = Option.match(failure, {
        onNone: () => ({
          "latchkey.refresh.outcome": state().answers > answers ? "refreshed" : "adopted"
        }),
        onSome: (f) => ({ "latchkey.refresh.outcome": "failed", "error.type": reasonOf(f) })
      })
      const seconds = (until: number) => Math.max(0, until - began) / 1000
      const waited = Option.match(leasedAt, {
        onNone: () => ({}),
        onSome: (at) => ({ "latchkey.lease.wait": seconds(at) })
      })
      return measuring(names, (measure, fiber) => {
        measure(TokenMetrics.refreshDuration, seconds(ended), tags)
        if (Option.isSome(leasedAt)) measure(TokenMetrics.leaseWait, seconds(leasedAt.value))
        return fiber.currentTracer === untraced
          ? Effect.void
          : Effect.annotateCurrentSpan({ ...tags, ...waited })
      })
    })
  }).pipe(spanned(names))

/** The tracer of programs that provide none: nobody sees its spans. */
const untraced: Tracer.Tracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

const spanned =
  (names: Names) =>
  (effect: Effect.Effect<void>): Effect.Effect<void> =>
    Effect.withFiberRuntime((fiber) =>
      fiber.currentTracer === untraced
        ? effect
        : Effect.withSpan(effect, "latchkey.refresh", {
            attributes: tagsOf(names),
            captureStackTrace: false
          })
    )

const reasonOf = (failure: Failure): string => {
  if (failure._tag === "Decided" && failure.decision._tag === "Refuse")
    return failure.decision.mismatch.difference
  switch (failure._tag) {
    case "Unavailable":
      return failure.reason
    case "StorageFailed":
      return failure.error.reason
    case "Decided":
      return failure.decision._tag === "Reauthorize"
        ? failure.decision.reason
        : decided[failure.decision._tag]
    case "RolledBack":
    case "Closed":
      return failure._tag
    case "TooShort":
      return "TooShortLived"
  }
}

const decided = {
  CoolDown: "CoolingDown",
  TooShortLived: "TooShortLived",
  Refuse: "GrantMismatch",
  Use: "LeaseBusy",
  Reload: "LeaseBusy",
  UseAndRefresh: "LeaseBusy",
  Refresh: "LeaseBusy"
} as const

/** What puts a session in danger is worth waking somebody for. */
const worrying: ReadonlySet<TokenEvent["_tag"]> = new Set([
  "SaveFailed",
  "GrantDead",
  "GrantMismatch",
  "StorageFailed",
  "ResponseWarning"
])

const log = (names: Names, event: TokenEvent, level: LogLevel.LogLevel): Effect.Effect<void> => {
  const { _tag, ...fields } = event
  return Effect.annotateLogs(Effect.logWithLevel(level, `latchkey: ${_tag}`), {
    "latchkey.event": _tag,
    ...fields,
    ...tagsOf(names)
  })
}
