/**
 * Brings to storage what it did not take at once: a rotation, or what became of a refresh. Retries under the lease of
 * that refresh, in the life of the scope and for a bounded time at its end.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Grant } from "./Grant.js"
import * as HeldLease from "./HeldLease.js"
import { liveClock } from "./Now.js"
import { saveUnsaved } from "./StoredGrant.js"

/** Retries in the background, with growing pauses, until storage holds everything; does nothing if it does. */
export const ensureSaved = (grant: Grant): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (grant.isSaving || isSaved(grant)) return Effect.void
    grant.isSaving = true
    // It may be started from where nothing can be interrupted, and would inherit that.
    return Effect.asVoid(Effect.forkIn(Effect.interruptible(loop(grant)), grant.setting.scope))
  })

const isSaved = (grant: Grant): boolean => Option.isNone(grant.state.unsaved) && grant.owed === undefined

/** How long, in milliseconds, the closing of a scope tries to save. */
const closingPatience = 5000

/** Until when a scope that is closed now tries to save. */
export const closingEnd: Effect.Effect<number> = Effect.map(
  Clock.currentTimeMillis,
  (now) => now + closingPatience
)

/** How often it tries at most. */
const lastAttempts = 6

/** The last attempts, up to `until`; the lease is held for all of them. */
export const saveAtLast = (grant: Grant, until: number): Effect.Effect<void> => {
  const attempt = (left: number, pause: number): Effect.Effect<void> =>
    Effect.flatMap(Effect.zipRight(trySave(grant), Clock.currentTimeMillis), (now) =>
      isSaved(grant) || left === 1 || now + pause > until
        ? Effect.void
        : Effect.zipRight(
            pauseOf(pause),
            Effect.suspend(() => attempt(left - 1, Math.max(shortestPause, pause * 2)))
          )
    )
  const commit = Effect.suspend(() => (grant.commit === undefined ? Effect.void : Fiber.await(grant.commit)))
  return Effect.zipRight(
    Effect.zipRight(
      commit,
      Effect.suspend(() => (isSaved(grant) ? Effect.void : attempt(lastAttempts, 0)))
    ),
    HeldLease.release(grant)
  )
}

/** By a clock that somebody moves there is no pause: nobody moves it on while a scope closes. */
const pauseOf = (millis: number): Effect.Effect<void> =>
  Effect.clockWith((clock) => (clock === liveClock ? Effect.sleep(millis) : Effect.void))

/** With a cool-down of zero there is still a pause between attempts. */
const shortestPause = 100

/** Peers wait for the lease meanwhile: once storage works again, they do not wait for long. */
const longestPause = 5000

/** A day: timers of JavaScript do not reach further than 24 of them. */
const longestSleep = 86_400_000

const loop = (grant: Grant): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { coolDownBase, coolDownMax } = grant.config
    const longest = Math.max(coolDownBase, Math.min(coolDownMax, longestPause))
    for (let pause = coolDownBase; !isSaved(grant); pause *= 2) {
      yield* Effect.sleep(Math.max(shortestPause, Math.min(pause, longest, longestSleep)))
      yield* trySave(grant)
    }
  }).pipe(Effect.ensuring(Effect.sync(() => (grant.isSaving = false))))

const trySave = (grant: Grant): Effect.Effect<void> =>
  Effect.suspend(() => {
    // A refresh that has the lease saves before all else, and hands the lease over if that fails.
    if (isSaved(grant) || (grant.kept === undefined && grant.refreshes.isUnderWay)) return Effect.void
    const held = HeldLease.none()
    const kept = HeldLease.takeKept(grant, held)
    const fence =
      kept?.fence ?? Option.match(grant.state.unsaved, { onNone: () => 0, onSome: (u) => u.entry.fence })
    return saveAll(grant, fence).pipe(
      Effect.catchAll((error) =>
        kept === undefined
          ? underNewLease(grant, held)
          : // Where the lease does not answer, storage is the judge of what is written under it.
            Effect.flatMap(
              Effect.orElseSucceed(HeldLease.isStillHeld(grant, kept), () => true),
              (isHeld) =>
                isHeld
                  ? Effect.fail(error)
                  : Effect.zipRight(HeldLease.lapsed(grant, held), underNewLease(grant, held))
            )
      ),
      Effect.ignore,
      Effect.onExit(() => HeldLease.end(grant, held))
    )
  })

const underNewLease = (grant: Grant, held: HeldLease.Held) =>
  Effect.flatMap(HeldLease.take(grant, held), ({ fence }) => saveAll(grant, fence))

const saveAll = (grant: Grant, fence: number) =>
  Effect.zipRight(
    saveUnsaved(grant, fence),
    Effect.suspend(() => grant.owed ?? Effect.void)
  )
