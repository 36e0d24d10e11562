/** Brings a rotation that storage did not take to storage after all: in the scope's life, and at its end. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Grant } from "./Grant.js"
import { saveUnsaved } from "./StoredGrant.js"

/** Tries again behind, with growing pauses, until nothing is unsaved; does nothing if nothing is. */
export const ensureSaved = (grant: Grant): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (grant.isSaving || Option.isNone(grant.state.unsaved)) return Effect.void
    grant.isSaving = true
    // It may be started from where nothing can be interrupted, and would inherit that.
    return Effect.asVoid(Effect.forkIn(Effect.interruptible(loop(grant)), grant.setting.scope))
  })

/** A last attempt, where something is unsaved. */
export const saveAtLast = (grant: Grant): Effect.Effect<void> =>
  Effect.asVoid(Effect.when(trySave(grant), () => Option.isSome(grant.state.unsaved)))

/** Where nothing is to cool down, storage that does not take a rotation is not asked without end all the same. */
const shortestPause = 100

/** A day: timers of JavaScript do not reach further than 24 of them. */
const longestSleep = 86_400_000

const loop = (grant: Grant): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { coolDownBase, coolDownMax } = grant.config
    for (let pause = coolDownBase; Option.isSome(grant.state.unsaved); pause *= 2) {
      yield* Effect.sleep(Math.max(shortestPause, Math.min(pause, coolDownMax, longestSleep)))
      yield* trySave(grant)
    }
  }).pipe(Effect.ensuring(Effect.sync(() => (grant.isSaving = false))))

const trySave = (grant: Grant): Effect.Effect<void> =>
  Effect.suspend(() => {
    const fence = Option.match(grant.state.unsaved, { onNone: () => 0, onSome: (u) => u.entry.fence })
    return Effect.ignore(Effect.orElse(saveUnsaved(grant, fence), () => underNewLease(grant)))
  })

const underNewLease = (grant: Grant) =>
  Effect.scoped(
    Effect.flatMap(grant.lease.acquire(grant.account, grant.config.leaseTtl), ({ fence }) =>
      saveUnsaved(grant, fence)
    )
  )
