/** Renews grants before they expire: one fiber looks at all of them, and starts what is due. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import * as Callers from "../Callers.js"
import * as Driver from "../Driver.js"
import * as Flights from "../Flights.js"
import * as Grant from "../Grant.js"
import * as Renewal from "../grant/Renewal.js"
import * as Limits from "./Limits.js"

export interface Settings extends Limits.Settings {
  /** Over how long renewals are spread, in milliseconds. */
  readonly window: number
  /** How long the fiber sleeps at most, in milliseconds. */
  readonly lookEvery: number
}

/** Where a grant is renewed, and where it is read. */
export interface Place {
  readonly server: Limits.Server
  readonly storage: Limits.Group
}

export interface Status {
  readonly scheduled: number
  readonly waiting: number
  readonly running: number
  readonly nextAt: number
}

export interface Renewer {
  /** Grants of one server share its limits; a name, or an object, stands for a server and for a storage. */
  readonly placeOf: (server: string | object, storage: object) => Place
  readonly add: (grant: Grant.Grant, place: Place) => Renewed
  readonly remove: (renewed: Renewed) => void
  readonly status: Effect.Effect<Status>
}

/** A grant that is renewed. */
export interface Renewed {
  readonly grant: Grant.Grant
  readonly place: Place
  plan: Renewal.Plan
  /** It was renewed, or storage failed, a moment ago: nothing is done before. */
  notBefore: number
  stage: "Planned" | "Queued" | "Running"
}

/** How long after one renewal of a grant the next may come at the earliest, in milliseconds. */
const shortestPause = 1000

/** Of a thousand grants a look takes some 20 µs: a millisecond between looks makes that 2 % of a processor at most. */
const grantsPerMilli = 1000

export const make = (settings: Settings): Effect.Effect<Renewer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { lookEvery, window } = settings
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const limits = Limits.make(settings)
    const [serverOf, storageOf] = [byKey(limits.server), byKey(limits.storage)]
    const grants = new Map<Grant.Grant, Renewed>()
    const busy = new Set<Limits.Group>()
    const turn = makeTurns()
    const alarm = Effect.unsafeMakeLatch(false)
    let wakesAt = Infinity
    let lastLook = -Infinity

    const isKept = (renewed: Renewed): boolean => grants.get(renewed.grant) === renewed

    const planOf = ({ grant }: Renewed) => Renewal.plan(Grant.policyOf(grant), grant.state, window, now())

    const plan = (renewed: Renewed): void => {
      if (renewed.stage !== "Planned") return
      const { at, task } = planOf(renewed)
      renewed.plan = { at: Math.max(at, renewed.notBefore), task }
      if (renewed.plan.at < wakesAt) alarm.unsafeOpen()
    }

    /** One function for all grants: each takes less memory. */
    const onChange = (grant: Grant.Grant): void => {
      const renewed = grants.get(grant)
      if (renewed !== undefined) plan(renewed)
    }

    const groupOf = ({ grant, place, plan }: Renewed): Limits.Group =>
      plan.task === "Read"
        ? place.storage
        : Flights.isTroubled(grant)
          ? place.server.troubled
          : place.server.sound

    const read = (renewed: Renewed): Effect.Effect<void> =>
      Effect.map(Callers.read(renewed.grant), (failure) => {
        if (Option.isSome(failure)) renewed.notBefore = now() + renewed.grant.context.config.coolDownBase
      })

    const renew = (renewed: Renewed): Effect.Effect<void> => {
      const { grant } = renewed
      const isDue = () => planOf(renewed).at <= now()
      renewed.notBefore = now() + shortestPause * (1 + grant.jitterShare)
      if (!isDue()) return Effect.void
      const want = Renewal.want(Grant.policyOf(grant), grant.state, window, now())
      return Effect.andThen(
        Driver.renew(grant, want),
        // Another process renews it: what that one writes is read before anything is sent.
        Effect.suspend(() => (isDue() ? Grant.tell(grant, { _tag: "Changed" }) : Effect.void))
      )
    }

    const run = (renewed: Renewed, group: Limits.Group, onBegin: () => void): Effect.Effect<void> => {
      const task = Effect.suspend(() => {
        onBegin()
        if (!isKept(renewed)) return Effect.void
        renewed.stage = "Running"
        return renewed.plan.task === "Read" ? read(renewed) : renew(renewed)
      })
      const end = Effect.sync(() => {
        renewed.stage = "Planned"
        if (isKept(renewed)) plan(renewed)
      })
      return Effect.ensuring(Effect.andThen(turn, group.limit(task)), end)
    }

    /** Works through what is due in a group. What becomes due there meanwhile waits until the last of them has begun. */
    const start = (due: ReadonlyArray<Renewed>, group: Limits.Group) => {
      busy.add(group)
      for (const renewed of due) renewed.stage = "Queued"
      let left = due.length
      const onBegin = () => {
        if (--left > 0) return
        busy.delete(group)
        alarm.unsafeOpen()
      }
      const earliestFirst = [...due].sort((a, b) => a.plan.at - b.plan.at)
      // One that dies of a defect takes no other with it.
      return Effect.forEach(earliestFirst, (renewed) => Effect.exit(run(renewed, group, onBegin)), {
        concurrency: group.width,
        discard: true
      }).pipe(Effect.fork)
    }

    const look = Effect.suspend(() => {
      alarm.unsafeClose()
      const time = now()
      if (time < lastLook) grants.forEach(planAgain)
      lastLook = time
      wakesAt = Infinity
      const due = new Map<Limits.Group, Array<Renewed>>()
      for (const renewed of grants.values()) {
        if (renewed.stage !== "Planned") continue
        if (renewed.plan.at > time) wakesAt = Math.min(wakesAt, renewed.plan.at)
        else {
          const group = groupOf(renewed)
          const others = due.get(group)
          if (others !== undefined) others.push(renewed)
          else if (!busy.has(group)) due.set(group, [renewed])
        }
      }
      return Effect.forEach(due, ([group, those]) => start(those, group), { discard: true })
    })

    /** The clock was set back: what was noted before lies too far ahead, by as much. */
    const planAgain = (renewed: Renewed): void => {
      renewed.notBefore = -Infinity
      plan(renewed)
    }

    const rest = Effect.suspend(() => {
      if (wakesAt === Infinity) return alarm.await
      return Effect.timeoutOption(alarm.await, Math.max(1, Math.ceil(Math.min(wakesAt - now(), lookEvery))))
    })
    const pace = Effect.suspend(() =>
      grants.size < grantsPerMilli ? Effect.void : Effect.sleep(grants.size / grantsPerMilli)
    )
    yield* Effect.forever(Effect.andThen(look, Effect.andThen(pace, rest))).pipe(
      Effect.interruptible,
      Effect.forkScoped
    )

    return {
      placeOf: (server, storage) => ({ server: serverOf(server), storage: storageOf(storage) }),
      add: (grant, place) => {
        const renewed: Renewed = { grant, place, plan: asap, notBefore: -Infinity, stage: "Planned" }
        grants.set(grant, renewed)
        grant.onChange = onChange
        plan(renewed)
        return renewed
      },
      remove: (renewed) => {
        renewed.grant.onChange = undefined
        if (isKept(renewed)) grants.delete(renewed.grant)
      },
      status: Effect.sync(() => statusOf(grants.values(), now()))
    }
  })

const afterOthers = Scheduler.timer(0)

/** Where nothing takes time, as with storage in memory, timers and I/O have their turn after each 32 grants. */
const makeTurns = (): Effect.Effect<void> => {
  const next = Effect.unsafeMakeLatch(false)
  let begun = 0
  const end = () => {
    begun = 0
    next.unsafeOpen()
  }
  const turn: Effect.Effect<void> = Effect.suspend(() => {
    if (begun === 0) afterOthers.scheduleTask(end, 0)
    if (begun++ < 32) return Effect.void
    next.unsafeClose()
    return Effect.andThen(next.await, turn)
  })
  return turn
}

const asap: Renewal.Plan = { at: -Infinity, task: "Read" }

const statusOf = (grants: Iterable<Renewed>, now: number): Status => {
  let [scheduled, waiting, running, nextAt] = [0, 0, 0, Infinity]
  for (const { plan, stage } of grants) {
    if (stage === "Running") running++
    else if (stage === "Queued" || plan.at <= now) waiting++
    else if (plan.at < Infinity) scheduled++
    if (stage === "Planned") nextAt = Math.min(nextAt, plan.at)
  }
  return { scheduled, waiting, running, nextAt }
}

/** One for each key. What was made for an object goes with it. */
const byKey = <A>(make: () => A): ((key: string | object) => A) => {
  const named = new Map<string, A>()
  const unnamed = new WeakMap<object, A>()
  return (key) => {
    const known = typeof key === "string" ? named.get(key) : unnamed.get(key)
    if (known !== undefined) return known
    const made = make()
    if (typeof key === "string") named.set(key, made)
    else unnamed.set(key, made)
    return made
  }
}
