/** Test helpers that differ between the editions of Effect. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
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
import type * as SchemaIssue from "effect/SchemaIssue"
import * as Scheduler from "effect/Scheduler"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"

/** The services of tests: a clock that stands still. */
export const testServices = TestClock.layer()

/** Where the test clock is set back, so is the time that only runs: as on a system that has one clock. */
export const withOneClock = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) =>
    Effect.provideService(effect, Clock.Clock, {
      ...clock,
      monotonicTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
      monotonicTimeNanos: clock.currentTimeNanos
    })
  )

/** The exit of a fiber that has ended. */
export const poll = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Effect.sync(() => Option.fromUndefinedOr(fiber.pollUnsafe()))

const microtasks = new Scheduler.MixedScheduler("async", (run) => {
  let isCancelled = false
  queueMicrotask(() => {
    if (!isCancelled) run()
  })
  return () => {
    isCancelled = true
  }
})

/** Goes on as soon as promises do, so that once these are through, everybody waits. */
export const promptly: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> =
  Effect.provideService(Scheduler.Scheduler, microtasks)

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

/** Whether a `ConfigError` found no value, or found one and did not like it. */
export const settingProblem = (error: unknown): "invalid" | "missing" | undefined => {
  if (!(error instanceof Config.ConfigError) || error.cause._tag !== "SchemaError") return undefined
  const leaf = leafOf(error.cause.issue)
  // Variables are texts: one that is none is not there.
  return leaf === "InvalidValue"
    ? "invalid"
    : leaf === "MissingKey" || leaf === "InvalidType"
      ? "missing"
      : undefined
}

const leafOf = (issue: SchemaIssue.Issue): SchemaIssue.Issue["_tag"] =>
  issue._tag === "Pointer" || issue._tag === "Encoding" ? leafOf(issue.issue) : issue._tag

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

/** A span as it was recorded. */
export interface RecordedSpan {
  readonly name: string
  readonly attributes: Map<string, unknown>
  readonly events: Array<unknown>
  exit: Exit.Exit<unknown, unknown> | undefined
}

/** Keeps the spans of a program, in the order in which they began. */
export const recording = (spans: Array<RecordedSpan>): Tracer.Tracer =>
  Tracer.make({
    span: ({ startTime, ...options }) => {
      const recorded: RecordedSpan = {
        name: options.name,
        attributes: new Map(),
        exit: undefined,
        events: []
      }
      spans.push(recorded)
      return {
        _tag: "Span",
        ...options,
        spanId: "0123456789abcdef",
        traceId: "0123456789abcdef0123456789abcdef",
        status: { _tag: "Started", startTime },
        attributes: recorded.attributes,
        attribute: (key, value) => void recorded.attributes.set(key, value),
        addLinks: () => undefined,
        event: (...event) => void recorded.events.push(event),
        end: (_, exit) => void (recorded.exit = exit)
      }
    }
  })
