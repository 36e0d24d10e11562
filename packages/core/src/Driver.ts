/**
 * Performs the commands of the machine with the ports. It decides nothing.
 *
 * Each grant has one flight at a time: a fiber of the layer's scope. Interrupting a caller never reaches it.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Fibers from "./edition/Fibers.js"
import type { Command, Input, Release } from "./grant/Messages.js"
import type * as State from "./grant/State.js"
import { LeaseError } from "./RefreshLease.js"
import * as Telemetry from "./Telemetry.js"
import * as TimeLimit from "./TimeLimit.js"
import { RefreshError, type TokenRefresher } from "./TokenRefresher.js"
import {
  type Applied,
  type Grant,
  type GrantContext,
  apply,
  closed,
  letGo,
  namesOf,
  nextRelease,
  report,
  storageOf,
  tell
} from "./Grant.js"
import { StorageError } from "./TokenStorage.js"

/** Starts the flight, or joins the one that is running. Does not wait. */
export const start = (grant: Grant, want: State.Want): Effect.Effect<void> =>
  Effect.clockWith((clock) => {
    begin(grant, want, clock, grant.context.turn)
    return Effect.void
  })

/** Starts the flight, or joins the one that is running, and waits until callers are released. */
export const join = (grant: Grant, want: State.Want): Effect.Effect<Release> =>
  Effect.clockWith((clock) => {
    if (grant.context.flights.isClosing()) return Effect.succeed({ failure: Option.some(closed) })
    const released = nextRelease(grant)
    begin(grant, want, clock, grant.context.turn)
    return Deferred.await(released)
  })

/** Renews the grant without a caller, and waits until the flight ends, whatever its outcome. */
export const renew = (grant: Grant, want: State.Want): Effect.Effect<void> =>
  Effect.clockWith((clock) => {
    const released = nextRelease(grant)
    const flight = begin(grant, want, clock, grant.context.renewalTurn)
    if (flight !== undefined) return Effect.asVoid(Fiber.await(flight))
    return grant.context.flights.isClosing() ? Effect.void : Effect.asVoid(Deferred.await(released))
  })

/** Returns the flight that this call started, if it started one. */
const begin = (
  grant: Grant,
  want: State.Want,
  clock: Clock.Clock,
  turn: GrantContext["turn"]
): Fiber.RuntimeFiber<void> | undefined => {
  const { flights } = grant.context
  if (flights.isClosing()) return undefined
  const next = apply(grant, { _tag: "Wanted", want }, clock.unsafeCurrentTimeMillis())
  if (Option.isNone(next.command)) return undefined
  const flight = Telemetry.flight(namesOf(grant), () => grant.state, drive(grant, next, clock))
  const inTurn = turn?.(grant)(flight) ?? flight
  return flights.fork(clock === grant.context.clock ? inTurn : Effect.withClock(inTurn, clock))
}

const drive = (grant: Grant, first: Applied, clock: Clock.Clock): Effect.Effect<Telemetry.Outcome> =>
  // The server's response holds the only copy of a refresh token. From the response to the commit nothing
  // interrupts.
  Effect.uninterruptibleMask((restore) => {
    const loop = (last: Applied, leasedAt: Option.Option<number>): Effect.Effect<Telemetry.Outcome> => {
      const next = Option.match(last.command, {
        onNone: () => Effect.succeed({ failure: Option.flatMap(last.released, (r) => r.failure), leasedAt }),
        onSome: (command) =>
          Effect.flatMap(perform(grant, command, restore), (input) => {
            const now = clock.unsafeCurrentTimeMillis()
            return loop(apply(grant, input, now), input._tag === "LeaseTaken" ? Option.some(now) : leasedAt)
          })
      })
      const reported = report(grant, last)
      return reported === Effect.void ? next : Effect.andThen(reported, next)
    }
    return Effect.onExit(loop(first, Option.none()), () => letGo(grant, { failure: Option.some(closed) }))
  })

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const perform = (grant: Grant, command: Command, restore: Restore): Effect.Effect<Input> => {
  const { refresher } = grant.context
  switch (command._tag) {
    case "Load":
      return Effect.match(restore(load(grant)), {
        onSuccess: (loaded): Input => ({ _tag: "Loaded", loaded, writes: command.writes }),
        onFailure: (error): Input => ({ _tag: "LoadFailed", error })
      })
    case "TakeLease":
      return takeLease(grant)
    case "ConfirmLease":
      return grant.lease === undefined
        ? Effect.succeed({ _tag: "LeaseConfirmed", held: "no" })
        : Effect.matchCause(grant.lease.lease.isHeld, {
            onFailure: (): Input => ({ _tag: "LeaseConfirmed", held: "unknown" }),
            onSuccess: (held): Input => ({ _tag: "LeaseConfirmed", held: held ? "yes" : "no" })
          })
    case "ReleaseLease": {
      const { lease } = grant
      grant.lease = undefined
      const released: Input = { _tag: "LeaseReleased" }
      return lease === undefined
        ? Effect.succeed(released)
        : Effect.as(Effect.exit(Scope.close(lease.scope, Exit.void)), released)
    }
    case "Commit": {
      const { entry, expected, writes } = command
      const committing = orBroken(storageOf(grant).commit(entry, expected), brokenStorage(grant, "commit"))
      const outcome = Effect.match(committing, {
        onSuccess: (version): Input => ({ _tag: "Committed", entry, version, writes }),
        onFailure: (error): Input =>
          error._tag === "StorageError" ? { _tag: "CommitFailed", error } : { _tag: "CommitRefused", error }
      })
      return grant.state.phase._tag === "Committing" ? reportingSlow(grant, outcome) : outcome
    }
    case "Redeem":
      return redeem(grant, refresher.refresh(command.previous), command.readsOn, restore)
    // Performed as soon as the machine commands it.
    case "Wake":
      return Effect.die(new Error("A flight cannot wake itself."))
    case "Wait":
      return Effect.suspend(() => {
        const awake = (grant.awake ??= Deferred.unsafeMake<void>(FiberId.none))
        const woken: Input = { _tag: "Woken" }
        // While the scope closes, nobody advances a clock that is set by hand.
        return Option.isSome(grant.state.closing) && !TimeLimit.isLive(grant.context.clock)
          ? Effect.succeed(woken)
          : Effect.as(restore(Effect.race(Effect.sleep(command.millis), Deferred.await(awake))), woken)
      })
  }
}

/** How long, in milliseconds, callers wait for storage to commit the rotation that brought their token. */
const commitPatience = 1000

const reportingSlow = <A>(grant: Grant, committing: Effect.Effect<A>): Effect.Effect<A> =>
  Effect.flatMap(Fibers.running(), (running) => {
    const stop = TimeLimit.startTimer(running, commitPatience, tell(grant, { _tag: "CommitSlow" }))
    return Effect.ensuring(committing, Effect.sync(stop))
  })

const takeLease = (grant: Grant): Effect.Effect<Input> => {
  const { config, lease } = grant.context
  return Effect.flatMap(Scope.make(), (scope) =>
    Effect.matchEffect(
      orBroken(Scope.extend(lease.acquire(grant.account, config.leaseTtl), scope), brokenLease(grant)),
      {
        onSuccess: (held): Effect.Effect<Input> =>
          Effect.sync(() => {
            grant.lease = { lease: held, scope }
            return { _tag: "LeaseTaken", lease: { fence: held.fence } }
          }),
        onFailure: (error): Effect.Effect<Input> =>
          Effect.as(Scope.close(scope, Exit.void), { _tag: "LeaseFailed", error })
      }
    )
  )
}

export const load = (grant: Grant) => orBroken(storageOf(grant).load, brokenStorage(grant, "load"))

/**
 * A port that died of a defect, or interrupted itself, has failed. The flight goes on. The defect is dropped,
 * because it may hold a secret.
 */
const orBroken = <A, E, E2>(use: Effect.Effect<A, E>, broken: () => E2): Effect.Effect<A, E | E2> =>
  Effect.catchAllCause(use, (cause) =>
    Option.match(Cause.failureOption(cause), {
      onNone: (): Effect.Effect<never, E | E2> => Effect.fail(broken()),
      onSome: Effect.fail
    })
  )

const brokenStorage = (grant: Grant, operation: "load" | "commit") => () =>
  new StorageError({
    reason: "Unavailable",
    operation,
    location: storageOf(grant).location,
    message: "The storage has a bug: it threw an unexpected error. Call it on its own to see the error."
  })

const brokenLease =
  ({ account }: Grant) =>
  () =>
    new LeaseError({
      reason: "Unavailable",
      account,
      message: "The lease has a bug: it threw an unexpected error. Call it on its own to see the error."
    })

/**
 * Waits for the response, up to the time-out. If the command allows it, a response that has begun to arrive
 * by then is read for as long as the lease lasts.
 */
const redeem = (
  grant: Grant,
  request: ReturnType<Context.Tag.Service<TokenRefresher>["refresh"]>,
  readsOn: boolean,
  restore: Restore
): Effect.Effect<Input> =>
  Effect.suspend(() => {
    const { leaseTtl, refreshTimeout } = grant.context.config
    const late = Effect.suspend(() => Effect.fail(tooSlow(refreshTimeout)))
    const arrival: TimeLimit.Arrival = { millis: leaseTtl, begun: false }
    const more = Effect.suspend(() =>
      readsOn && arrival.begun
        ? Effect.as(
            tell(grant, { _tag: "Overdue", message: tooSlow(refreshTimeout).message }),
            leaseTtl - refreshTimeout
          )
        : Effect.succeed(0)
    )
    const reading = readsOn ? Effect.provideService(request, TimeLimit.ReadOn, arrival) : request
    return TimeLimit.within(reading, { millis: refreshTimeout, more, late }).pipe(
      restore,
      (answer) => orBroken(answer, () => broken),
      Effect.match({
        onSuccess: (credentials): Input => ({ _tag: "Answered", credentials }),
        onFailure: (error): Input => ({ _tag: "RefreshFailed", error })
      })
    )
  })

const tooSlow = (millis: number): RefreshError =>
  new RefreshError({
    reason: "MaybeSent",
    message: `No answer within ${Duration.format(Duration.millis(millis))}; whether the server saw the request is unknown.`
  })

const broken = new RefreshError({
  reason: "MaybeSent",
  message:
    "The refresher has a bug: it threw an unexpected error, and whether the server saw a request is unknown. Call it on its own to see the error."
})
