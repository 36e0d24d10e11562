/**
 * Performs what the machine commands, with the ports, and decides nothing.
 *
 * Each grant has one flight at a time: a fiber of the layer's scope that no caller's interruption reaches. Callers
 * wait on a `Deferred`. Closing the scope waits for the flights, bounded.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AuthStatus } from "./AuthStatus.js"
import type * as Decision from "./grant/Decision.js"
import type { Command, Input, Next, Release } from "./grant/Messages.js"
import * as State from "./grant/State.js"
import { step } from "./grant/Step.js"
import * as Turn from "./grant/Turn.js"
import * as View from "./grant/View.js"
import type { Profile } from "./Profile.js"
import { type Lease, LeaseError, type RefreshLease } from "./RefreshLease.js"
import * as Telemetry from "./Telemetry.js"
import * as TimeLimit from "./TimeLimit.js"
import type { TokenConfig } from "./TokenConfig.js"
import { fromFailure, storageErrorOf } from "./tokenErrors.js"
import type { TokenError } from "./TokenError.js"
import type { TokenEvent } from "./TokenEvent.js"
import { identityOf, RefreshError, type TokenRefresher } from "./TokenRefresher.js"
import { StorageError, type TokenStorage } from "./TokenStorage.js"

/** What the grants of one pool, or a manager alone, work with. */
export interface GrantContext {
  readonly provider: string
  readonly refresher: Context.Tag.Service<TokenRefresher>
  readonly config: Context.Tag.Service<TokenConfig>
  readonly lease: Context.Tag.Service<RefreshLease>
  readonly storageOf: (account: string) => Context.Tag.Service<TokenStorage>
  readonly reportsChanges: boolean
  readonly clock: Clock.Clock
  readonly flights: Flights
  /** How many of its last events a grant keeps. */
  readonly historyLength: number
  /** Waits for the grant's turn at the token server, where that is bounded. */
  readonly turn?: (grant: Grant) => <A>(flight: Effect.Effect<A>) => Effect.Effect<A>
  /** Receives each event, in order. */
  readonly publish: (account: string, event: TokenEvent) => Effect.Effect<void>
}

/** The flights of one scope. */
export interface Flights {
  readonly isClosing: () => boolean
  readonly isClosed: () => boolean
  readonly fork: (flight: Effect.Effect<void>) => void
  /** Reports the closing of the scope to a grant. */
  readonly add: (grant: Grant) => Grant
  readonly remove: (grant: Grant) => void
}

/** One grant at work. {@link apply} is the only writer of `state` and `answer`. */
export interface Grant {
  readonly context: GrantContext
  readonly account: string
  readonly jitterShare: number
  state: State.State
  /** The token of the fast path, as an effect. */
  answer: Effect.Effect<Redacted.Redacted>
  /** Those who wait for the flight, for a read, and the flight that sleeps. */
  released: Deferred.Deferred<Release> | undefined
  reading: Deferred.Deferred<Option.Option<State.Failure>> | undefined
  awake: Deferred.Deferred<void> | undefined
  lease: { readonly lease: Lease; readonly scope: Scope.CloseableScope } | undefined
  /** Called after the state changed. */
  onChange: (() => void) | undefined
  /** The last events, the oldest first, and those who listen to them. */
  history: ReadonlyArray<TokenEvent>
  events: { readonly hub: PubSub.PubSub<TokenEvent>; listeners: number } | undefined
  status: { readonly status: AuthStatus; readonly at: number; readonly of: State.State } | undefined
  profile: { readonly profile: Profile; readonly writes: number } | undefined
}

const never: Effect.Effect<never> = Effect.never

const closed: State.Failure = { _tag: "Closed" }

export const make = (context: GrantContext, account: string, jitterShare: number): Grant =>
  context.flights.add({
    context,
    account,
    jitterShare,
    state: State.initial,
    answer: never,
    released: undefined,
    reading: undefined,
    awake: undefined,
    lease: undefined,
    onChange: undefined,
    history: [],
    events: undefined,
    status: undefined,
    profile: undefined
  })

export const policyOf = ({ context, jitterShare }: Grant): State.Policy => ({
  ...context.config,
  rotation: context.refresher.rotation,
  needsRefreshToken: context.refresher.needsRefreshToken,
  identityOf: (credentials) => identityOf(context.refresher, credentials),
  formerly: context.refresher.formerly ?? [],
  serverAhead: context.refresher.serverAhead?.() ?? 0,
  jitterShare,
  uptime: Number(context.clock.unsafeCurrentTimeNanos() / 1_000_000n),
  reportsChanges: context.reportsChanges
})

const storageOf = (grant: Grant) => grant.context.storageOf(grant.account)

/** What came of an input, and the state before it. */
interface Applied extends Next {
  readonly before: State.State
}

/** Puts an input to the machine: the only place that writes the state. */
const apply = (grant: Grant, input: Input, now: number): Applied => {
  const before = grant.state
  const next = step(policyOf(grant), before, input, now)
  grant.state = next.state
  if (next.state !== before && next.state.openUntil > now) {
    const token = Option.map(State.credentialsOf(next.state), ({ accessToken }) => accessToken)
    if (Option.isSome(token)) grant.answer = Effect.succeed(token.value)
  }
  const isWoken = Option.exists(next.command, ({ _tag }) => _tag === "Wake")
  if (isWoken) wake(grant)
  if (next.state !== before) grant.onChange?.()
  return { ...next, before, command: isWoken ? Option.none() : next.command }
}

const wake = (grant: Grant): void => {
  const { awake } = grant
  grant.awake = undefined
  if (awake !== undefined) Deferred.unsafeDone(awake, Exit.void)
}

/** Publishes the events of a step; then lets those who wait look again. */
const report = (grant: Grant, { before, events, released, state }: Applied): Effect.Effect<void> => {
  const names = namesOf(grant)
  const published = Effect.andThen(
    Effect.forEach(events, (event) => publish(grant, event, before), { discard: true }),
    Telemetry.countUnsaved(names, before, state)
  )
  return Option.match(released, {
    onNone: () => published,
    onSome: (release) =>
      Effect.andThen(
        published,
        Effect.sync(() => letGo(grant, release))
      )
  })
}

const publish = (grant: Grant, event: TokenEvent, before: State.State): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { context, events } = grant
    const kept = grant.history.slice(-context.historyLength + 1)
    grant.history = [...kept, event]
    return Telemetry.record(namesOf(grant), event, before).pipe(
      Effect.andThen(context.publish(grant.account, event)),
      Effect.andThen(events === undefined ? Effect.void : offer(events.hub, event))
    )
  })

/** A slow reader misses the oldest. Nothing happens where the hub is shut down. */
export const offer = <A>(hub: PubSub.PubSub<A>, value: A): Effect.Effect<void> =>
  Effect.flatMap(PubSub.isShutdown(hub), (isShut) =>
    isShut ? Effect.void : Effect.asVoid(PubSub.publish(hub, value))
  )

const namesOf = ({ account, context: { provider } }: Grant): Telemetry.Names => ({ provider, account })

const letGo = (grant: Grant, release: Release): void => {
  const { released } = grant
  grant.released = undefined
  if (released !== undefined) Deferred.unsafeDone(released, Exit.succeed(release))
}

/** {@link apply}, for what a user did that may end the flight; returns once the lease is released, if it does. */
export const tellAndSettle = (grant: Grant, input: Input): Effect.Effect<void> =>
  Effect.andThen(
    tell(grant, input),
    Effect.suspend(() => {
      if (!State.isCommitting(grant.state) || Option.isSome(grant.state.uncommitted)) return Effect.void
      return Deferred.await((grant.released ??= Deferred.unsafeMake<Release>(FiberId.none)))
    })
  )

/** {@link apply}, from outside the flight. */
export const tell = (grant: Grant, input: Input): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => report(grant, apply(grant, input, now)))

// --- The flight ---

/** Starts the flight, or joins the one under way. Does not wait. */
const start = (grant: Grant, want: State.Want): Effect.Effect<void> =>
  begin(grant, want, (flight) => grant.context.turn?.(grant)(flight) ?? flight)

/** Renews the grant for nobody in particular, by who has its turn already; waits for the end, whatever that is. */
export const renew = (grant: Grant, want: State.Want): Effect.Effect<void> =>
  Effect.suspend(() => {
    const released = (grant.released ??= Deferred.unsafeMake<Release>(FiberId.none))
    return Effect.andThen(
      begin(grant, want, (flight) => flight),
      Effect.asVoid(Deferred.await(released))
    )
  })

const begin = (
  grant: Grant,
  want: State.Want,
  inTurn: <A>(flight: Effect.Effect<A>) => Effect.Effect<A>
): Effect.Effect<void> =>
  Effect.clockWith((clock) => {
    const { flights } = grant.context
    if (flights.isClosing()) return Effect.void
    const now = clock.unsafeCurrentTimeMillis()
    const next = apply(grant, { _tag: "Wanted", want }, now)
    if (Option.isSome(next.command)) {
      const flight = inTurn(Telemetry.flight(namesOf(grant), () => grant.state, drive(grant, next)))
      flights.fork(clock === grant.context.clock ? flight : Effect.withClock(flight, clock))
    }
    return Effect.void
  })

const drive = (grant: Grant, first: Applied): Effect.Effect<Telemetry.Outcome> =>
  // The answer of the server holds the only copy of a refresh token: from there to the commit nothing interrupts.
  Effect.uninterruptibleMask((restore) => {
    const loop = (next: Applied, leasedAt: Option.Option<number>): Effect.Effect<Telemetry.Outcome> =>
      Effect.andThen(
        report(grant, next),
        Option.match(next.command, {
          onNone: () =>
            Effect.succeed({ failure: Option.flatMap(next.released, (r) => r.failure), leasedAt }),
          onSome: (command) =>
            Effect.flatMap(perform(grant, command, restore), (input) =>
              Effect.flatMap(Clock.currentTimeMillis, (now) =>
                loop(apply(grant, input, now), input._tag === "LeaseTaken" ? Option.some(now) : leasedAt)
              )
            )
        })
      )
    return Effect.onExit(loop(first, Option.none()), () =>
      Effect.sync(() => letGo(grant, { failure: Option.some(closed) }))
    )
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
      return Effect.match(committing, {
        onSuccess: (version): Input => ({ _tag: "Committed", entry, version, writes }),
        onFailure: (error): Input =>
          error._tag === "StorageError" ? { _tag: "CommitFailed", error } : { _tag: "CommitRefused", error }
      })
    }
    case "Redeem":
      return redeem(grant, refresher.refresh(command.previous), command.readsOn, restore)
    // Carried out as soon as it is commanded.
    case "Wake":
      return Effect.dieMessage("A flight cannot wake itself.")
    case "Wait":
      return Effect.suspend(() => {
        const awake = (grant.awake ??= Deferred.unsafeMake<void>(FiberId.none))
        const woken: Input = { _tag: "Woken" }
        // While a scope closes nobody moves a clock on that is moved by hand.
        return Option.isSome(grant.state.closing) && !TimeLimit.isLive(grant.context.clock)
          ? Effect.succeed(woken)
          : Effect.as(restore(Effect.race(Effect.sleep(command.millis), Deferred.await(awake))), woken)
      })
  }
}

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

const load = (grant: Grant) => orBroken(storageOf(grant).load, brokenStorage(grant, "load"))

/**
 * A port that died of a defect, or interrupted itself, has failed: the flight goes on. The defect itself is not
 * passed on: nobody knows what is in it.
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
    message: "The storage died of a defect. Run it alone to see why."
  })

const brokenLease =
  ({ account }: Grant) =>
  () =>
    new LeaseError({
      reason: "Unavailable",
      account,
      message: "The lease died of a defect. Run it alone to see why."
    })

/**
 * Waits for the answer, up to the time-out. An answer that has begun to arrive by then is read on for as long as the lease
 * lasts, where the command says so.
 */
const redeem = (
  grant: Grant,
  request: ReturnType<Context.Tag.Service<TokenRefresher>["refresh"]>,
  readsOn: boolean,
  restore: Restore
): Effect.Effect<Input> =>
  Effect.suspend(() => {
    const { leaseTtl, refreshTimeout } = grant.context.config
    const late = tooSlow(refreshTimeout)
    const arrival: TimeLimit.Arrival = { millis: leaseTtl, begun: false }
    const more = Effect.suspend(() =>
      readsOn && arrival.begun
        ? Effect.as(tell(grant, { _tag: "Overdue", message: late.message }), leaseTtl - refreshTimeout)
        : Effect.succeed(0)
    )
    const reading = readsOn ? Effect.provideService(request, TimeLimit.ReadOn, arrival) : request
    return TimeLimit.within(reading, { millis: refreshTimeout, more, late: Effect.fail(late) }).pipe(
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
    "The refresher died of a defect; whether the server saw a request is unknown. Run it alone to see why."
})

// --- Reads ---

/** Reads storage for callers: one read for all who ask meanwhile. What went wrong, if anything. */
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

// --- Callers ---

/** Whether the token in memory may be served without a decision. */
export const isOpen = ({ state }: Grant, now: number): boolean =>
  now < state.openUntil && now >= state.openFrom

/** A valid token: two comparisons and a prebuilt answer while the fast path is open. */
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

/** A token as asked for. */
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

/** Reads storage unless memory is fresh; its failure is none while the token in memory is valid. */
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

// --- The scope ---

/** Whether letting a grant go loses nothing and disturbs nobody. */
export const isQuiet = ({ events, reading, state }: Grant): boolean =>
  state.phase._tag === "Idle" &&
  reading === undefined &&
  events === undefined &&
  Option.isNone(state.uncommitted)

/** Whether its last refresh failed. */
export const isTroubled = ({ state }: Grant): boolean =>
  Option.exists(state.coolDown, (c) => c.reason === "Failed" || c.reason === "ServerAsked")

/** The end of a grant in this process, after its flights. */
export const leave = (grant: Grant): Effect.Effect<void> =>
  Effect.suspend(() => {
    grant.context.flights.remove(grant)
    const { events, state } = grant
    return Effect.andThen(
      // Nobody can say any more whether storage will take it.
      Telemetry.countUnsaved(namesOf(grant), state, State.initial),
      events === undefined ? Effect.void : PubSub.shutdown(events.hub)
    )
  })

/** For how long, in milliseconds, a scope that closes offers storage what it did not take. */
const closingPatience = 5000

/** The flights of the scope. Closing it tells each grant, and waits for the flights for `patience` milliseconds. */
export const makeFlights = (patience: number): Effect.Effect<Flights, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fibers = yield* FiberSet.make<void>()
    const run = yield* FiberSet.runtime(fibers)<never>()
    const grants = new Set<Grant>()
    let phase: "Open" | "Closing" | "Closed" = "Open"
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        phase = "Closing"
        const until = (yield* Clock.currentTimeMillis) + closingPatience
        yield* Effect.forEach(grants, (grant) => tell(grant, { _tag: "Closing", until }), { discard: true })
        yield* Effect.timeoutOption(Effect.interruptible(FiberSet.awaitEmpty(fibers)), patience)
        phase = "Closed"
        yield* Effect.forEach([...grants], leave, { discard: true })
      })
    )
    return {
      add: (grant) => {
        grants.add(grant)
        return grant
      },
      remove: (grant) => void grants.delete(grant),
      isClosing: () => phase !== "Open",
      isClosed: () => phase === "Closed",
      fork: (flight) => {
        run(flight)
      }
    }
  })

/** How long after a failure storage is listened to again, in milliseconds. */
const watchPause = 30_000

/**
 * Listens to storage until there are no more changes. Where the stream fails, `missed` stands for what is not reported
 * meanwhile, and it is listened to again later.
 */
export const watchChanges = <A>(
  changes: Stream.Stream<A, StorageError>,
  on: {
    readonly changed: (change: A) => Effect.Effect<void>
    readonly missed: Effect.Effect<void>
    readonly failed: (error: StorageError) => Effect.Effect<void>
  }
): Effect.Effect<void> =>
  Effect.catchAll(Stream.runForEach(changes, on.changed), (error) =>
    on
      .failed(error)
      .pipe(
        Effect.andThen(on.missed),
        Effect.andThen(Effect.sleep(watchPause)),
        Effect.andThen(on.missed),
        Effect.andThen(Effect.suspend(() => watchChanges(changes, on)))
      )
  )
