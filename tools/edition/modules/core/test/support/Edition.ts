/** Test helpers that differ between the editions of Effect. */
import { it } from "@effect/vitest"
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
import * as fc from "fast-check"

/** The services of tests: a clock that stands still. */
export const testServices = TestClock.layer()

type Arbitraries = ReadonlyArray<fc.Arbitrary<any>> | Readonly<Record<string, fc.Arbitrary<any>>>

type Values<A> = { readonly [K in keyof A]: A[K] extends fc.Arbitrary<infer T> ? T : never }

interface PropertyOptions {
  readonly fastCheck?: fc.Parameters<any>
}

const together = <const A extends Arbitraries>(arbitraries: A): fc.Arbitrary<Values<A>> => {
  const all: fc.Arbitrary<any> =
    arbitraries instanceof Array ? fc.tuple(...arbitraries) : fc.record({ ...(arbitraries as object) })
  return all
}

/** A property of values from arbitraries of fast-check. */
export const prop = <const A extends Arbitraries>(
  name: string,
  arbitraries: A,
  holds: (values: Values<A>) => void,
  options?: PropertyOptions
): void =>
  it(name, () =>
    fc.assert(
      fc.property(together(arbitraries), (values) => holds(values)),
      options?.fastCheck
    )
  )

/** The same, as an effect. */
export const propEffect = <const A extends Arbitraries, B, E>(
  name: string,
  arbitraries: A,
  holds: (values: Values<A>) => Effect.Effect<B, E>,
  options?: PropertyOptions
): void =>
  it(name, () => {
    const property = fc.asyncProperty(together(arbitraries), async (values) => {
      await Effect.runPromise(holds(values))
    })
    return fc.assert(property, options?.fastCheck)
  })

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
