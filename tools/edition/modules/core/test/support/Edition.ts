/** Test helpers that differ between the editions of Effect. */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as TestClock from "effect/testing/TestClock"

/** The services of tests: a clock that stands still. */
export const testServices = TestClock.layer()

/** The exit of a fiber that has ended. */
export const poll = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Effect.sync(() => Option.fromUndefinedOr(fiber.pollUnsafe()))

export type Variables = Readonly<Record<string, string>>

const provider = (variables: Variables) =>
  ConfigProvider.fromEnvRecord(variables, { preserveEmptyStrings: true })

/** A configuration of only these variables. */
export const withVariables =
  (variables: Variables) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, ConfigProvider.ConfigProvider, provider(variables))

export const layerVariables = (variables: Variables): Layer.Layer<never> =>
  ConfigProvider.layer(provider(variables))

/** A `ConfigError` for a value that exists and is invalid. */
export const invalidSetting = (error: unknown) => {
  if (!(error instanceof Config.ConfigError) || error.cause._tag !== "SchemaError") return error
  const { issue } = error.cause
  const inner = issue._tag === "Pointer" ? issue.issue : issue
  return inner._tag === "InvalidValue"
    ? { path: issue._tag === "Pointer" ? issue.path : [], message: inner.annotations?.message }
    : error
}

export interface Line {
  readonly level: string
  readonly message: unknown
  readonly annotations: Readonly<Record<string, unknown>>
  readonly cause: string
  readonly spans: ReadonlyArray<string>
}

/** Writes everything that a program logs, at all levels, only here. */
export const logging = (write: (line: Line) => void) => {
  const logger = Logger.make(({ cause, fiber, logLevel, message }) => {
    const one: unknown = Array.isArray(message) && message.length === 1 ? message[0] : message
    write({
      level: logLevel.toUpperCase(),
      message: one,
      annotations: fiber.getRef(References.CurrentLogAnnotations),
      cause: Cause.pretty(cause),
      spans: fiber.getRef(References.CurrentLogSpans).map(([label]) => label)
    })
  })
  return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    effect.pipe(
      Effect.provideService(Logger.CurrentLoggers, new Set([logger])),
      Effect.provideService(References.MinimumLogLevel, "All")
    )
}

/** Logs nothing. */
export const silent: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =
  Effect.provideService(References.MinimumLogLevel, "None")

/** The present state of a metric. */
export interface Measured {
  readonly name: string
  readonly tags: Readonly<Record<string, string>>
  readonly state: number | { readonly count: number; readonly sum: number } | { readonly value: number }
}

export const measured: Effect.Effect<ReadonlyArray<Measured>> = Effect.map(Metric.snapshot, (all) =>
  all.flatMap((metric): ReadonlyArray<Measured> => {
    const { attributes: tags = {}, id: name } = metric
    switch (metric.type) {
      case "Histogram":
        return [{ name, tags, state: { count: metric.state.count, sum: metric.state.sum } }]
      case "Counter":
        return [{ name, tags, state: Number(metric.state.count) }]
      case "Gauge":
        return [{ name, tags, state: { value: Number(metric.state.value) } }]
      default:
        return []
    }
  })
)
