/**
 * When what is to be done: one fiber and one timer for any number of tasks, earliest first. A task is an
 * object with its place in the heap, and no fiber until it runs.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import * as Turns from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import { Heap, type Timed } from "./Heap.js"
import { type Entrant, type Lane, Lanes, type Limits } from "./Lanes.js"

/** Something to do again and again. */
export abstract class Task implements Timed, Entrant {
  at = Infinity
  place = -1
  /** Whether it has been handed to its lane, and is waiting there or running. */
  isDue = false
  private scheduler: Scheduler | undefined = undefined

  /** As it was when it became due: it counts as that until it has run. */
  troubled = false
  get urgent(): false {
    return false
  }
  abstract readonly isTroubled: boolean
  /** Where it waits and runs once it is due. */
  lane: Lane | undefined = undefined
  abstract laneAt(now: number): Lane
  /** When it is to run next, epoch milliseconds; Infinity: not unless something changes. */
  abstract plan(now: number): number
  abstract readonly run: Effect.Effect<void>

  /** Called by the scheduler that takes it on, and with none when it lets it go. */
  belongTo(scheduler: Scheduler | undefined): void {
    this.scheduler = scheduler
  }

  /** Something changed on which its time depends. */
  replan(): void {
    this.scheduler?.plan(this)
  }

  enter(): void {
    this.scheduler?.start(this)
  }
}

export interface Settings {
  /** Over all servers, and what each server's limits are. */
  readonly concurrency: number
  readonly server: Limits
  /** How long it sleeps at most before it looks at the clock again, in milliseconds. */
  readonly lookEvery: number
}

/** How many tasks begin before timers, and what came from outside, have their turn: those that never wait would go on and on. */
const atOnce = 32

/** After timers, and what came from outside. */
const nextTurn = Turns.timer(0)

export class Scheduler {
  readonly lanes: Lanes
  readonly heap = new Heap<Task>()
  private readonly running = new Set<Fiber.RuntimeFiber<void>>()
  private begun = 0
  /** Have their places, and begin at the next turn. */
  private held: Array<Task> = []
  private readonly alarm = Effect.unsafeMakeLatch(false)
  private sleepsUntil = Number.NEGATIVE_INFINITY
  private lastLook = Number.NEGATIVE_INFINITY
  private isClosed = false

  constructor(
    readonly settings: Settings,
    private readonly runtime: Runtime.Runtime<never>,
    private readonly clock: Clock.Clock
  ) {
    this.lanes = new Lanes(
      settings.concurrency,
      () => clock.unsafeCurrentTimeMillis(),
      () => this.wakeBefore(this.lanes.nextStart)
    )
  }

  laneOf(server: string | object): Lane {
    return this.lanes.of(server, this.settings.server)
  }

  /** Where storage is read: as many at a time as run at all, at any rate. */
  storageLaneOf(storage: object): Lane {
    return this.lanes.of(storage, { places: this.settings.concurrency, perSecond: Infinity })
  }

  get runningTasks(): number {
    return this.running.size + this.held.length
  }

  add(task: Task): void {
    task.belongTo(this)
    this.plan(task)
  }

  /** What runs is not interrupted: it is not planned again. */
  remove(task: Task): void {
    task.belongTo(undefined)
    this.heap.remove(task)
    if (task.lane !== undefined && this.lanes.withdraw(task.lane, task)) task.isDue = false
  }

  /** Asks the task for its time. One that is due or running is asked when it has run. */
  plan(task: Task): void {
    if (task.isDue || this.isClosed) return
    const at = task.plan(this.clock.unsafeCurrentTimeMillis())
    if (at < Infinity) {
      this.heap.put(task, at)
      this.wakeBefore(at)
    } else this.heap.remove(task)
  }

  /** Runs a task that has a place at its server, now or at the next turn. */
  start(task: Task): void {
    if (this.begun === 0) nextTurn.scheduleTask(() => this.turn(), 0)
    if (this.begun++ < atOnce) this.begin(task)
    else this.held.push(task)
  }

  private turn(): void {
    const { held } = this
    this.begun = 0
    this.held = []
    for (const task of held) this.start(task)
  }

  private begin(task: Task): void {
    const { lane } = task
    if (lane === undefined || this.isClosed) return
    let ended = false
    const end = () => {
      ended = true
      task.isDue = false
      task.lane = undefined
      this.lanes.leave(lane, task)
      task.replan()
    }
    const fiber = Runtime.runFork(this.runtime)(Effect.ensuring(task.run, Effect.sync(end)))
    if (ended) return
    this.running.add(fiber)
    fiber.addObserver(() => this.running.delete(fiber))
  }

  close(): void {
    this.isClosed = true
    for (const fiber of this.running) fiber.unsafeInterruptAsFork(fiber.id())
  }

  private wakeBefore(at: number): void {
    if (at < this.sleepsUntil) this.alarm.unsafeOpen()
  }

  /** Hands to their lanes the tasks whose time has come, and tells how long there is nothing to do. */
  private look(): number {
    const now = this.clock.unsafeCurrentTimeMillis()
    // A clock that was set back makes times of before too late, by as much.
    if (now < this.lastLook) for (const task of [...this.heap.all]) this.plan(task)
    this.lastLook = now
    for (let task = this.heap.earliest; task !== undefined && task.at <= now; task = this.heap.earliest) {
      this.heap.remove(task)
      task.isDue = true
      task.troubled = task.isTroubled
      task.lane = task.laneAt(now)
      this.lanes.ask(task.lane, task)
    }
    this.lanes.tick()
    const next = Math.min(this.heap.earliest?.at ?? Infinity, this.lanes.nextStart)
    this.sleepsUntil = next
    return next - now
  }

  /**
   * Looks at the wall clock each time it wakes: a timer stands still while the machine sleeps, and knows
   * nothing of a clock that was set.
   */
  readonly loop: Effect.Effect<never> = Effect.suspend(() => {
    this.alarm.unsafeClose()
    const pause = this.look()
    return pause === Infinity
      ? this.alarm.await
      : Effect.timeoutOption(this.alarm.await, Math.max(0, Math.min(pause, this.settings.lookEvery)))
  }).pipe(Effect.forever)
}

export const make = (settings: Settings): Effect.Effect<Scheduler, never, Scope.Scope> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime()
    const scheduler = new Scheduler(settings, runtime, yield* Effect.clock)
    yield* Effect.addFinalizer(() => Effect.sync(() => scheduler.close()))
    yield* Effect.forkScoped(Effect.interruptible(scheduler.loop))
    return scheduler
  })
