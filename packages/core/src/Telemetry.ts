/**
 * Metrics, structured logs and the refresh span, from events and from two states. Starts nothing and decides nothing.
 * Never shows a secret.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
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

const measure = <Type, Out>(
  names: Names,
  metric: Numbers<Type, Out>,
  value: number,
  tags: Readonly<Record<string, string>> = {}
): Effect.Effect<void> =>
  Object.entries(tags)
    .reduce(
      (tagged, [key, tag]) => Metric.tagged(tagged, key, tag),
      Metric.tagged(metric, "latchkey.provider", names.provider)
    )(Effect.succeed(value))
    .pipe(Effect.asVoid)

/** Counts and logs an event. `before` is what callers had until then. */
export const record = (names: Names, event: TokenEvent, before: State): Effect.Effect<void> =>
  measure(names, TokenMetrics.events, 1, { "latchkey.event": event._tag }).pipe(
    Effect.andThen(measureEvent(names, event, before)),
    Effect.andThen(log(names, event))
  )

const measureEvent = (names: Names, event: TokenEvent, before: State): Effect.Effect<void> => {
  switch (event._tag) {
    case "Refreshed":
      return measureReplaced(names, event.at, before)
    case "CoolingDown":
      return measure(names, TokenMetrics.coolDown, Math.max(0, event.until - event.at) / 1000, {
        "latchkey.cool_down.reason": event.reason
      })
    default:
      return Effect.void
  }
}

const measureReplaced = (names: Names, at: number, before: State): Effect.Effect<void> =>
  Option.match(GrantState.credentialsOf(before), {
    onNone: () => Effect.void,
    onSome: (credentials) => {
      const age = Option.map(credentials.obtainedAt, (from) => at - from)
      const left = timeToExpiry(credentials, at)
      const seconds = (metric: typeof TokenMetrics.refreshTokenAge, millis: Option.Option<number>) =>
        Option.isNone(millis) ? Effect.void : measure(names, metric, Math.max(0, millis.value) / 1000)
      return Effect.andThen(
        seconds(TokenMetrics.refreshTokenAge, age),
        seconds(TokenMetrics.refreshTimeToExpiry, left)
      )
    }
  })

/** Up when storage does not take a rotation, down when it has, or when nobody can say any more. */
export const countUnsaved = (names: Names, before: State, after: State): Effect.Effect<void> => {
  const change = Number(GrantState.isSaveOverdue(after)) - Number(GrantState.isSaveOverdue(before))
  return change === 0 ? Effect.void : measure(names, TokenMetrics.unsaved, change)
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
    return Effect.flatMap(effect, ({ failure, leasedAt }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const tags = Option.match(failure, {
          onNone: () => ({
            "latchkey.refresh.outcome": state().answers > answers ? "refreshed" : "adopted"
          }),
          onSome: (f) => ({ "latchkey.refresh.outcome": "failed", "error.type": reasonOf(f) })
        })
        const seconds = (until: number) => Math.max(0, until - began) / 1000
        const waited = Option.map(leasedAt, seconds)
        return Effect.all(
          [
            measure(names, TokenMetrics.refreshDuration, seconds(now), tags),
            ...Option.toArray(Option.map(waited, (w) => measure(names, TokenMetrics.leaseWait, w))),
            Effect.annotateCurrentSpan({
              ...tags,
              ...Option.match(waited, { onNone: () => ({}), onSome: (w) => ({ "latchkey.lease.wait": w }) })
            })
          ],
          { discard: true }
        )
      })
    )
  }).pipe(Effect.withSpan("latchkey.refresh", { attributes: tagsOf(names), captureStackTrace: false }))

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

const log = (names: Names, event: TokenEvent): Effect.Effect<void> => {
  const { _tag, ...fields } = event
  const level = worrying.has(_tag) ? LogLevel.Warning : LogLevel.Debug
  return Effect.logWithLevel(level, `latchkey: ${_tag}`).pipe(
    Effect.annotateLogs({ "latchkey.event": _tag, ...fields, ...tagsOf(names) })
  )
}
