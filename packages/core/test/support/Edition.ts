/** Test helpers that differ between the editions of Effect. */
import {
  Cause,
  ConfigError,
  ConfigProvider,
  Effect,
  type Exit,
  Fiber,
  HashMap,
  Layer,
  List,
  Logger,
  LogLevel,
  Metric,
  MetricState,
  type Option,
  TestContext
} from "effect"

/** The services of tests: a clock that stands still. */
export const testServices = TestContext.TestContext

/** The exit of a fiber that has ended. */
export const poll = <A, E>(fiber: Fiber.RuntimeFiber<A, E>): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Fiber.poll(fiber)

export type Variables = Readonly<Record<string, string>>

const provider = (variables: Variables) => ConfigProvider.fromMap(new Map(Object.entries(variables)))

/** Configuration from these variables alone. */
export const withVariables =
  (variables: Variables) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withConfigProvider(effect, provider(variables))

export const layerVariables = (variables: Variables): Layer.Layer<never> =>
  Layer.setConfigProvider(provider(variables))

/** A `ConfigError` that found a value and did not like it. */
export const invalidSetting = (error: unknown) =>
  ConfigError.isConfigError(error) && ConfigError.isInvalidData(error)
    ? { path: error.path, message: error.message }
    : error

export interface Line {
  readonly level: string
  readonly message: unknown
  readonly annotations: Readonly<Record<string, unknown>>
  readonly cause: string
  readonly spans: ReadonlyArray<string>
}

/** Writes what a program logs, at all levels, and to nowhere else. */
export const logging = (write: (line: Line) => void) => {
  const logger = Logger.make(({ annotations, cause, logLevel, message, spans }) => {
    write({
      level: logLevel.label,
      message,
      annotations: Object.fromEntries(HashMap.toEntries(annotations)),
      cause: Cause.pretty(cause),
      spans: List.toArray(spans).map((span) => span.label)
    })
  })
  return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    effect.pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Logger.withMinimumLogLevel(LogLevel.All)
    )
}

/** Logs nothing. */
export const silent: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =
  Logger.withMinimumLogLevel(LogLevel.None)

/** A metric as it stands. */
export interface Measured {
  readonly name: string
  readonly tags: Readonly<Record<string, string>>
  readonly state: number | { readonly count: number; readonly sum: number } | { readonly value: number }
}

export const measured: Effect.Effect<ReadonlyArray<Measured>> = Effect.map(Metric.snapshot, (pairs) =>
  pairs.flatMap(({ metricKey, metricState }) => {
    const state = MetricState.isHistogramState(metricState)
      ? { count: metricState.count, sum: metricState.sum }
      : MetricState.isCounterState(metricState)
        ? Number(metricState.count)
        : MetricState.isGaugeState(metricState)
          ? { value: Number(metricState.value) }
          : undefined
    const tags = Object.fromEntries(metricKey.tags.map(({ key, value }) => [key, value]))
    return state === undefined ? [] : [{ name: metricKey.name, tags, state }]
  })
)
