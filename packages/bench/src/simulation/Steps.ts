/** What a process asks of the world outside: it takes time, and goes wrong where the plan says so. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Draw, seedOf } from "./Draw.js"
import type { Fault, Mishap, Plan, Step, When } from "./Plan.js"
import type { Process, World } from "./World.js"

/** One step on its way: how long it takes there and back, and what goes wrong. */
export interface Underway {
  readonly there: number
  readonly back: number
  readonly mishap: Mishap | undefined
}

const serviceOf: Record<Step, keyof Plan["setting"]["latency"]> = {
  load: "storage",
  commit: "storage",
  remove: "storage",
  acquire: "lease",
  isHeld: "lease",
  renew: "lease",
  release: "lease",
  redeem: "network"
}

export class Steps {
  taken = 0
  mishaps = 0
  /** Nothing goes wrong from now on. */
  fair = false
  /** When a lease of the process last met with a mishap: it may have lapsed under it. */
  readonly leaseTrouble = new WeakMap<Process, number>()
  private readonly counts = new Map<string, number>()
  private readonly faults = new Map<string, Fault>()

  constructor(
    private readonly world: World,
    private readonly plan: Plan,
    private readonly onClosed: (process: Process, on: Step) => void
  ) {
    for (const fault of plan.faults) this.faults.set(keyOf(fault.slot, fault.on, fault.nth), fault)
  }

  /** Processes whose manager is closed: they have nothing to ask any more. */
  readonly closed = new WeakSet<Process>()

  next(process: Process, on: Step): Underway {
    if (this.closed.has(process)) this.onClosed(process, on)
    this.taken++
    const counter = `${process.slot} ${on}`
    const nth = 1 + (this.counts.get(counter) ?? 0)
    this.counts.set(counter, nth)
    const draw = new Draw(seedOf(this.plan.seed, process.slot, on, nth))
    const longest = this.plan.setting.latency[serviceOf[on]] / 2
    const mishap = this.fair ? undefined : this.faults.get(keyOf(process.slot, on, nth))?.mishap
    if (mishap !== undefined) {
      this.mishaps++
      this.world.tell?.(`${process.name} ${on} number ${nth}: ${JSON.stringify(mishap)}`)
      if (serviceOf[on] === "lease") this.leaseTrouble.set(process, this.world.now)
    }
    return { there: draw.next() * longest, back: draw.next() * longest, mishap }
  }

  /** What befalls the process itself before or after the step took effect. Whether it lives and runs on. */
  befall(process: Process, mishap: Mishap | undefined, when: When): void {
    if (mishap === undefined || !("when" in mishap) || mishap.when !== when) return
    if (mishap.is === "crash") process.crash()
    if (mishap.is === "freeze") process.freeze(mishap.millis)
  }

  /** Once the process runs: now, or when it goes on after being stopped before this step. */
  issue(process: Process, { mishap }: Underway, run: () => void): void {
    const befallen = mishap?.is === "crash" || mishap?.is === "freeze"
    if (!befallen || mishap.when === "after") return run()
    // Not here and now: this is called from one of its own fibers.
    this.world.after(0, () => {
      this.befall(process, mishap, "before")
      process.deliver(run)
    })
  }

  /** A step of storage or lease. `perform` is what it does there. */
  take<A, E>(
    process: Process,
    on: Step,
    perform: () => Either.Either<A, E>,
    failure: () => E
  ): Effect.Effect<A, E> {
    return Effect.async<A, E>((resume) => {
      const underway = this.next(process, on)
      const { mishap } = underway
      const failed = (when: When) => mishap?.is === "fail" && mishap.when === when
      const slow = (when: When) => (mishap?.is === "slow" && mishap.when === when ? mishap.millis : 0)
      this.issue(process, underway, () => {
        this.world.after(underway.there + slow("before"), () => {
          const done = failed("before") ? Either.left(failure()) : perform()
          this.befall(process, mishap, "after")
          const told = failed("after") ? Either.left(failure()) : done
          this.world.after(underway.back + slow("after"), () => process.deliver(() => resume(told)))
        })
      })
    })
  }
}

const keyOf = (slot: number, on: Step, nth: number): string => `${slot} ${on} ${nth}`
