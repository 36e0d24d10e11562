/** How callers get a token: from memory, after a read of storage, or after the flight. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Decision from "./grant/Decision.js"
import type { Release } from "./grant/Messages.js"
import type * as State from "./grant/State.js"
import * as Turn from "./grant/Turn.js"
import * as View from "./grant/View.js"
import { fromFailure, storageErrorOf } from "./tokenErrors.js"
import type { TokenError } from "./TokenError.js"
import { type Grant, apply, policyOf, report, storageOf } from "./Grant.js"
import { join, load, start } from "./Driver.js"
import type { StorageError } from "./TokenStorage.js"

/** How a caller gets its token. */
export type Token = Effect.Effect<Redacted.Redacted, TokenError>

/**
 * Reads storage for callers. Callers that arrive during a read share it. Returns the failure, if there is
 * one.
 */
export const read = (grant: Grant): Effect.Effect<Option.Option<State.Failure>> =>
  Effect.clockWith((clock) => {
    const { flights } = grant.context
    if (grant.reading !== undefined) return Deferred.await(grant.reading)
    if (flights.isClosed()) return Effect.succeedSome({ _tag: "Closed" })
    const done = Deferred.unsafeMake<Option.Option<State.Failure>>(FiberId.none)
    grant.reading = done
    const reading = Effect.onExit(observe(grant, grant.state.writes), (exit) =>
      Effect.sync(() => {
        grant.reading = undefined
        Deferred.unsafeDone(done, Exit.isSuccess(exit) ? exit : Exit.succeed(Option.some({ _tag: "Closed" })))
      })
    )
    flights.fork(Effect.asVoid(clock === grant.context.clock ? reading : Effect.withClock(reading, clock)))
    return Deferred.await(done)
  })

const observe = (grant: Grant, writes: number): Effect.Effect<Option.Option<State.Failure>> =>
  Effect.flatMap(Effect.either(load(grant)), (result) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const next = apply(
        grant,
        result._tag === "Right"
          ? { _tag: "Observed", loaded: result.right, writes }
          : { _tag: "ObserveFailed", error: result.left },
        now
      )
      if (Option.isSome(next.command)) return observe(grant, grant.state.writes)
      const failure =
        result._tag === "Left"
          ? Option.some<State.Failure>({ _tag: "StorageFailed", error: result.left })
          : Option.flatMap(next.released, (r) => r.failure)
      return Effect.as(report(grant, { ...next, released: Option.none() }), failure)
    })
  )

/** Whether the token in memory may be served without a decision. */
export const isOpen = ({ state }: Grant, now: number): boolean =>
  now < state.openUntil && now >= state.openFrom

/** Returns a valid token. While the fast path is open, this is two comparisons and a prebuilt effect. */
export const accessToken = (grant: Grant, plain: Decision.Request): Token =>
  at((now) => (isOpen(grant, now) ? grant.answer : firstTurn(grant, plain, now)))

/** Returns a token that meets the request. */
export const resolve = (grant: Grant, request: Decision.Request): Token =>
  at((now) => firstTurn(grant, request, now))

/** Of many callers at an expiry, only the first of each millisecond decides. */
const firstTurn = (grant: Grant, request: Decision.Request, now: number): Token => {
  const policy = policyOf(grant)
  const { uptime } = policy
  const { context, turn } = grant
  if (turn?.request === request && turn.now === now && turn.uptime === uptime) return turn.next
  const first = Turn.first(policy, grant.state, request, now, context.config.patience)
  const next = follow(grant, request, first)
  grant.turn = { request, now, uptime, next }
  return next
}

/**
 * Returns what a caller does after a wait. Callers whose waits end at the same moment, with the same outcome,
 * do the same.
 */
const afterWait = <Outcome>(
  grant: Grant,
  request: Decision.Request,
  turn: (policy: State.Policy, outcome: Outcome, now: number) => Turn.Turn
) => {
  let last:
    | { readonly outcome: Outcome; readonly state: State.State; readonly now: number; readonly next: Token }
    | undefined
  return (outcome: Outcome): Token =>
    at((now) => {
      const { state } = grant
      if (last?.outcome !== outcome || last.state !== state || last.now !== now) {
        last = { outcome, state, now, next: follow(grant, request, turn(policyOf(grant), outcome, now)) }
      }
      return last.next
    })
}

const at = <A, E>(use: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((clock) => use(clock.unsafeCurrentTimeMillis()))

const follow = (grant: Grant, request: Decision.Request, turn: Turn.Turn): Token => {
  const { patience } = grant.context.config
  switch (turn._tag) {
    case "Serve":
      return Effect.succeed(turn.token)
    case "ServeAndRefresh":
      return Effect.as(start(grant, turn.want), turn.token)
    case "Fail":
      return fail(grant, turn.failure)
    case "Read":
      return Effect.flatMap(
        read(grant),
        afterWait(grant, request, (policy, failure, now) =>
          Turn.afterRead(policy, grant.state, request, failure, now, patience)
        )
      )
    case "Join": {
      const { caller } = turn
      const release = join(grant, turn.want)
      const released = afterWait(grant, request, (policy, { failure }: Release, now) =>
        Turn.afterFlight(policy, grant.state, caller, failure, now)
      )
      return turn.patience === Infinity
        ? Effect.flatMap(release, released)
        : Effect.flatMap(
            Effect.timeoutOption(release, turn.patience),
            Option.match({
              onSome: released,
              onNone: () =>
                at((now) =>
                  follow(grant, request, Turn.outOfPatience(policyOf(grant), grant.state, caller, now))
                )
            })
          )
    }
  }
}

const settingOf = (grant: Grant, now: number) => ({
  location: storageOf(grant).location,
  lastFailure: grant.state.lastFailure,
  now
})

const fail = (grant: Grant, failure: State.Failure): Effect.Effect<never, TokenError> =>
  at((now) => Effect.fail(fromFailure(failure, settingOf(grant, now))))

/** Reads storage unless memory is fresh. Ignores a failed read while the token in memory is valid. */
export const look = (grant: Grant): Effect.Effect<void, StorageError> =>
  at((now) =>
    View.isFresh(policyOf(grant), grant.state, now)
      ? Effect.void
      : Effect.flatMap(read(grant), (failure) =>
          at((later) =>
            Option.isNone(failure) || View.hasValidToken(policyOf(grant), grant.state, later)
              ? Effect.void
              : Effect.fail(storageErrorOf(failure.value, settingOf(grant, later)))
          )
        )
  )
