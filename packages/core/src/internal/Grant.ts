/**
 * One grant at work: its memory, its two flights, its renewal and its saving. What it shares with others is in
 * its setting, so that a grant at rest is a few small objects, without a fiber, a timer or a closure.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
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
import * as HeldLease from "./HeldLease.js"
import type { Lane, Lanes } from "./Lanes.js"
import * as RefreshTransaction from "./RefreshTransaction.js"
import * as StoredGrant from "./StoredGrant.js"
import * as RenewalPlan from "./RenewalPlan.js"
import { ensureSaved } from "./Saver.js"
import { Task } from "./Scheduler.js"
import { Sight } from "./Sight.js"
import { Signal } from "./Signal.js"
import { type Flights, type Run, SingleFlight } from "./SingleFlight.js"
import { tell } from "./Telling.js"

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
  readonly renewal: Option.Option<Turns>
  /** How many of its last events a grant keeps, and whether only until a refresh has gone well. */
  readonly remembers: number
  readonly forgets?: boolean
  /** Told of each event, beside those who listen to this grant. */
  readonly tell: ((account: string, event: TokenEvent.TokenEvent) => Effect.Effect<void>) | undefined
}

export interface Turns {
  readonly lanes: Lanes
  /** Of the token server, and of storage. */
  readonly lane: Lane
  readonly storageLane: Lane
  readonly window: number
}

/** How many events a slow reader may be behind. */
const eventBacklog = 256

/** How long a grant that nothing can be done for is left before storage is looked at again, where it does not tell of changes. */
const lookAgain = 600_000

/** How long after one renewal the next may come at the earliest. */
const shortestPause = 1000

const noEvents: ReadonlyArray<TokenEvent.TokenEvent> = []

export class Grant extends Task implements StoredGrant.Parts {
  readonly state: GrantState
  loading: Run<void, StorageError> | undefined = undefined
  refreshing: Run<void, TokenError> | undefined = undefined
  hub: PubSub.PubSub<TokenEvent.TokenEvent> | undefined = undefined
  private listeners = 0
  isSaving = false
  commit: Fiber.Fiber<void> | undefined = undefined
  kept: HeldLease.Kept | undefined = undefined
  fencedOff = Number.NEGATIVE_INFINITY
  owed: Effect.Effect<void, StorageError> | undefined = undefined
  /** The last events, the oldest first. */
  history: ReadonlyArray<TokenEvent.TokenEvent> = noEvents
  private shown: Sight | undefined = undefined
  private signal: Signal | undefined = undefined
  /** Storage may hold what would change the plan: when to look. */
  private lookAt = Number.NEGATIVE_INFINITY
  private ranAt = Number.NEGATIVE_INFINITY

  constructor(
    readonly setting: Setting,
    readonly account: string
  ) {
    super()
    const share = Decision.jitterShare(`${account} ${setting.instance}`)
    this.state = new GrantState(setting.config, setting.refresher, share, setting.clock)
  }

  get loads(): SingleFlight<void, StorageError, void> {
    return new Loads(this)
  }
  get refreshes(): SingleFlight<void, TokenError, RefreshTransaction.Trigger> {
    return new Refreshes(this)
  }
  get storage() {
    return this.setting.storageOf(this.account)
  }
  get lease() {
    return this.setting.lease
  }
  /** Made when there is something to show. */
  get sight(): Sight {
    return (this.shown ??= new Sight(this.setting.provider, this.account, this.state))
  }
  leased(fiber: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.sight.leased(fiber)
  }
  releaseCallers(end: Effect.Effect<never, TokenError>): void {
    this.refreshing?.settle(end)
  }
  get refresher() {
    return this.setting.refresher
  }
  get config() {
    return this.setting.config
  }
  get changed(): Option.Option<Signal> {
    return this.setting.tellsChanges ? Option.some((this.signal ??= new Signal())) : Option.none()
  }
  get emit() {
    return (event: TokenEvent.TokenEvent): Effect.Effect<void> =>
      Effect.withFiberRuntime((fiber) => {
        const { setting, hub } = this
        const history = this.history.slice(1 - setting.remembers)
        history.push(event)
        this.history = history
        const counted = this.sight.record(fiber, event)
        const told =
          setting.tell === undefined ? counted : Effect.zipRight(setting.tell(this.account, event), counted)
        return hub === undefined ? told : Effect.zipRight(tell(hub, event), told)
      })
  }

  /** Made when somebody listens, and forgotten when nobody does any more. */
  get events(): Effect.Effect<PubSub.PubSub<TokenEvent.TokenEvent>, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.suspend(() => {
        this.listeners++
        return this.hub !== undefined
          ? Effect.succeed(this.hub)
          : Effect.map(PubSub.sliding<TokenEvent.TokenEvent>(eventBacklog), (hub) => (this.hub ??= hub))
      }),
      () =>
        Effect.sync(() => {
          if (--this.listeners === 0) this.hub = undefined
        })
    )
  }

  /** Whether letting it go loses nothing and disturbs nobody. */
  get isQuiet(): boolean {
    return !(
      this.isDue ||
      this.isSaving ||
      this.kept !== undefined ||
      this.loads.isUnderWay ||
      this.refreshes.isUnderWay ||
      this.hub !== undefined ||
      Option.isSome(this.state.unsaved)
    )
  }

  /** Another writer's change makes what is in memory stale. */
  noteChange(): void {
    this.state.stale()
    this.signal?.raise()
    if (this.place >= 0) return
    // Nothing was to be done for it; now there may be. Not all at once, where many changed.
    this.lookAt = this.now + shortestPause * this.state.jitterShare
    this.replan()
  }

  /** Storage was read or written: what is in memory is what the plan is made on. */
  noteLooked(): void {
    this.lookAt = Infinity
    this.replan()
  }

  /** What there was to show is shown. */
  noteRefreshEnd(went: "Well" | "Wrong"): void {
    if (this.shown?.isDone === true) this.shown = undefined
    if (went === "Well" && this.setting.forgets === true) this.history = noEvents
    // Nobody but the refresh waits for it.
    this.signal = undefined
  }

  private get now(): number {
    return this.setting.clock.unsafeCurrentTimeMillis()
  }

  get isTroubled(): boolean {
    return Option.exists(this.state.coolDown, (c) => c.reason === "Failed" || c.reason === "ServerAsked")
  }

  /** What was not read of late is read first, and costs the server nothing: a peer may have renewed it. */
  laneAt(now: number): Lane {
    const { lane, storageLane } = Option.getOrThrow(this.setting.renewal)
    return this.hasLooked(now) ? lane : storageLane
  }

  private hasLooked(now: number): boolean {
    // Where changes are told of, silence is as good as a look.
    const lasts = this.setting.tellsChanges ? Infinity : Math.max(this.config.credentialsTtl, shortestPause)
    return now >= this.state.loadedAt && now - this.state.loadedAt < lasts
  }

  private get window(): number {
    return Option.match(this.setting.renewal, { onNone: () => 0, onSome: ({ window }) => window })
  }

  plan(now: number): number {
    // What is under way may change everything, and asks again when it has ended.
    if (this.refreshes.isUnderWay) return Infinity
    const { setting, state } = this
    // What lies ahead of all that is planned was noted before the clock was set back.
    if (this.ranAt > now) this.ranAt = now
    if (this.lookAt < Infinity) this.lookAt = Math.min(this.lookAt, now + lookAgain)
    const at = Math.max(this.renewAt(now), this.ranAt + shortestPause * (1 + state.jitterShare))
    if (at === Infinity && this.lookAt === Infinity && !setting.tellsChanges) {
      const { dead, mismatch, refreshable } = state.held
      if (Option.isSome(dead) || Option.isSome(mismatch) || !refreshable) this.lookAt = now + lookAgain
    }
    return Math.min(this.lookAt, at)
  }

  /** Reads storage, or renews the grant if that is due. Never fails. */
  get run(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const readsOnly = Option.exists(this.setting.renewal, (r) => this.lane === r.storageLane)
      return readsOnly ? this.look : this.renewIfDue(this.now)
    })
  }

  private get look(): Effect.Effect<void> {
    return Effect.catchAll(this.loads.follow(), (error) =>
      Effect.map(RefreshTransaction.coolDown(this, error.message, Option.none()), ({ until }) => {
        this.lookAt = until
      })
    )
  }

  private renewIfDue(now: number): Effect.Effect<void> {
    const { config, state, window } = this
    if (this.refreshes.isUnderWay || this.renewAt(now) > now) return Effect.void
    this.ranAt = now
    // A lost answer is asked for while that can be done, due or not.
    const isReplay = Option.exists(state.replay(now), (replay) => replay.open)
    const minValidity = Option.match(isReplay ? Option.none() : state.credentials, {
      onNone: () => 0,
      onSome: (c) => {
        const left = Option.getOrElse(state.timeLeft(now), () => 0)
        return Math.max(left, RenewalPlan.lead(c, config, window, state.held))
      }
    })
    const refresh = this.refreshes.follow({
      request: { force: false, minValidity },
      had: state.credentials,
      givesWay: () => !this.refreshes.isWaitedFor,
      placed: true
    })
    return Effect.zipRight(
      Effect.ignore(refresh),
      Effect.sync(() => {
        // Left to another: what that one wrote is read before anything is sent.
        if (this.renewAt(this.now) <= this.now) state.stale()
      })
    )
  }

  private renewAt(now: number): number {
    return RenewalPlan.renewAt(this.state.held, now, this.config, this.window)
  }
}

class Loads extends SingleFlight<void, StorageError, void> {
  constructor(private readonly grant: Grant) {
    super()
  }
  protected get current() {
    return this.grant.loading
  }
  protected set current(run: Run<void, StorageError> | undefined) {
    this.grant.loading = run
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
    return Effect.zipRight(StoredGrant.reload(this.grant), HeldLease.releaseIfSettled(this.grant))
  }
  protected settled(exit: Exit.Exit<void, StorageError>) {
    if (Exit.isSuccess(exit)) this.grant.noteLooked()
    else this.grant.replan()
  }
}

class Refreshes extends SingleFlight<void, TokenError, RefreshTransaction.Trigger> {
  constructor(private readonly grant: Grant) {
    super()
  }
  protected get current() {
    return this.grant.refreshing
  }
  protected set current(run: Run<void, TokenError> | undefined) {
    this.grant.refreshing = run
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
    const refresh = Effect.withFiberRuntime<void, TokenError>((fiber) =>
      grant.sight.watchRefresh(
        fiber,
        (onEnd) => RefreshTransaction.run(grant, trigger, onEnd),
        ensureSaved(grant)
      )
    )
    return Option.match(trigger.placed === true ? Option.none() : grant.setting.renewal, {
      onNone: () => refresh,
      onSome: ({ lane, lanes }) => lanes.within(lane, grant.isTroubled)(refresh)
    })
  }
  protected settled(exit: Exit.Exit<void, TokenError>) {
    this.grant.noteRefreshEnd(Exit.isSuccess(exit) ? "Well" : "Wrong")
    if (Exit.isSuccess(exit)) this.grant.noteLooked()
    else this.grant.replan()
  }
}

const closedMessage = "The manager's scope is closed: ask within the life of its layer."

const closedManager: Effect.Effect<never, RefreshUnavailable> = Effect.flatMap(
  Clock.currentTimeMillis,
  (now) => new RefreshUnavailable({ reason: "Closed", retryAt: now, message: closedMessage })
)

const closedStorage = (location: string): StorageError =>
  new StorageError({ reason: "Unavailable", operation: "load", location, message: closedMessage })
