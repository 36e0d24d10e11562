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
import { type Grant, apply, closed, policyOf, report, storageOf } from "./Grant.js"
import { load, start } from "./Driver.js"
import type { StorageError } from "./TokenStorage.js"

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
export const accessToken = (
  grant: Grant,
  plain: Decision.Request
): Effect.Effect<Redacted.Redacted, TokenError> => {
  const slowly = resolve(grant, plain)
  return Effect.clockWith((clock) => {
    const now = clock.unsafeCurrentTimeMillis()
    return isOpen(grant, now) ? grant.answer : slowly
  })
}

/** Returns a token that meets the request. */
export const resolve = (
  grant: Grant,
  request: Decision.Request
): Effect.Effect<Redacted.Redacted, TokenError> => {
  const { patience } = grant.context.config
  return at((now) => follow(grant, request, Turn.first(policyOf(grant), grant.state, request, now, patience)))
}

const at = <A, E>(use: (now: number) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(Clock.currentTimeMillis, use)

const follow = (
  grant: Grant,
  request: Decision.Request,
  turn: Turn.Turn
): Effect.Effect<Redacted.Redacted, TokenError> => {
  const { patience } = grant.context.config
  switch (turn._tag) {
    case "Serve":
      return Effect.succeed(turn.token)
    case "ServeAndRefresh":
      return Effect.as(start(grant, turn.want), turn.token)
    case "Fail":
      return fail(grant, turn.failure)
    case "Read":
      return Effect.flatMap(read(grant), (failure) =>
        at((now) =>
          follow(
            grant,
            request,
            Turn.afterRead(policyOf(grant), grant.state, request, failure, now, patience)
          )
        )
      )
    case "Join": {
      const { caller } = turn
      const release = waitForFlight(grant, turn.want)
      const after = ({ failure }: Release) =>
        at((now) =>
          follow(grant, request, Turn.afterFlight(policyOf(grant), grant.state, caller, failure, now))
        )
      return turn.patience === Infinity
        ? Effect.flatMap(release, after)
        : Effect.flatMap(Effect.timeoutOption(release, turn.patience), (waited) =>
            Option.match(waited, {
              onSome: after,
              onNone: () =>
                at((now) =>
                  follow(grant, request, Turn.outOfPatience(policyOf(grant), grant.state, caller, now))
                )
            })
          )
    }
  }
}

const waitForFlight = (grant: Grant, want: State.Want): Effect.Effect<Release> =>
  Effect.suspend(() => {
    if (grant.context.flights.isClosing()) return Effect.succeed({ failure: Option.some(closed) })
    const released = (grant.released ??= Deferred.unsafeMake<Release>(FiberId.none))
    return Effect.andThen(start(grant, want), Deferred.await(released))
  })

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
