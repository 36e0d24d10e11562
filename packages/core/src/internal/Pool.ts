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
import * as Decision from "../Decision.js"
import type { TokenError } from "../TokenError.js"
import type { AccountEvent, SetupError } from "../TokenManagers.js"
import type { StorageError } from "../TokenStorage.js"
import * as Access from "./Access.js"
import { Grant, type Setting } from "./Grant.js"
import * as GrantManager from "./GrantManager.js"
import * as Many from "./Many.js"
import { closingEnd } from "./Saver.js"
import type { Scheduler } from "./Scheduler.js"
import type { Flights } from "./SingleFlight.js"
import { tell } from "./Telling.js"

/** A grant, and who needs it. */
export class Pooled extends Grant {
  holders = 0
  usedAt = Number.NEGATIVE_INFINITY
  /** What was built for it alone. */
  own: Scope.CloseableScope | undefined = undefined
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
  readonly flights: Flights
  /** Plans renewals; none where nothing is renewed without being asked. */
  readonly scheduler: Option.Option<Scheduler>
  readonly idleTimeToLive: number
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** How many events a slow reader of all accounts' events may be behind. */
const eventBacklog = 4096

/** How many accounts are set up or looked at together. */
const width = 16

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
  noteChange(account: Option.Option<string>): void {
    if (Option.isSome(account)) this.grants.get(account.value)?.noteChange()
    else for (const grant of this.grants.values()) grant.noteChange()
  }

  /** A valid token: one look-up and one compare where it is in memory and fresh. */
  getAccessToken(account: string): Effect.Effect<Redacted.Redacted, TokenError | SetupError> {
    return Effect.clockWith((clock) => {
      const grant = this.grants.get(account)
      if (grant === undefined) return this.slowly(account)
      const now = clock.unsafeCurrentTimeMillis()
      const { door } = grant.state
      if (grant.holders === 0) grant.usedAt = now
      return now < door.until && now >= door.from ? door.answer : this.slowly(account)
    })
  }

  private slowly(account: string): Effect.Effect<Redacted.Redacted, TokenError | SetupError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(this.hold(account, restore), (grant) =>
        Effect.ensuring(restore(Access.resolve(grant, Decision.anyValid)), this.letGo(grant))
      )
    )
  }

  unsafePeek(account: string): Option.Option<Redacted.Redacted> {
    const grant = this.grants.get(account)
    if (grant === undefined) return Option.none()
    const now = this.parts.clock.unsafeCurrentTimeMillis()
    if (grant.holders === 0) grant.usedAt = now
    return GrantManager.peek(grant, now)
  }

  /** The account's manager, for as long as the scope is open. */
  get(account: string): Effect.Effect<GrantManager.GrantManager, SetupError, Scope.Scope> {
    return Effect.uninterruptibleMask((restore) =>
      this.hold(account, restore).pipe(
        Effect.tap((grant) => Effect.addFinalizer(() => this.letGo(grant))),
        Effect.map((grant) => new GrantManager.GrantManager(grant))
      )
    )
  }

  /** The account's grant, which stays until it is let go as often as it is held. Not to be interrupted but for the wait. */
  private hold(account: string, restore: Restore): Effect.Effect<Pooled, SetupError> {
    return Effect.suspend(() => {
      const grant = this.grants.get(account)
      return grant === undefined
        ? Effect.map(restore(this.make(account)), (made) => this.held(made))
        : Effect.succeed(this.held(grant))
    })
  }

  private held(grant: Pooled): Pooled {
    grant.holders++
    this.idle.delete(grant)
    return grant
  }

  private letGo(grant: Pooled): Effect.Effect<void> {
    return Effect.map(Clock.currentTimeMillis, (now) => {
      grant.holders--
      this.rest(grant, now)
    })
  }

  /** Unless somebody holds it, it goes when it has rested for long. */
  private rest(grant: Pooled, now: number): void {
    grant.usedAt = now
    if (grant.holders > 0 || this.parts.idleTimeToLive === Infinity) return
    this.idle.add(grant)
    this.someIdle.unsafeOpen()
  }

  /** Holds all of them for as long as the scope is open; those that cannot be set up are told. */
  keep(accounts: Iterable<string>): Effect.Effect<ReadonlyMap<string, SetupError>, never, Scope.Scope> {
    return Effect.uninterruptibleMask((restore) => {
      const kept: Array<Pooled> = []
      const refused = new Map<string, SetupError>()
      const hold = (account: string) =>
        Effect.match(this.hold(account, restore), {
          onFailure: (error) => void refused.set(account, error),
          onSuccess: (grant) => void kept.push(grant)
        })
      return Effect.addFinalizer(() =>
        Effect.forEach(kept, (grant) => this.letGo(grant), { discard: true })
      ).pipe(Effect.zipRight(Many.forEach(accounts, width, hold)), Effect.as(refused))
    })
  }

  /** The status of an account, without making it one of the pool. */
  status(account: string): Effect.Effect<AuthStatus, SetupError | StorageError> {
    return Effect.suspend(() => {
      const grant = this.grants.get(account)
      if (grant !== undefined) return GrantManager.status(grant)
      const setup = this.parts.setup(account)
      switch (setup._tag) {
        case "Ready":
          return GrantManager.status(new Grant(setup.setting, account))
        case "Build":
          return Effect.scoped(
            Effect.flatMap(setup.setting, (setting) => GrantManager.status(new Grant(setting, account)))
          )
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

  readonly tell: NonNullable<Setting["tell"]> = (account, event) =>
    Effect.suspend(() => (this.hub === undefined ? Effect.void : tell(this.hub, { account, event })))

  private make(account: string): Effect.Effect<Pooled, SetupError> {
    const setup = this.parts.setup(account)
    switch (setup._tag) {
      case "Ready":
        return Effect.sync(() => this.add(new Pooled(setup.setting, account)))
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
          Effect.map((s) => {
            const grant = new Pooled(s, account)
            grant.own = scope
            return grant
          }),
          Effect.tap((grant) =>
            grant.setting.tellsChanges ? Effect.forkIn(GrantManager.watch(grant), scope) : Effect.void
          ),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
      )
      this.parts.flights.fork(Effect.withClock(built, clock), (exit) => {
        this.underWay.delete(account)
        if (Exit.isSuccess(exit)) this.add(exit.value)
        Deferred.unsafeDone(made, exit)
        // Those who asked may all have gone, and then nobody lets it go.
        if (Exit.isSuccess(exit)) this.rest(exit.value, this.parts.clock.unsafeCurrentTimeMillis())
      })
      return Deferred.await(made)
    })
  }

  private add(grant: Pooled): Pooled {
    this.grants.set(grant.account, grant)
    if (Option.isSome(this.parts.scheduler)) this.parts.scheduler.value.add(grant)
    return grant
  }

  /** Lets go of those that are idle, again and again. */
  get sweep(): Effect.Effect<never> {
    return Effect.forever(
      this.someIdle.await.pipe(
        // One look at all of them costs little; none is looked at when it is used.
        Effect.zipRight(Effect.suspend(() => Effect.sleep(this.parts.idleTimeToLive / 4))),
        Effect.zipRight(this.sweepOnce)
      )
    )
  }

  private get sweepOnce(): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const leaving: Array<Pooled> = []
      for (const grant of this.idle) {
        // One that lies in the future was used before the clock was set back.
        const rests = now >= grant.usedAt && now - grant.usedAt < this.parts.idleTimeToLive
        if (!rests && grant.isQuiet) leaving.push(grant)
      }
      leaving.forEach((grant) => this.forget(grant))
      if (this.idle.size === 0) this.someIdle.unsafeClose()
      // They are quiet: nothing of them is unsaved.
      return Effect.forEach(leaving, (grant) => end(grant, now), { discard: true })
    })
  }

  private forget(grant: Pooled): void {
    this.idle.delete(grant)
    this.grants.delete(grant.account)
    if (Option.isSome(this.parts.scheduler)) this.parts.scheduler.value.remove(grant)
  }

  /** Nothing is renewed any more. */
  unschedule(): void {
    if (Option.isNone(this.parts.scheduler)) return
    for (const grant of this.grants.values()) this.parts.scheduler.value.remove(grant)
  }

  /** The end of all of them, after their flights. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.zipRight(
        Effect.flatMap(closingEnd, (until) =>
          Many.forEach([...this.grants.values()], width, (grant) => end(grant, until))
        ),
        this.hub === undefined ? Effect.void : PubSub.shutdown(this.hub)
      )
    )
  }
}

const end = (grant: Pooled, until: number): Effect.Effect<void> =>
  Effect.zipRight(
    GrantManager.close(grant, until),
    grant.own === undefined ? Effect.void : Scope.close(grant.own, Exit.void)
  )
