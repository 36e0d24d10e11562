/**
 * One grant at work: its memory, its two flights, its renewal and its saving. What it shares with others is in
 * its setting, so that a grant at rest is a few small objects, without a fiber, a timer or a closure.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import type { Credentials } from "../Credentials.js"
import * as Decision from "../Decision.js"
import type { ProfileSource } from "../Profile.js"
import type { RefreshLease } from "../RefreshLease.js"
import type { Snapshot } from "../Snapshot.js"
import type { TokenConfig } from "../TokenConfig.js"
import { RefreshUnavailable, type TokenError } from "../TokenError.js"
import type * as TokenEvent from "../TokenEvent.js"
import type { TokenRefresher } from "../TokenRefresher.js"
import { StorageError, type TokenStorage } from "../TokenStorage.js"
import { GrantState } from "./GrantState.js"
import type { Lane, Lanes } from "./Lanes.js"
import * as RefreshTransaction from "./RefreshTransaction.js"
import * as RenewalPlan from "./RenewalPlan.js"
import { ensureSaved } from "./Saver.js"
import { Task } from "./Scheduler.js"
import { Sight } from "./Sight.js"
import { type Flights, SingleFlight } from "./SingleFlight.js"

/** What the grants of one pool, or a manager alone, work with. */
export interface Setting {
  readonly provider: string
  readonly snapshotExtras?: (credentials: Credentials) => Snapshot["extras"]
  readonly instance: string
  readonly refresher: Context.Tag.Service<TokenRefresher>
  readonly config: Context.Tag.Service<TokenConfig>
  readonly lease: Context.Tag.Service<RefreshLease>
  readonly profiles: Option.Option<Context.Tag.Service<ProfileSource>>
  readonly storageOf: (account: string) => Context.Tag.Service<TokenStorage>
  /** Whether changes of storage by others are told of. */
  readonly tellsChanges: boolean
  readonly clock: Clock.Clock
  readonly scope: Scope.Scope
  readonly flights: Flights
  /** Where refreshes wait for their turn, and how far renewals are spread; none where nobody bounds them. */
  readonly renewal: Option.Option<{ readonly lanes: Lanes; readonly lane: Lane; readonly window: number }>
  /** Told of each event, beside those who listen to this grant. */
  readonly tell: (account: string, event: TokenEvent.TokenEvent) => Effect.Effect<void>
}

/** How many events a slow reader may be behind. */
const eventBacklog = 256

/** How long a grant that nothing can be done for is left before storage is looked at again, where it does not tell of changes. */
const lookAgain = 600_000

/** How long after one renewal the next may come at the earliest. */
const shortestPause = 1000

export class Grant extends Task implements RefreshTransaction.Parts {
  readonly state: GrantState
  readonly loads: SingleFlight<void, StorageError, void>
  readonly refreshes: SingleFlight<void, TokenError, RefreshTransaction.Trigger>
  hub: PubSub.PubSub<TokenEvent.TokenEvent> | undefined = undefined
  isSaving = false
  private shown: Sight | undefined = undefined
  /** Storage may hold what would change the plan: when to look. */
  private lookAt = Number.NEGATIVE_INFINITY
  private ranAt = Number.NEGATIVE_INFINITY

  constructor(
    readonly setting: Setting,
    readonly account: string
  ) {
    super()
    const share = Decision.jitterShare(`${account} ${setting.instance}`)
    this.state = new GrantState(setting.config, setting.refresher, share)
    this.loads = new Loads(this)
    this.refreshes = new Refreshes(this)
  }

  get storage() {
    return this.setting.storageOf(this.account)
  }
  get lease() {
    return this.sight.watchLease(this.setting.lease)
  }
  /** Made when there is something to show. */
  get sight(): Sight {
    return (this.shown ??= new Sight(this.setting.provider, this.account, this.state))
  }
  get refresher() {
    return this.setting.refresher
  }
  get config() {
    return this.setting.config
  }
  get emit() {
    return (event: TokenEvent.TokenEvent): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (this.hub !== undefined) this.hub.unsafeOffer(event)
        return Effect.zipRight(this.setting.tell(this.account, event), this.sight.record(event))
      })
  }

  /** Made when somebody listens. */
  get events(): Effect.Effect<PubSub.PubSub<TokenEvent.TokenEvent>> {
    return Effect.suspend(() =>
      this.hub !== undefined
        ? Effect.succeed(this.hub)
        : Effect.map(PubSub.sliding<TokenEvent.TokenEvent>(eventBacklog), (hub) => (this.hub ??= hub))
    )
  }

  /** Whether letting it go loses nothing and disturbs nobody. */
  get isQuiet(): boolean {
    return !(
      this.isDue ||
      this.isSaving ||
      this.loads.isUnderWay ||
      this.refreshes.isUnderWay ||
      this.hub !== undefined ||
      Option.isSome(this.state.unsaved)
    )
  }

  /** Another writer's change makes what is in memory stale. */
  noteChange(): void {
    this.state.stale()
    if (this.place >= 0) return
    // Nothing was to be done for it; now there may be. Not all at once, where many changed.
    this.lookAt = this.setting.clock.unsafeCurrentTimeMillis() + shortestPause * this.state.jitterShare
    this.replan()
  }

  /** Storage was read or written: what is in memory is what the plan is made on. */
  noteLooked(): void {
    this.lookAt = Infinity
    this.replan()
  }

  get isTroubled(): boolean {
    return Option.exists(this.state.coolDown, (c) => c.reason === "Failed" || c.reason === "ServerAsked")
  }

  get lane(): Lane {
    return Option.getOrThrow(this.setting.renewal).lane
  }

  private get window(): number {
    return Option.match(this.setting.renewal, { onNone: () => 0, onSome: ({ window }) => window })
  }

  plan(now: number): number {
    // What is under way may change everything, and asks again when it has ended.
    if (this.refreshes.isUnderWay) return Infinity
    const { config, setting, state } = this
    const pause = shortestPause * (1 + state.jitterShare)
    const at = Math.max(RenewalPlan.renewAt(state.held, now, config, this.window), this.ranAt + pause)
    if (at === Infinity && this.lookAt === Infinity && !setting.tellsChanges) {
      const { dead, refreshable } = state.held
      if (Option.isSome(dead) || !refreshable) this.lookAt = now + lookAgain
    }
    return Math.min(this.lookAt, at)
  }

  /** Renews the grant if that is due: reads storage first, where a peer may have done it. Never fails. */
  get run(): Effect.Effect<void> {
    return Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      if (this.refreshes.isUnderWay) return Effect.void
      const look = this.state.isFresh(now) ? Effect.void : this.loads.follow()
      return Effect.matchEffect(look, {
        onFailure: (error) => RefreshTransaction.coolDown(this, error.message, Option.none()),
        onSuccess: () => this.renewIfDue(clock.unsafeCurrentTimeMillis())
      })
    }).pipe(Effect.ensuring(Effect.sync(() => this.noteLooked())))
  }

  private renewIfDue(now: number): Effect.Effect<void> {
    const { config, state, window } = this
    if (RenewalPlan.renewAt(state.held, now, config, window) > now) return Effect.void
    this.ranAt = now
    // A lost answer is asked for while that can be done, due or not.
    const isReplay = Option.exists(state.replay(now), (replay) => replay.open)
    const minValidity = Option.match(isReplay ? Option.none() : state.credentials, {
      onNone: () => 0,
      onSome: (c) => {
        const left = Option.getOrElse(Decision.timeToExpiry(c, now), () => 0)
        return Math.max(left, RenewalPlan.lead(c, config, window, state.jitterShare))
      }
    })
    return Effect.ignore(
      this.refreshes.follow({
        request: { force: false, minValidity },
        had: state.credentials,
        givesWay: () => !this.refreshes.isWaitedFor,
        placed: true
      })
    )
  }
}

class Loads extends SingleFlight<void, StorageError, void> {
  constructor(private readonly grant: Grant) {
    super()
  }
  protected get flights() {
    return this.grant.setting.flights
  }
  /** Those who still wait for a refresh may read. */
  protected get isClosed() {
    return this.flights.isClosed
  }
  protected get onClosed() {
    return closedStorage(this.grant.storage.location)
  }
  protected run() {
    return RefreshTransaction.reload(this.grant)
  }
  protected settled() {
    this.grant.noteLooked()
  }
}

class Refreshes extends SingleFlight<void, TokenError, RefreshTransaction.Trigger> {
  constructor(private readonly grant: Grant) {
    super()
  }
  protected get flights() {
    return this.grant.setting.flights
  }
  protected get isClosed() {
    return this.flights.isClosing
  }
  protected get onClosed() {
    return closedManager
  }
  protected run(trigger: RefreshTransaction.Trigger) {
    const { grant } = this
    const refresh = Effect.ensuring(
      grant.sight.watchRefresh(RefreshTransaction.run(grant, trigger)),
      ensureSaved(grant)
    )
    return Option.match(trigger.placed === true ? Option.none() : grant.setting.renewal, {
      onNone: () => refresh,
      onSome: ({ lane, lanes }) => lanes.within(lane, grant.isTroubled)(refresh)
    })
  }
  protected settled() {
    this.grant.noteLooked()
  }
}

const closedMessage = "The manager's scope is closed: ask within the life of its layer."

const closedManager: Effect.Effect<never, RefreshUnavailable> = Effect.flatMap(
  Clock.currentTimeMillis,
  (now) => new RefreshUnavailable({ reason: "Closed", retryAt: now, message: closedMessage })
)

const closedStorage = (location: string): StorageError =>
  new StorageError({ reason: "Unavailable", operation: "load", location, message: closedMessage })
