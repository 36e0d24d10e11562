/** Many grants by their accounts: made when first asked for, shared while in use, let go when idle. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AuthStatus } from "../AuthStatus.js"
import { jitterShare } from "../grant/BackOff.js"
import { anyValid } from "../grant/Decision.js"
import * as Driver from "../Driver.js"
import * as Manager from "../Manager.js"
import type { TokenError } from "../TokenError.js"
import type * as TokenManager from "../TokenManager.js"
import type { AccountEvent, SetupError } from "../TokenManagers.js"
import type { StorageError } from "../TokenStorage.js"
import type { TokenEvent } from "../TokenEvent.js"
import * as Many from "./Many.js"
import { RenewalTask, type Turns } from "./RenewalTask.js"
import type { Scheduler } from "./Scheduler.js"

/** What the grants of some accounts work with. */
export interface Setting {
  readonly context: Driver.GrantContext
  readonly instance: string
  readonly turns: Turns
  readonly manager: Manager.Options
}

/** A grant, who needs it, and its renewal. */
interface Pooled {
  readonly grant: Driver.Grant
  readonly manager: Manager.Options
  readonly task: RenewalTask | undefined
  /** What was built for it alone. */
  readonly own: Scope.CloseableScope | undefined
  holders: number
  usedAt: number
}

/** What an account's grant is to work with: at once where all is there, or built in the scope. */
export type Setup = (
  account: string
) =>
  | { readonly _tag: "Ready"; readonly setting: Setting }
  | { readonly _tag: "Build"; readonly setting: Effect.Effect<Setting, SetupError, Scope.Scope> }
  | { readonly _tag: "Refused"; readonly error: SetupError }

export interface Parts {
  readonly setup: Setup
  readonly clock: Clock.Clock
  /** Where grants are set up, apart from any caller. */
  readonly flights: Driver.Flights
  /** Plans renewals; none where nothing is renewed without being asked. */
  readonly scheduler: Option.Option<Scheduler>
  readonly idleTimeToLive: number
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** How many events a slow reader of all accounts' events may be behind. */
const eventBacklog = 4096

/** How many accounts are set up or looked at together. */
const width = 16

const makeGrant = ({ context, instance }: Setting, account: string): Driver.Grant =>
  Driver.make(context, account, jitterShare(`${account} ${instance}`))

export class Pool {
  private readonly grants = new Map<string, Pooled>()
  private readonly underWay = new Map<string, Deferred.Deferred<Pooled, SetupError>>()
  /** Those that nobody holds, about in the order of their last use. */
  private readonly idle = new Set<Pooled>()
  private readonly someIdle = Effect.unsafeMakeLatch(false)
  private hub: PubSub.PubSub<AccountEvent> | undefined = undefined

  constructor(private readonly parts: Parts) {}

  get accounts(): ReadonlyArray<string> {
    return [...this.grants.keys()]
  }

  /** Another writer may have changed this account's grant, or anybody's. */
  noteChange(account: Option.Option<string>): Effect.Effect<void> {
    const changed = Option.match(account, {
      onNone: () => [...this.grants.values()],
      onSome: (name) => Option.toArray(Option.fromNullable(this.grants.get(name)))
    })
    return Effect.forEach(changed, ({ grant }) => Driver.tell(grant, { _tag: "Changed" }), { discard: true })
  }

  /** A valid token: one look-up and one compare where it is in memory and fresh. */
  getAccessToken(account: string): Effect.Effect<Redacted.Redacted, TokenError | SetupError> {
    return Effect.clockWith((clock) => {
      const pooled = this.grants.get(account)
      if (pooled === undefined) return this.slowly(account)
      const now = clock.unsafeCurrentTimeMillis()
      if (pooled.holders === 0) pooled.usedAt = now
      return Driver.isOpen(pooled.grant, now) ? pooled.grant.answer : this.slowly(account)
    })
  }

  private slowly(account: string): Effect.Effect<Redacted.Redacted, TokenError | SetupError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(this.hold(account, restore), (pooled) =>
        Effect.ensuring(restore(Driver.resolve(pooled.grant, anyValid)), this.letGo(pooled))
      )
    )
  }

  unsafePeek(account: string): Option.Option<Redacted.Redacted> {
    const pooled = this.grants.get(account)
    if (pooled === undefined) return Option.none()
    const now = this.parts.clock.unsafeCurrentTimeMillis()
    if (pooled.holders === 0) pooled.usedAt = now
    return Manager.peek(pooled.grant, now)
  }

  /** The account's manager, for as long as the scope is open. */
  get(account: string): Effect.Effect<TokenManager.Manager, SetupError, Scope.Scope> {
    return Effect.uninterruptibleMask((restore) =>
      this.hold(account, restore).pipe(
        Effect.tap((pooled) => Effect.addFinalizer(() => this.letGo(pooled))),
        Effect.map(({ grant, manager }) => Manager.make(grant, manager))
      )
    )
  }

  /** The account's grant, which stays until it is let go as often as it is held. Not to be interrupted but for the wait. */
  private hold(account: string, restore: Restore): Effect.Effect<Pooled, SetupError> {
    return Effect.suspend(() => {
      const pooled = this.grants.get(account)
      return pooled === undefined
        ? Effect.map(restore(this.make(account)), (made) => this.held(made))
        : Effect.succeed(this.held(pooled))
    })
  }

  private held(pooled: Pooled): Pooled {
    pooled.holders++
    this.idle.delete(pooled)
    return pooled
  }

  private letGo(pooled: Pooled): Effect.Effect<void> {
    return Effect.map(Clock.currentTimeMillis, (now) => {
      pooled.holders--
      this.rest(pooled, now)
    })
  }

  /** Unless somebody holds it, it goes when it has rested for long. */
  private rest(pooled: Pooled, now: number): void {
    pooled.usedAt = now
    if (pooled.holders > 0 || this.parts.idleTimeToLive === Infinity) return
    this.idle.add(pooled)
    this.someIdle.unsafeOpen()
  }

  /** Holds all of them for as long as the scope is open; returns those that cannot be set up. */
  keep(accounts: Iterable<string>): Effect.Effect<ReadonlyMap<string, SetupError>, never, Scope.Scope> {
    return Effect.uninterruptibleMask((restore) => {
      const kept: Array<Pooled> = []
      const refused = new Map<string, SetupError>()
      const hold = (account: string) =>
        Effect.match(this.hold(account, restore), {
          onFailure: (error) => void refused.set(account, error),
          onSuccess: (pooled) => void kept.push(pooled)
        })
      return Effect.addFinalizer(() =>
        Effect.forEach(kept, (pooled) => this.letGo(pooled), { discard: true })
      ).pipe(Effect.andThen(Many.forEach(accounts, width, hold)), Effect.as(refused))
    })
  }

  /** The status of an account, without making it one of the pool. */
  status(account: string): Effect.Effect<AuthStatus, SetupError | StorageError> {
    return Effect.suspend(() => {
      const pooled = this.grants.get(account)
      if (pooled !== undefined) return Manager.status(pooled.grant)
      const setup = this.parts.setup(account)
      const once = (setting: Setting) => {
        const grant = makeGrant(setting, account)
        return Effect.ensuring(Manager.status(grant), Driver.leave(grant))
      }
      switch (setup._tag) {
        case "Ready":
          return once(setup.setting)
        case "Build":
          return Effect.scoped(Effect.flatMap(setup.setting, once))
        case "Refused":
          return Effect.fail(setup.error)
      }
    })
  }

  get events(): Stream.Stream<AccountEvent> {
    return Stream.unwrap(
      Effect.suspend(() => {
        if (this.hub !== undefined) return Effect.succeed(Stream.fromPubSub(this.hub))
        return Effect.map(PubSub.sliding<AccountEvent>(eventBacklog), (hub) =>
          Stream.fromPubSub((this.hub ??= hub))
        )
      })
    )
  }

  readonly publish = (account: string, event: TokenEvent): Effect.Effect<void> =>
    Effect.suspend(() => (this.hub === undefined ? Effect.void : Driver.offer(this.hub, { account, event })))

  private make(account: string): Effect.Effect<Pooled, SetupError> {
    const setup = this.parts.setup(account)
    switch (setup._tag) {
      case "Ready":
        return Effect.sync(() => this.add(setup.setting, account, undefined))
      case "Build":
        return this.build(account, setup.setting)
      case "Refused":
        return Effect.fail(setup.error)
    }
  }

  /** One builds for all who ask meanwhile, and is no fiber of any of them. */
  private build(
    account: string,
    setting: Effect.Effect<Setting, SetupError, Scope.Scope>
  ): Effect.Effect<Pooled, SetupError> {
    return Effect.clockWith((clock) => {
      const other = this.underWay.get(account)
      if (other !== undefined) return Deferred.await(other)
      const made = Deferred.unsafeMake<Pooled, SetupError>(FiberId.none)
      this.underWay.set(account, made)
      const built = Effect.flatMap(Scope.make(), (scope) =>
        setting.pipe(
          Scope.extend(scope),
          Effect.map((s) => this.add(s, account, scope)),
          Effect.tap(({ grant }) =>
            grant.context.reportsChanges ? Effect.forkIn(Manager.watch(grant), scope) : Effect.void
          ),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
      )
      const done = Effect.onExit(Effect.withClock(built, clock), (exit) =>
        Effect.sync(() => {
          this.underWay.delete(account)
          Deferred.unsafeDone(made, exit)
          // Those who asked may all have gone, and then nobody lets it go.
          if (Exit.isSuccess(exit)) this.rest(exit.value, this.parts.clock.unsafeCurrentTimeMillis())
        })
      )
      this.parts.flights.fork(Effect.ignore(done))
      return Deferred.await(made)
    })
  }

  private add(setting: Setting, account: string, own: Pooled["own"]): Pooled {
    const grant = makeGrant(setting, account)
    const { scheduler } = this.parts
    const task = Option.isSome(scheduler) ? new RenewalTask(grant, setting.turns) : undefined
    const pooled: Pooled = { grant, manager: setting.manager, task, own, holders: 0, usedAt: -Infinity }
    this.grants.set(account, pooled)
    if (task !== undefined && Option.isSome(scheduler)) scheduler.value.add(task)
    return pooled
  }

  /** Lets go of those that are idle, again and again. */
  get sweep(): Effect.Effect<never> {
    return Effect.forever(
      this.someIdle.await.pipe(
        // One look at all of them costs little; none is looked at when it is used.
        Effect.andThen(Effect.suspend(() => Effect.sleep(this.parts.idleTimeToLive / 4))),
        Effect.andThen(this.sweepOnce)
      )
    )
  }

  private get sweepOnce(): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const leaving: Array<Pooled> = []
      for (const pooled of this.idle) {
        // One that lies in the future was used before the clock was set back.
        const rests = now >= pooled.usedAt && now - pooled.usedAt < this.parts.idleTimeToLive
        if (!rests && Driver.isQuiet(pooled.grant) && pooled.task?.isDue !== true) leaving.push(pooled)
      }
      leaving.forEach((pooled) => this.forget(pooled))
      if (this.idle.size === 0) this.someIdle.unsafeClose()
      return Effect.forEach(leaving, end, { discard: true })
    })
  }

  private forget(pooled: Pooled): void {
    this.idle.delete(pooled)
    this.grants.delete(pooled.grant.account)
    this.unplan(pooled)
  }

  private unplan({ task }: Pooled): void {
    if (task !== undefined && Option.isSome(this.parts.scheduler)) this.parts.scheduler.value.remove(task)
  }

  /** Nothing is renewed any more. */
  unschedule(): void {
    for (const pooled of this.grants.values()) this.unplan(pooled)
  }

  /** The end of all of them, after their flights. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.andThen(
        Many.forEach([...this.grants.values()], width, end),
        this.hub === undefined ? Effect.void : PubSub.shutdown(this.hub)
      )
    )
  }
}

const end = ({ grant, own }: Pooled): Effect.Effect<void> =>
  Effect.andThen(Driver.leave(grant), own === undefined ? Effect.void : Scope.close(own, Exit.void))
