/**
 * Time and processes. Nothing here waits for anything: a history runs to its end in one call.
 *
 * Each process is the scheduler and the clock of its fibers. That is what lets it be stopped for a while,
 * or end at any step for good: its fibers are not interrupted, no finalizer runs, they are just never
 * heard of again, and with them goes what was in memory.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { globalValue } from "effect/GlobalValue"
import * as Runtime from "effect/Runtime"
import type * as Scheduler from "effect/Scheduler"
import { Draw } from "./Draw.js"

/** The wall clock of a machine whose clock is right, at the beginning. */
const beginning = 1_700_000_000_000

/** As often as this nothing happens at one instant but in a loop. */
const mostTurns = 50_000

interface Happening {
  readonly at: number
  readonly order: number
  readonly run: () => void
  gone: boolean
}

export class World {
  /** Milliseconds since the beginning, by the clock of the servers. */
  now = 0
  readonly machines: Array<number>
  private readonly draw: Draw
  private readonly ready: Array<Process> = []
  private readonly heap: Array<Happening> = []
  private order = 0
  private turns = 0

  constructor(
    seed: number,
    offsets: ReadonlyArray<number>,
    /** Told what happens, in words, where somebody wants to read it. */
    readonly tell: ((text: string) => void) | undefined,
    private readonly onLoop: () => void
  ) {
    this.draw = new Draw(seed)
    this.machines = [...offsets]
  }

  /** Runs this after so many milliseconds; the answer takes it back. */
  after(millis: number, run: () => void): () => void {
    const happening = { at: this.now + Math.max(0, millis), order: this.order++, run, gone: false }
    push(this.heap, happening)
    return () => void (happening.gone = true)
  }

  wake(process: Process): void {
    this.ready.push(process)
  }

  /** Lets everything happen up to a moment, or until nothing is left to happen. */
  runUntil(end: number): void {
    for (;;) {
      this.settle()
      const next = this.heap[0]
      if (next === undefined || next.at > end) break
      pop(this.heap)
      if (next.gone) continue
      if (next.at > this.now) {
        this.now = next.at
        this.turns = 0
      }
      next.run()
    }
    this.now = Math.max(this.now, end)
  }

  /** All fibers go as far as they can, in an order that the seed chooses. */
  private settle(): void {
    while (this.ready.length > 0) {
      const i = this.ready.length === 1 ? 0 : this.draw.below(this.ready.length)
      const process = this.ready[i]!
      this.ready[i] = this.ready[this.ready.length - 1]!
      this.ready.pop()
      process.runOne()
      if (++this.turns > mostTurns) {
        this.onLoop()
        this.ready.length = 0
      }
    }
  }
}

/** Where effect keeps fibers that have not ended, as long as they have not. */
const rooted = globalValue(Symbol.for("effect/FiberScope/Global"), () => ({ roots: new Set<unknown>() }))

/** The fibers of a history that is over, those of crashed processes among them, are kept no longer. */
export const letGo = (): void => rooted.roots.clear()

/** One incarnation of a program: what it holds in memory goes with it. */
export class Process implements Scheduler.Scheduler, Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  alive = true
  frozen = false
  /** When it was last known to be stopped. */
  stoppedAt = Number.NEGATIVE_INFINITY
  private tasks: Array<Scheduler.Task> = []
  private taken = 0
  private held: Array<() => void> = []
  private thawAt = 0

  constructor(
    readonly world: World,
    readonly slot: number,
    readonly machine: number,
    readonly name: string
  ) {}

  unsafeCurrentTimeMillis(): number {
    return beginning + this.world.now + this.world.machines[this.machine]!
  }
  unsafeCurrentTimeNanos(): bigint {
    // The time that only runs: nobody sets it.
    return BigInt(Math.floor(beginning + this.world.now)) * 1_000_000n
  }
  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  /** Measured by the time that passes: a clock that is set wakes nobody. */
  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      const millis = Duration.toMillis(duration)
      if (millis === Infinity) return
      const cancel = this.world.after(millis, () => this.deliver(() => resume(Effect.void)))
      return Effect.sync(cancel)
    })
  }

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return fiber.currentOpCount > 2048 ? 0 : false
  }

  scheduleTask(task: Scheduler.Task): void {
    if (!this.alive) return
    this.tasks.push(task)
    if (!this.frozen) this.world.wake(this)
  }

  runOne(): void {
    if (!this.alive || this.frozen) return
    const task = this.tasks[this.taken++]
    if (this.taken === this.tasks.length) {
      this.tasks = []
      this.taken = 0
    }
    task?.()
  }

  /** What comes from outside reaches a stopped process when it goes on, and a dead one never. */
  deliver(run: () => void): void {
    if (!this.alive) return
    if (this.frozen) this.held.push(run)
    else run()
  }

  crash(): void {
    if (!this.alive) return
    this.world.tell?.(`${this.name} crashes`)
    this.alive = false
    this.tasks = []
    this.held = []
  }

  freeze(millis: number): void {
    if (!this.alive) return
    this.thawAt = Math.max(this.thawAt, this.world.now + millis)
    if (!this.frozen) this.world.tell?.(`${this.name} is stopped for ${millis} ms`)
    this.frozen = true
    this.stoppedAt = this.world.now
    this.world.after(millis, () => {
      if (this.world.now >= this.thawAt) this.thaw()
    })
  }

  thaw(): void {
    if (!this.frozen || !this.alive) return
    this.world.tell?.(`${this.name} goes on`)
    this.frozen = false
    this.stoppedAt = this.world.now
    for (let i = this.taken; i < this.tasks.length; i++) this.world.wake(this)
    for (const run of this.held.splice(0)) this.deliver(run)
  }

  /** Starts a fiber of this process. */
  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.RuntimeFiber<A, E> {
    return Runtime.runFork(Runtime.defaultRuntime)(Effect.withClock(effect, this), {
      scheduler: this,
      immediate: false
    })
  }
}

const before = (a: Happening, b: Happening): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

const push = (heap: Array<Happening>, one: Happening): void => {
  let i = heap.push(one) - 1
  for (let parent = (i - 1) >> 1; i > 0 && before(one, heap[parent]!); parent = (i - 1) >> 1) {
    heap[i] = heap[parent]!
    i = parent
  }
  heap[i] = one
}

const pop = (heap: Array<Happening>): void => {
  const last = heap.pop()!
  if (heap.length === 0) return
  let i = 0
  for (;;) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (!before(heap[child]!, last)) break
    heap[i] = heap[child]!
    i = child
  }
  heap[i] = last
}
