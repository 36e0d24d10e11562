/**
 * Derives metrics, structured logs and the refresh span from events and from pairs of states. It starts
 * nothing, decides nothing and never shows a secret.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Observing from "./edition/Observing.js"
import { timeToExpiry } from "./grant/Expiry.js"
import type { Failure, State } from "./grant/State.js"
import * as GrantState from "./grant/State.js"
import type { TokenEvent } from "./TokenEvent.js"
import * as TokenMetrics from "./TokenMetrics.js"

/** The names of a grant, for the tags of metrics, logs and spans. */
export interface Names {
  readonly provider: string
  readonly account: string
}

const tagsOf = ({ account, provider }: Names) => ({
  "latchkey.provider": provider,
  "latchkey.account": account
})

type Measure = <Type, Out>(metric: Observing.Numbers<Type, Out>, value: number, tags?: Observing.Tags) => void

/** Updates metrics with the tags of the fiber, all in one step. */
const measuring = (
  { provider }: Names,
  update: (measure: Measure, fiber: Observing.Observed) => Effect.Effect<void>
): Effect.Effect<void> =>
  Observing.withFiber((fiber) => {
    const measure = Observing.measure(fiber)
    return update(
      (metric, value, tags = {}) => measure(metric, value, { "latchkey.provider": provider, ...tags }),
      fiber
    )
  })

/**
 * Counts and logs an event. `before` is the state until then. If the log level is off, nothing is formatted.
 */
export const record = (names: Names, event: TokenEvent, before: State): Effect.Effect<void> =>
  measuring(names, (measure, fiber) => {
    measure(TokenMetrics.events, 1, { "latchkey.event": event._tag })
    measureEvent(measure, event, before)
    const level = worrying.has(event._tag) ? "Warning" : "Debug"
    return Observing.isLogged(fiber, level) ? log(names, event, level) : Effect.void
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

/**
 * Increments when storage does not take a rotation. Decrements when storage has it, or when this process
 * cannot know any more.
 */
export const countUnsaved = (names: Names, before: State, after: State): Effect.Effect<void> => {
  const change = Number(GrantState.isSaveOverdue(after)) - Number(GrantState.isSaveOverdue(before))
  if (change === 0) return Effect.void
  return measuring(names, (measure) => {
    measure(TokenMetrics.unsaved, change)
    return Effect.void
  })
}

/** How a flight ended: its failure, if any, and when it got its lease. */
export interface Outcome {
  readonly failure: Option.Option<Failure>
  readonly leasedAt: Option.Option<number>
}

/** Runs a flight in its span, times it, and counts it by its outcome. */
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
        return Observing.isTraced(fiber) ? Effect.annotateCurrentSpan({ ...tags, ...waited }) : Effect.void
      })
    })
  }).pipe(spanned(names))

const spanned =
  (names: Names) =>
  (effect: Effect.Effect<void>): Effect.Effect<void> =>
    Observing.withFiber((fiber) =>
      Observing.isTraced(fiber)
        ? Effect.withSpan(effect, "latchkey.refresh", {
            attributes: tagsOf(names),
            captureStackTrace: false
          })
        : effect
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

/** Events that put a session in danger are logged as warnings. */
const worrying: ReadonlySet<TokenEvent["_tag"]> = new Set([
  "SaveFailed",
  "GrantDead",
  "GrantMismatch",
  "StorageFailed",
  "ResponseWarning"
])

const log = (names: Names, event: TokenEvent, level: Observing.Level): Effect.Effect<void> => {
  const { _tag, ...fields } = event
  return Effect.annotateLogs(Observing.log(level, `latchkey: ${_tag}`), {
    "latchkey.event": _tag,
    ...fields,
    ...tagsOf(names)
  })
}
