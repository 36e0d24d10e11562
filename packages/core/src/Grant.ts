/** One grant in use in this process. {@link apply} is the only writer of its state. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Fibers from "./edition/Fibers.js"
import type { AuthStatus } from "./AuthStatus.js"
import type * as Decision from "./grant/Decision.js"
import type { Input, Next, Release } from "./grant/Messages.js"
import * as State from "./grant/State.js"
import { step } from "./grant/Step.js"
import type { Profile } from "./Profile.js"
import { type Lease, type RefreshLease } from "./RefreshLease.js"
import * as Telemetry from "./Telemetry.js"
import type { TokenConfig } from "./TokenConfig.js"
import type { TokenError } from "./TokenError.js"
import type { TokenEvent } from "./TokenEvent.js"
import { identityOf, type TokenRefresher } from "./TokenRefresher.js"
import type { TokenStorage } from "./TokenStorage.js"

/** What the grants of one pool, or a manager on its own, work with. */
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
  /** Waits for a caller's turn at the token server, or for a renewal's turn, if there is a limit. */
  readonly turn?: (grant: Grant) => <A>(flight: Effect.Effect<A>) => Effect.Effect<A>
  readonly renewalTurn?: (grant: Grant) => <A>(flight: Effect.Effect<A>) => Effect.Effect<A>
  /** Receives each event, in order. */
  readonly publish: (account: string, event: TokenEvent) => Effect.Effect<void>
}

/** The flights of one scope. */
export interface Flights {
  readonly isClosing: () => boolean
  readonly isClosed: () => boolean
  readonly fork: (flight: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
  /** Reports to the grant when the scope closes. */
  readonly add: (grant: Grant) => Grant
  readonly remove: (grant: Grant) => void
}

/** One grant in use. {@link apply} is the only writer of `state` and `answer`. */
export interface Grant {
  readonly context: GrantContext
  readonly account: string
  readonly jitterShare: number
  state: State.State
  /** The token of the fast path, and as an effect. */
  token: Option.Option<Redacted.Redacted>
  answer: Effect.Effect<Redacted.Redacted>
  /** The callers that wait for the flight, those that wait for a read, and the flight that sleeps. */
  released: Deferred.Deferred<Release> | undefined
  reading: Deferred.Deferred<Option.Option<State.Failure>> | undefined
  awake: Deferred.Deferred<void> | undefined
  /** What the last caller did and when, until the state changes. */
  turn:
    | {
        readonly request: Decision.Request
        readonly now: number
        readonly uptime: number
        readonly next: Effect.Effect<Redacted.Redacted, TokenError>
      }
    | undefined
  lease: { readonly lease: Lease; readonly scope: Scope.CloseableScope } | undefined
  /** The last events, oldest first, and the subscribers to new ones. */
  history: ReadonlyArray<TokenEvent>
  events: { readonly hub: PubSub.PubSub<TokenEvent>; listeners: number } | undefined
  status: { readonly status: AuthStatus; readonly at: number; readonly of: State.State } | undefined
  profile: { readonly profile: Profile; readonly writes: number } | undefined
}

const never: Effect.Effect<never> = Effect.never

export const closed: State.Failure = { _tag: "Closed" }

export const make = (context: GrantContext, account: string, jitterShare: number): Grant =>
  context.flights.add({
    context,
    account,
    jitterShare,
    state: State.initial,
    token: Option.none(),
    answer: never,
    released: undefined,
    reading: undefined,
    awake: undefined,
    turn: undefined,
    lease: undefined,
    history: [],
    events: undefined,
    status: undefined,
    profile: undefined
  })

/** Lists its members instead of spreading, because it runs for each step. */
export const policyOf = ({ context, jitterShare }: Grant): State.Policy => {
  const { clock, config, refresher, reportsChanges } = context
  return {
    credentialsTtl: config.credentialsTtl,
    grace: config.grace,
    mode: config.mode,
    jitter: config.jitter,
    coolDownBase: config.coolDownBase,
    coolDownMax: config.coolDownMax,
    leaseWait: config.leaseWait,
    refreshTimeout: config.refreshTimeout,
    rotation: refresher.rotation,
    needsRefreshToken: refresher.needsRefreshToken,
    identityOf: (credentials) => identityOf(refresher, credentials),
    formerly: refresher.formerly ?? noNames,
    serverAhead: refresher.serverAhead?.() ?? 0,
    jitterShare,
    uptime: Number(Fibers.monotonicNanos(clock) / 1_000_000n),
    reportsChanges
  }
}

const noNames: ReadonlyArray<string> = []

export const storageOf = (grant: Grant) => grant.context.storageOf(grant.account)

/** The outcome of an input, and the state before it. */
export interface Applied extends Next {
  readonly before: State.State
}

/** Passes an input to the machine. This is the only place that writes the state. */
export const apply = (grant: Grant, input: Input, now: number): Applied => {
  const before = grant.state
  const next = step(policyOf(grant), before, input, now)
  grant.state = next.state
  if (next.state !== before) grant.turn = undefined
  if (next.state !== before && next.state.openUntil > now) {
    const token = Option.map(State.credentialsOf(next.state), ({ accessToken }) => accessToken)
    if (Option.isSome(token)) {
      grant.token = token
      grant.answer = Effect.succeed(token.value)
    }
  }
  const isWoken = Option.exists(next.command, ({ _tag }) => _tag === "Wake")
  if (isWoken) wake(grant)
  return { ...next, before, command: isWoken ? Option.none() : next.command }
}

const wake = (grant: Grant): void => {
  const { awake } = grant
  grant.awake = undefined
  if (awake !== undefined) Deferred.unsafeDone(awake, Exit.void)
}

/** Publishes the events of a step. Then it lets waiting callers look again. */
export const report = (grant: Grant, { before, events, released, state }: Applied): Effect.Effect<void> => {
  const unsaved = Telemetry.countUnsaved(namesOf(grant), before, state)
  const letsGo = Option.match(released, {
    onNone: () => Effect.void,
    onSome: (release) => letGo(grant, release)
  })
  return inOrder([...events.map((event) => publish(grant, event, before)), unsaved, letsGo])
}

/** Runs effects in sequence. Effects that do nothing cost nothing. */
const inOrder = (effects: ReadonlyArray<Effect.Effect<void>>): Effect.Effect<void> => {
  const busy = effects.filter((effect) => effect !== Effect.void)
  return busy.length === 0 ? Effect.void : busy.reduce((all, next) => Effect.andThen(all, next))
}

const publish = (grant: Grant, event: TokenEvent, before: State.State): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { account, context, events } = grant
    const kept = grant.history.slice(-context.historyLength + 1)
    grant.history = [...kept, event]
    return inOrder([
      Telemetry.record(namesOf(grant), event, before),
      context.publish(account, event),
      events === undefined ? Effect.void : offer(events.hub, event)
    ])
  })

/** A slow reader misses the oldest values. Does nothing if the hub is shut down. */
export const offer = <A>(hub: PubSub.PubSub<A>, value: A): Effect.Effect<void> =>
  Effect.flatMap(PubSub.isShutdown(hub), (isShut) =>
    isShut ? Effect.void : Effect.asVoid(PubSub.publish(hub, value))
  )

export const namesOf = ({ account, context: { provider } }: Grant): Telemetry.Names => ({ provider, account })

/** Completes when waiting callers may look again. */
export const nextRelease = (grant: Grant): Deferred.Deferred<Release> =>
  (grant.released ??= Deferred.unsafeMake<Release>(FiberId.none))

export const letGo = (grant: Grant, release: Release): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { released } = grant
    grant.released = undefined
    return released === undefined ? Effect.void : Fibers.release(released, Exit.succeed(release))
  })

/**
 * {@link apply} for a user's action that may end the flight. If it does, this returns once the lease is
 * released.
 */
export const tellAndSettle = (grant: Grant, input: Input): Effect.Effect<void> =>
  Effect.andThen(
    tell(grant, input),
    Effect.suspend(() => {
      if (!State.isCommitting(grant.state) || Option.isSome(grant.state.uncommitted)) return Effect.void
      return Deferred.await(nextRelease(grant))
    })
  )

/** {@link apply} from outside the flight. */
export const tell = (grant: Grant, input: Input): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => report(grant, apply(grant, input, now)))
