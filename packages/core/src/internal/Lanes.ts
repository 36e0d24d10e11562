/**
 * Who may be at a server now. Each server has a lane of its own: those of one server are bounded together, and
 * one that is slow or down holds up no other. Servers take turns.
 *
 * In a lane, callers who wait go before renewals that nobody waits for. A quarter of the places is kept free
 * of renewals, and half of them of accounts whose last refresh failed: those never hold up the others.
 */
import * as Effect from "effect/Effect"
import { Queue } from "./Queue.js"

/** Of one server. */
export interface Limits {
  /** At a time. */
  readonly places: number
  /** Begun within a second. */
  readonly perSecond: number
}

/** One who waits for a place. */
export interface Entrant {
  readonly urgent: boolean
  readonly troubled: boolean
  /** Called once there is a place; to be given back with `leave`. */
  readonly enter: () => void
}

export class Lane {
  constructor(readonly limits: Limits) {}

  inside = 0
  renewing = 0
  troubled = 0
  /** When the next one may begin, epoch milliseconds. */
  nextStart = Number.NEGATIVE_INFINITY
  private readonly urgent = new Queue<Entrant>()
  private readonly renewals = new Queue<Entrant>()
  private readonly troubledUrgent = new Queue<Entrant>()
  private readonly troubledRenewals = new Queue<Entrant>()

  get waiting(): number {
    return this.urgent.size + this.renewals.size + this.troubledUrgent.size + this.troubledRenewals.size
  }

  queueOf({ troubled, urgent }: Entrant): Queue<Entrant> {
    return troubled
      ? urgent
        ? this.troubledUrgent
        : this.troubledRenewals
      : urgent
        ? this.urgent
        : this.renewals
  }

  /** Takes who may go in now, if somebody may: `renewals` and `troubled` tell whether there is room for them elsewhere. */
  next(room: { readonly renewals: boolean; readonly troubled: boolean }): Entrant | undefined {
    const { places } = this.limits
    if (this.inside >= places) return undefined
    const mayRenew = room.renewals && this.renewing < Math.ceil(places * 0.75)
    const mayTrouble = this.troubled < Math.ceil(places / 2)
    return (
      this.urgent.take() ??
      (mayTrouble ? this.troubledUrgent.take() : undefined) ??
      (mayRenew ? this.renewals.take() : undefined) ??
      (mayRenew && mayTrouble && room.troubled ? this.troubledRenewals.take() : undefined)
    )
  }
}

/** How far behind its rate a server may be before what it missed is not made up for, in milliseconds. */
const slack = 100

export class Lanes {
  waiting = 0
  private renewing = 0
  private troubled = 0
  /** By name, or by what stands for a server: such a lane goes with it. */
  private readonly named = new Map<string, Lane>()
  private readonly unnamed = new WeakMap<object, Lane>()
  /** Those where somebody may get in, in turn; where there are too many at other servers; and those that wait for time. */
  private readonly ready = new Set<Lane>()
  private readonly crowded = new Set<Lane>()
  private readonly delayed = new Set<Lane>()
  private admitting = false

  constructor(
    /** Renewals at a time, over all servers; callers are bounded at their server alone. */
    private readonly concurrency: number,
    private readonly now: () => number,
    /** Told when somebody waits for nothing but time to pass. */
    private readonly onDelay: () => void
  ) {}

  of(server: string | object, limits: Limits): Lane {
    const known = typeof server === "string" ? this.named.get(server) : this.unnamed.get(server)
    if (known !== undefined) return known
    const lane = new Lane(limits)
    if (typeof server === "string") this.named.set(server, lane)
    else this.unnamed.set(server, lane)
    return lane
  }

  /** When time lets somebody in who waits now; Infinity where time alone does not. */
  get nextStart(): number {
    let earliest = Infinity
    for (const lane of this.delayed) earliest = Math.min(earliest, lane.nextStart)
    return earliest
  }

  ask(lane: Lane, entrant: Entrant): void {
    lane.queueOf(entrant).add(entrant)
    this.waiting++
    this.ready.add(lane)
    this.admit()
  }

  /** Whether it was still waiting, and is not any more. */
  withdraw(lane: Lane, entrant: Entrant): boolean {
    const waited = lane.queueOf(entrant).delete(entrant)
    if (waited) this.waiting--
    return waited
  }

  leave(lane: Lane, entrant: Entrant): void {
    this.count(lane, entrant, -1)
    if (lane.waiting > 0) this.ready.add(lane)
    this.admit()
  }

  /** Looks again at those who waited for time to pass. */
  tick(): void {
    for (const lane of this.delayed) this.ready.add(lane)
    this.delayed.clear()
    this.admit()
  }

  /** Runs `effect` in a place that its caller waits for. */
  within(lane: Lane, troubled: boolean) {
    return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.acquireUseRelease(
        Effect.interruptible(this.enter(lane, troubled)),
        () => effect,
        (entrant) => Effect.sync(() => this.leave(lane, entrant))
      )
  }

  private enter(lane: Lane, troubled: boolean): Effect.Effect<Entrant> {
    return Effect.async((resume) => {
      const entrant: Entrant = { urgent: true, troubled, enter: () => resume(Effect.succeed(entrant)) }
      this.ask(lane, entrant)
      return Effect.sync(() => {
        if (!this.withdraw(lane, entrant)) this.leave(lane, entrant)
      })
    })
  }

  private get isFull(): boolean {
    return this.renewing >= this.concurrency
  }

  /** Lets in all who may go in now, one of each server in turn. */
  private admit(): void {
    if (this.admitting) return
    this.admitting = true
    // What is added to a set while it is gone through comes at its end.
    for (const lane of this.ready) {
      this.ready.delete(lane)
      if (this.admitOne(lane)) this.ready.add(lane)
    }
    for (let lanes = [...this.crowded]; lanes.length > 0 && !this.isFull;) {
      lanes = lanes.filter((lane) => {
        if (this.isFull) return false
        this.crowded.delete(lane)
        const more = this.admitOne(lane)
        if (more) this.crowded.add(lane)
        return more
      })
    }
    this.admitting = false
    if (this.delayed.size > 0) this.onDelay()
  }

  /** Whether somebody got in, and others may. */
  private admitOne(lane: Lane): boolean {
    if (lane.waiting === 0) return false
    const spacing = 1000 / lane.limits.perSecond
    if (spacing > 0) {
      const now = this.now()
      // Further ahead than one step it was never put: the clock was set back.
      if (now < lane.nextStart && lane.nextStart <= now + spacing) {
        this.delayed.add(lane)
        return false
      }
    }
    const mostTroubled = Math.ceil(this.concurrency / 2)
    const room = { renewals: !this.isFull, troubled: this.troubled < mostTroubled }
    const entrant = lane.next(room)
    if (entrant === undefined) {
      if (!room.renewals || !room.troubled) this.crowded.add(lane)
      return false
    }
    if (spacing > 0) {
      const now = this.now()
      const due = lane.nextStart > now ? now : lane.nextStart
      lane.nextStart = Math.max(due, now - slack) + spacing
    }
    this.waiting--
    this.count(lane, entrant, 1)
    entrant.enter()
    return lane.waiting > 0
  }

  private count(lane: Lane, { troubled, urgent }: Entrant, by: 1 | -1): void {
    lane.inside += by
    if (troubled) lane.troubled += by
    if (urgent) return
    lane.renewing += by
    this.renewing += by
    if (troubled) this.troubled += by
  }
}
