/** Metrics, log levels and tracers: how each edition of Effect reads and updates them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"

export type Tags = Readonly<Record<string, string>>

/** A metric that takes numbers. */
export type Numbers<_Type, Out> = Metric.Metric<number, Out>

export type Gauge = Metric.Gauge<number>

/** The part of a fiber that is observed. */
export type Observed = Fiber.Fiber<unknown, unknown>

export const withFiber = <A, E, R>(
  use: (fiber: Observed) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.withFiber(use)

/** A histogram of seconds. */
export const seconds = (name: string, description: string, boundaries: ReadonlyArray<number>) =>
  Metric.histogram(name, { description, boundaries, attributes: { unit: "s" } })

/** A gauge of seconds. */
export const secondsNow = (name: string, description: string) =>
  Metric.gauge(name, { description, attributes: { unit: "s" } })

export const set = (gauge: Gauge, value: number, tags: Tags): Effect.Effect<void> =>
  Metric.update(Metric.withAttributes(gauge, tags), value)

/**
 * Updates metrics at once, with the tags of the fiber in addition to the given ones. The given tags have few
 * values.
 */
export const measure = (fiber: Observed) => {
  const around = fiber.getRef(Metric.CurrentMetricAttributes)
  return <Out>(metric: Metric.Metric<number, Out>, value: number, tags: Tags): void => {
    metric.updateUnsafe(
      value,
      Context.add(fiber.context, Metric.CurrentMetricAttributes, { ...around, ...tags })
    )
  }
}

export type Level = "Warning" | "Debug"

const levels = { Warning: "Warn", Debug: "Debug" } as const

/** Whether the log is on at this level. */
export const isLogged = (fiber: Observed, level: Level): boolean =>
  LogLevel.isGreaterThanOrEqualTo(levels[level], fiber.getRef(References.MinimumLogLevel))

export const log = (level: Level, message: string): Effect.Effect<void> =>
  Effect.logWithLevel(levels[level])(message)

export const isTraced = (fiber: Observed): boolean => fiber.getRef(Tracer.Tracer) !== Tracer.nativeTracer
