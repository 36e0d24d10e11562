/** The flights of one scope, and what happens to its grants when it closes. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as State from "./grant/State.js"
import * as Telemetry from "./Telemetry.js"
import { type Flights, type Grant, namesOf, tell } from "./Grant.js"
import type { StorageError } from "./TokenStorage.js"

/** Whether a grant can be dropped: nothing is lost, and nobody uses it. */
export const isQuiet = ({ events, reading, state }: Grant): boolean =>
  state.phase._tag === "Idle" &&
  reading === undefined &&
  events === undefined &&
  Option.isNone(state.uncommitted)

/** Whether its last refresh failed. */
export const isTroubled = ({ state }: Grant): boolean =>
  Option.exists(state.coolDown, (c) => c.reason === "Failed" || c.reason === "ServerAsked")

/** Ends a grant in this process, after its flights. */
export const leave = (grant: Grant): Effect.Effect<void> =>
  Effect.suspend(() => {
    grant.context.flights.remove(grant)
    const { events, state } = grant
    return Effect.andThen(
      // From now on this process cannot know whether storage will take the rotation.
      Telemetry.countUnsaved(namesOf(grant), state, State.initial),
      events === undefined ? Effect.void : PubSub.shutdown(events.hub)
    )
  })

/** For how long, in milliseconds, a closing scope retries the commits that storage has not taken. */
const closingPatience = 5000

/**
 * Creates the flights of the scope. Closing the scope notifies each grant, and waits `patience` milliseconds
 * for the flights.
 */
export const makeFlights = (patience: number): Effect.Effect<Flights, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fibers = yield* FiberSet.make<void>()
    const run = yield* FiberSet.runtime(fibers)<never>()
    const grants = new Set<Grant>()
    let phase: "Open" | "Closing" | "Closed" = "Open"
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        phase = "Closing"
        const until = (yield* Clock.currentTimeMillis) + closingPatience
        yield* Effect.forEach(grants, (grant) => tell(grant, { _tag: "Closing", until }), { discard: true })
        yield* Effect.timeoutOption(Effect.interruptible(FiberSet.awaitEmpty(fibers)), patience)
        phase = "Closed"
        yield* Effect.forEach([...grants], leave, { discard: true })
      })
    )
    return {
      add: (grant) => {
        grants.add(grant)
        return grant
      },
      remove: (grant) => void grants.delete(grant),
      isClosing: () => phase !== "Open",
      isClosed: () => phase === "Closed",
      fork: (flight) => run(flight)
    }
  })

/** How long after a failure the subscription to storage is renewed, in milliseconds. */
const watchPause = 30_000

/**
 * Subscribes to storage until there are no more changes. If the stream fails, it runs `missed` for the
 * changes that are not reported meanwhile, and subscribes again later.
 */
export const watchChanges = <A>(
  changes: Stream.Stream<A, StorageError>,
  on: {
    readonly changed: (change: A) => Effect.Effect<void>
    readonly missed: Effect.Effect<void>
    readonly failed: (error: StorageError) => Effect.Effect<void>
  }
): Effect.Effect<void> =>
  Effect.catchAll(Stream.runForEach(changes, on.changed), (error) =>
    on
      .failed(error)
      .pipe(
        Effect.andThen(on.missed),
        Effect.andThen(Effect.sleep(watchPause)),
        Effect.andThen(on.missed),
        Effect.andThen(Effect.suspend(() => watchChanges(changes, on)))
      )
  )
