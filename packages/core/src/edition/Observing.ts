/** Metrics, log levels and tracers: how each edition of Effect reads and updates them. */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"
import * as Tracer from "effect/Tracer"

export type Tags = Readonly<Record<string, string>>

/** A metric that takes numbers. */
export type Numbers<Type, Out> = Metric.Metric<Type, number, Out>

export type Gauge = Metric.Metric.Gauge<number>

/** The part of a fiber that is observed. */
export type Observed = Fiber.RuntimeFiber<unknown, unknown>

export const withFiber = <A, E, R>(
  use: (fiber: Observed) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.withFiberRuntime<A, E, R>(use)

/**
 * A histogram of seconds. The unit is part of its key: a metric that is tagged afterwards looks up its hook for
 * each value.
 */
export const seconds = (name: string, description: string, boundaries: ReadonlyArray<number>) => {
  const key = MetricKey.histogram(name, MetricBoundaries.fromIterable(boundaries), description)
  return Metric.fromMetricKey(MetricKey.tagged(key, "unit", "s"))
}

/** A gauge of seconds. */
export const secondsNow = (name: string, description: string) =>
  Metric.tagged(Metric.gauge(name, { description }), "unit", "s")

export const set = (gauge: Gauge, value: number, tags: Tags): Effect.Effect<void> =>
  Metric.set(Metric.taggedWithLabels(gauge, labelsOf(tags)), value)

const labels = new Map<string, ReadonlyArray<MetricLabel.MetricLabel>>()

const labelsOf = (tags: Tags): ReadonlyArray<MetricLabel.MetricLabel> =>
  Object.entries(tags).map(([name, value]) => MetricLabel.make(name, value))

/**
 * Returns the same array each time, because a metric finds its hook by it. There are as many arrays as there
 * are providers and reasons.
 */
const knownLabels = (tags: Tags): ReadonlyArray<MetricLabel.MetricLabel> => {
  const key = Object.values(tags).join("\n")
  const known = labels.get(key)
  if (known !== undefined) return known
  const made = labelsOf(tags)
  labels.set(key, made)
  return made
}

/**
 * Updates metrics at once, with the tags of the fiber in addition to the given ones. The given tags have few
 * values.
 */
export const measure = (fiber: Observed) => {
  const around = fiber.getFiberRef(FiberRef.currentMetricLabels)
  return <Type, Out>(metric: Numbers<Type, Out>, value: number, tags: Tags): void => {
    const own = knownLabels(tags)
    metric.unsafeUpdate(value, around.length === 0 ? own : [...own, ...around])
  }
}

export type Level = "Warning" | "Debug"

/** Whether the log is on at this level. */
export const isLogged = (fiber: Observed, level: Level): boolean =>
  LogLevel.greaterThanEqual(LogLevel[level], fiber.getFiberRef(FiberRef.currentMinimumLogLevel))

export const log = (level: Level, message: string): Effect.Effect<void> =>
  Effect.logWithLevel(LogLevel[level], message)

/** The tracer of programs that provide none. Its spans go nowhere. */
const untraced: Tracer.Tracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

export const isTraced = (fiber: Observed): boolean => fiber.currentTracer !== untraced
