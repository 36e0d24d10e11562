/** What a manager shows of its work: metrics, structured logs and the span of a refresh. Never a secret. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as LogLevel from "effect/LogLevel"
import type * as Metric from "effect/Metric"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Credentials } from "../Credentials.js"
import * as Decision from "../Decision.js"
import type { TokenError } from "../TokenError.js"
import type { TokenEvent } from "../TokenEvent.js"
import * as TokenMetrics from "../TokenMetrics.js"
import type { GrantState } from "./GrantState.js"
import { nowOf } from "./Now.js"

/** The refresh under way, of which a manager has one at a time. */
interface Run {
  readonly began: number
  readonly before: Option.Option<Credentials>
  outcome: "refreshed" | "adopted"
  waited: number | undefined
}

/** What follows a refresh, whatever became of it. */
export type OnEnd = (exit: Exit.Exit<void, TokenError>) => Effect.Effect<void>

/** One for each grant that has something to show: methods, not closures. */
export class Sight {
  private run: Run | undefined = undefined
  private isUnsaved = false

  constructor(
    private readonly provider: string,
    private readonly account: string,
    private readonly state: GrantState
  ) {}

  /** Whether it may be forgotten until there is something to show again. */
  get isDone(): boolean {
    return this.run === undefined && !this.isUnsaved
  }

  /** Counts and logs what happened; where nobody reads the log, nothing is made for it. */
  record(fiber: AnyFiber, event: TokenEvent): Effect.Effect<void> {
    this.measure(fiber, TokenMetrics.events, 1, ["latchkey.event", event._tag])
    this.measureEvent(fiber, event)
    const level = worrying.has(event._tag) ? LogLevel.Warning : LogLevel.Debug
    return LogLevel.lessThan(level, fiber.getFiberRef(FiberRef.currentMinimumLogLevel))
      ? Effect.void
      : Effect.annotateLogs(logOf(event, level), this.names)
  }

  /** A refresh in its span, timed, and counted by what came of it, once it has let go of what it held. */
  watchRefresh(
    fiber: AnyFiber,
    refresh: (onEnd: OnEnd) => Effect.Effect<void, TokenError>,
    finallyDo: Effect.Effect<void>
  ): Effect.Effect<void, TokenError> {
    this.run = {
      began: nowOf(fiber),
      before: this.state.credentials,
      outcome: "adopted",
      waited: undefined
    }
    if (fiber.currentTracer === untraced) {
      return refresh((exit) => Effect.zipRight(this.conclude(fiber, exit), finallyDo))
    }
    const span = { attributes: this.names, captureStackTrace: false }
    return Effect.withSpan(
      refresh((exit) => this.conclude(fiber, exit)),
      "latchkey.refresh",
      span
    ).pipe(Effect.ensuring(finallyDo))
  }

  /** The refresh under way has its lease: how long it waited for it is measured. */
  leased(fiber: AnyFiber): void {
    if (this.run === undefined) return
    this.run.waited = Math.max(0, nowOf(fiber) - this.run.began) / 1000
    this.measure(fiber, TokenMetrics.leaseWait, this.run.waited)
  }

  private get names(): Tags {
    return { "latchkey.provider": this.provider, "latchkey.account": this.account }
  }

  private measure<Type, Out>(
    fiber: AnyFiber,
    metric: Metric.Metric<Type, number, Out>,
    value: number,
    ...tags: ReadonlyArray<readonly [name: string, value: string]>
  ): void {
    const labels = labelsOf(["latchkey.provider", this.provider], ...tags)
    const around = fiber.getFiberRef(FiberRef.currentMetricLabels)
    metric.unsafeUpdate(value, around.length === 0 ? labels : [...labels, ...around])
  }

  private measureEvent(fiber: AnyFiber, event: TokenEvent): void {
    switch (event._tag) {
      case "Refreshed":
        if (this.run !== undefined) this.run.outcome = "refreshed"
        return this.measureReplaced(fiber, event.at)
      case "CoolingDown":
        return this.measure(fiber, TokenMetrics.coolDown, Math.max(0, event.until - event.at) / 1000, [
          "latchkey.cool_down.reason",
          event.reason
        ])
      case "SaveFailed":
        return this.noteUnsaved(fiber, Option.isSome(this.state.unsaved))
      default:
        return this.noteUnsaved(fiber, this.isUnsaved && Option.isSome(this.state.unsaved))
    }
  }

  /** Up when storage does not take a rotation, down when it has, or when nobody can tell any more. */
  countUnsaved(now: boolean): Effect.Effect<void> {
    return Effect.withFiberRuntime((fiber) => {
      this.noteUnsaved(fiber, now)
      return Effect.void
    })
  }

  private noteUnsaved(fiber: AnyFiber, now: boolean): void {
    if (now === this.isUnsaved) return
    this.isUnsaved = now
    this.measure(fiber, TokenMetrics.unsaved, now ? 1 : -1)
  }

  /** What callers had until now. */
  private measureReplaced(fiber: AnyFiber, at: number): void {
    const before = Option.getOrUndefined(this.run?.before ?? Option.none())
    if (before === undefined) return
    const measure = (metric: typeof TokenMetrics.refreshTokenAge, millis: Option.Option<number>) => {
      if (Option.isSome(millis)) this.measure(fiber, metric, Math.max(0, millis.value) / 1000)
    }
    measure(
      TokenMetrics.refreshTokenAge,
      Option.map(before.obtainedAt, (from) => at - from)
    )
    measure(TokenMetrics.refreshTimeToExpiry, Decision.timeToExpiry(before, at))
  }

  private conclude(fiber: AnyFiber, exit: Exit.Exit<void, TokenError>): Effect.Effect<void> {
    const { run } = this
    if (run === undefined) return Effect.void
    this.run = undefined
    const tags = outcomeOf(run, exit)
    const took = Math.max(0, nowOf(fiber) - run.began) / 1000
    this.measure(fiber, TokenMetrics.refreshDuration, took, ...Object.entries(tags))
    return fiber.currentTracer === untraced
      ? Effect.void
      : Effect.annotateCurrentSpan(
          run.waited === undefined ? tags : { ...tags, "latchkey.lease.wait": run.waited }
        )
  }
}

/** The tracer that is there where none was given: nobody sees its spans. */
const untraced = Context.get(DefaultServices.liveServices, Tracer.Tracer)

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

type Tags = Readonly<Record<string, string>>

const outcomeOf = (run: Run, exit: Exit.Exit<void, TokenError>): Tags => {
  if (Exit.isSuccess(exit)) return { "latchkey.refresh.outcome": run.outcome }
  const reason = Option.map(Cause.failureOption(exit.cause), (error) => error.reason)
  return {
    "latchkey.refresh.outcome": "failed",
    "error.type": Option.getOrElse(reason, () =>
      Cause.isInterruptedOnly(exit.cause) ? "Interrupted" : "Defect"
    )
  }
}

/** What puts a session in danger is worth waking somebody for. */
const worrying: ReadonlySet<TokenEvent["_tag"]> = new Set([
  "SaveFailed",
  "GrantDead",
  "GrantMismatch",
  "StorageFailed",
  "ResponseWarning"
])

const logOf = (event: TokenEvent, level: LogLevel.LogLevel): Effect.Effect<void> => {
  const { _tag, ...fields } = event
  return Effect.annotateLogs(Effect.logWithLevel(level, `latchkey: ${_tag}`), {
    "latchkey.event": _tag,
    ...fields
  })
}

/** The labels so far, and those with one more by its name and value. */
interface Labels {
  readonly labels: ReadonlyArray<MetricLabel.MetricLabel>
  readonly further: Map<string, Map<string, Labels>>
}

const noLabels: Labels = { labels: [], further: new Map() }

/** Labels are few, and a metric finds its count the faster where they are the same array. */
const labelsOf = (
  ...tags: ReadonlyArray<readonly [name: string, value: string]>
): ReadonlyArray<MetricLabel.MetricLabel> => {
  let all = noLabels
  for (const [name, value] of tags) {
    let byValue = all.further.get(name)
    if (byValue === undefined) all.further.set(name, (byValue = new Map()))
    let next = byValue.get(value)
    if (next === undefined) {
      next = { labels: [...all.labels, MetricLabel.make(name, value)], further: new Map() }
      byValue.set(value, next)
    }
    all = next
  }
  return all.labels
}
