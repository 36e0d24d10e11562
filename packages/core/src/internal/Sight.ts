/** What a manager shows of its work: metrics, structured logs and the span of a refresh. Never a secret. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type { Credentials } from "../Credentials.js"
import * as Decision from "../Decision.js"
import type { RefreshLease } from "../RefreshLease.js"
import type { TokenError } from "../TokenError.js"
import type { TokenEvent } from "../TokenEvent.js"
import * as TokenMetrics from "../TokenMetrics.js"
import type { GrantState } from "./GrantState.js"

/** The refresh under way, of which a manager has one at a time. */
interface Run {
  readonly began: number
  readonly before: Option.Option<Credentials>
  outcome: "refreshed" | "adopted"
  waited: number | undefined
}

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

  /** Counts and logs what happened. */
  record(event: TokenEvent): Effect.Effect<void> {
    return this.measure(TokenMetrics.events, 1, { "latchkey.event": event._tag }).pipe(
      Effect.zipRight(this.measureEvent(event)),
      Effect.zipRight(Effect.annotateLogs(logOf(event), this.names))
    )
  }

  /** The refresh in its span, timed, and counted by what came of it. */
  watchRefresh(refresh: Effect.Effect<void, TokenError>): Effect.Effect<void, TokenError> {
    return Effect.flatMap(Clock.currentTimeMillis, (began) => {
      const run: Run = { began, before: this.state.credentials, outcome: "adopted", waited: undefined }
      this.run = run
      return Effect.onExit(refresh, (exit) => this.conclude(run, exit))
    }).pipe(Effect.withSpan("latchkey.refresh", { attributes: this.names, captureStackTrace: false }))
  }

  /** The leases, with the wait of the refresh under way for its lease measured. */
  watchLease(lease: Context.Tag.Service<RefreshLease>): Context.Tag.Service<RefreshLease> {
    return {
      acquire: (account, ttl) => Effect.tap(lease.acquire(account, ttl), () => this.measureWait)
    }
  }

  private get names(): Tags {
    return { "latchkey.provider": this.provider, "latchkey.account": this.account }
  }

  private measure<Type, Out>(
    metric: Metric.Metric<Type, number, Out>,
    value: number,
    tags: Tags = {}
  ): Effect.Effect<void> {
    return Effect.suspend(() => updaterOf(metric, { "latchkey.provider": this.provider, ...tags })(value))
  }

  private measureEvent(event: TokenEvent): Effect.Effect<void> {
    switch (event._tag) {
      case "Refreshed":
        if (this.run !== undefined) this.run.outcome = "refreshed"
        return this.measureReplaced(event.at)
      case "CoolingDown":
        return this.measure(TokenMetrics.coolDown, Math.max(0, event.until - event.at) / 1000, {
          "latchkey.cool_down.reason": event.reason
        })
      case "SaveFailed":
        return this.countUnsaved(Option.isSome(this.state.unsaved))
      default:
        return this.countUnsaved(this.isUnsaved && Option.isSome(this.state.unsaved))
    }
  }

  /** Up when storage does not take a rotation, down when it has, or when nobody can tell any more. */
  countUnsaved(now: boolean): Effect.Effect<void> {
    if (now === this.isUnsaved) return Effect.void
    this.isUnsaved = now
    return this.measure(TokenMetrics.unsaved, now ? 1 : -1)
  }

  /** What callers had until now. */
  private measureReplaced(at: number): Effect.Effect<void> {
    const before = Option.getOrUndefined(this.run?.before ?? Option.none())
    if (before === undefined) return Effect.void
    const age = Option.map(before.obtainedAt, (from) => at - from)
    const millis = (metric: typeof TokenMetrics.refreshTokenAge, span: Option.Option<number>) =>
      Option.isNone(span) ? Effect.void : this.measure(metric, Math.max(0, span.value) / 1000)
    return Effect.zipRight(
      millis(TokenMetrics.refreshTokenAge, age),
      millis(TokenMetrics.refreshTimeToExpiry, Decision.timeToExpiry(before, at))
    )
  }

  private get measureWait(): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (this.run === undefined) return Effect.void
      this.run.waited = Math.max(0, now - this.run.began) / 1000
      return this.measure(TokenMetrics.leaseWait, this.run.waited)
    })
  }

  private conclude(run: Run, exit: Exit.Exit<void, TokenError>): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      this.run = undefined
      const tags = outcomeOf(run, exit)
      return Effect.zipRight(
        this.measure(TokenMetrics.refreshDuration, Math.max(0, now - run.began) / 1000, tags),
        Effect.annotateCurrentSpan(
          run.waited === undefined ? tags : { ...tags, "latchkey.lease.wait": run.waited }
        )
      )
    })
  }
}

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
const worrying: ReadonlySet<TokenEvent["_tag"]> = new Set(["SaveFailed", "GrantDead", "StorageFailed"])

const logOf = (event: TokenEvent): Effect.Effect<void> => {
  const { _tag, ...fields } = event
  const log = worrying.has(_tag)
    ? Effect.logWarning(`latchkey: ${_tag}`)
    : Effect.logDebug(`latchkey: ${_tag}`)
  return Effect.annotateLogs(log, { "latchkey.event": _tag, ...fields })
}

type Updater = (value: number) => Effect.Effect<void>

const updaters = new Map<unknown, Map<string, Updater>>()

/** A metric with its tags, made once: they are few, and every event asks for some. */
const updaterOf = <Type, Out>(metric: Metric.Metric<Type, number, Out>, tags: Tags): Updater => {
  const made = updaters.get(metric) ?? new Map<string, Updater>()
  updaters.set(metric, made)
  const key = Object.values(tags).join("\n")
  const found = made.get(key)
  if (found !== undefined) return found
  const tagged = Object.entries(tags).reduce((m, [name, value]) => Metric.tagged(m, name, value), metric)
  const updater: Updater = (value) => Metric.update(tagged, value)
  made.set(key, updater)
  return updater
}
