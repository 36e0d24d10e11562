/** One grant as a task of the scheduler: when it is to be looked at or renewed, and how. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Driver from "../Driver.js"
import type { Held } from "../grant/Decision.js"
import { timeToExpiry } from "../grant/Expiry.js"
import type { Want } from "../grant/State.js"
import * as View from "../grant/View.js"
import type { Lane } from "./Lanes.js"
import * as RenewalPlan from "./RenewalPlan.js"
import { Task } from "./Scheduler.js"

/** Where the renewals of a grant wait for their turn, and over how long they are spread, in milliseconds. */
export interface Turns {
  /** Of the token server, and of storage. */
  readonly lane: Lane
  readonly storageLane: Lane
  readonly window: number
}

/** How long a grant that nothing can be done for is left before storage is looked at again, where it does not report changes. */
const lookAgain = 600_000

/** How long after one renewal the next may come at the earliest, and how long storage that fails is left alone. */
const shortestPause = 1000

export class RenewalTask extends Task {
  /** When storage is to be looked at, as it may hold what changes the plan. */
  private lookAt = -Infinity
  private ranAt = -Infinity

  constructor(
    readonly grant: Driver.Grant,
    private readonly turns: Turns
  ) {
    super()
    grant.onChange = (change) => this.note(change)
  }

  private note(change: Driver.Change): void {
    if (change === "Looked") this.lookAt = Infinity
    // Nothing was to be done for it; now there may be. Not all at once, where many changed.
    else if (change === "Reported" && this.place < 0) {
      this.lookAt = this.now + shortestPause * this.grant.jitterShare
    }
    this.replan()
  }

  private get now(): number {
    return this.grant.context.clock.unsafeCurrentTimeMillis()
  }

  private get held(): Held {
    return View.heldOf(Driver.policyOf(this.grant), this.grant.state, this.now)
  }

  private get isUnderWay(): boolean {
    return this.grant.state.phase._tag !== "Idle"
  }

  get isTroubled(): boolean {
    return Driver.isTroubled(this.grant)
  }

  /** What was not read of late is read first, and costs the server nothing: a peer may have renewed it. */
  laneAt(now: number): Lane {
    return this.hasLooked(now) ? this.turns.lane : this.turns.storageLane
  }

  private hasLooked(now: number): boolean {
    const { config, reportsChanges } = this.grant.context
    // Where changes are reported, silence is as good as a look.
    const lasts = reportsChanges ? Infinity : Math.max(config.credentialsTtl, shortestPause)
    const { loadedAt } = this.held
    return now >= loadedAt && now - loadedAt < lasts
  }

  plan(now: number): number {
    // What is under way may change everything, and asks again when it has ended.
    if (this.isUnderWay) return Infinity
    // What lies ahead of all that is planned was noted before the clock was set back.
    if (this.ranAt > now) this.ranAt = now
    if (this.lookAt < Infinity) this.lookAt = Math.min(this.lookAt, now + lookAgain)
    const share = this.grant.jitterShare
    const at = Math.max(this.renewAt(now), this.ranAt + shortestPause * (1 + share))
    if (at === Infinity && this.lookAt === Infinity && !this.grant.context.reportsChanges) {
      const { dead, mismatch, refreshable } = this.held
      if (Option.isSome(dead) || Option.isSome(mismatch) || !refreshable) this.lookAt = now + lookAgain
    }
    return Math.min(this.lookAt, at)
  }

  /** Reads storage, or renews the grant if that is due. Never fails. */
  get run(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.lane === this.turns.storageLane ? this.look : this.renewIfDue(this.now)
    )
  }

  private get look(): Effect.Effect<void> {
    return Effect.map(Driver.read(this.grant), (failure) => {
      if (Option.isSome(failure)) this.lookAt = this.now + this.grant.context.config.coolDownBase
    })
  }

  private renewIfDue(now: number): Effect.Effect<void> {
    if (this.isUnderWay || this.renewAt(now) > now) return Effect.void
    this.ranAt = now
    const { config } = this.grant.context
    const { held } = this
    // A lost answer is asked for while that can be done, due or not.
    const replay = View.replayOf(Driver.policyOf(this.grant), this.grant.state, now)
    const isReplay = Option.exists(replay, ({ open }) => open)
    const minValidity = Option.match(isReplay ? Option.none() : held.credentials, {
      onNone: () => 0,
      onSome: (c) => {
        const left = Option.getOrElse(timeToExpiry(c, now, held.witness), () => 0)
        return Math.max(left, RenewalPlan.lead(c, config, this.turns.window, held))
      }
    })
    const had = Option.map(held.credentials, ({ accessToken }) => accessToken)
    const want: Want = { force: false, minValidity, had, yields: true }
    return Effect.andThen(
      Driver.renew(this.grant, want),
      Effect.suspend(() =>
        // Left to another: what that one wrote is read before anything is sent.
        this.renewAt(this.now) <= this.now ? Driver.tell(this.grant, { _tag: "Changed" }) : Effect.void
      )
    )
  }

  private renewAt(now: number): number {
    return RenewalPlan.renewAt(this.held, now, this.grant.context.config, this.turns.window)
  }
}
